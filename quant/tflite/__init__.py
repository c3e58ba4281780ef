"""TFLite files of 8-bit codes: :func:`load` gives the integer network that they are."""

from .load import load

__all__ = ["load"]
