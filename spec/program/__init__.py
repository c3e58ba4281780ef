"""Compiled programs: all that a driver needs, which runs them and neither makes nor simulates them.

It needs NumPy and the tables of :mod:`spec` only.
"""

from .program import Layer, Program
from .region import Fold, Region

__all__ = ["Program", "Layer", "Region", "Fold"]
