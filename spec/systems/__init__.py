"""Number systems of weights: one file each. Every file of this folder is read."""

from importlib import import_module
from pkgutil import iter_modules

from .columns import (
    DIGIT_BITS, DIGIT_MAX, DSP, EXPONENT_MAX, LUT, SIGN, WEIGHT_MAX, Column, columns_of, empty_word)
from .system import SYSTEMS, Book, System, register

__all__ = ["SYSTEMS", "Book", "System", "register", "Column", "DSP", "LUT", "columns_of", "empty_word", "DIGIT_BITS",
           "DIGIT_MAX", "WEIGHT_MAX", "EXPONENT_MAX", "SIGN"]

for _file in iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")
