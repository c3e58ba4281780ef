"""Compiled programs: all that a driver needs, which runs them and neither makes nor simulates them.

It needs NumPy and the tables of :mod:`spec` only.
"""

from .banks import Bank, banks
from .flat import FORMS
from .program import Layer, Program, check_classes
from .region import HOLE, Image, Region

__all__ = ["Program", "Layer", "Image", "Region", "HOLE", "Bank", "banks",
           "check_classes", "FORMS"]
