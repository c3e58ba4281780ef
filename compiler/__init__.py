"""Compiler: integer network to commands and memory image for one engine configuration."""

from .build import compile
from .program import Layer, Program, Region

__all__ = ["compile", "Program", "Layer", "Region"]
