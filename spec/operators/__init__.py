"""Operators: one file each, with all that Alloy knows of it. Every file of this folder is read; adding an operator is
adding its file."""

from importlib import import_module
from pkgutil import iter_modules

from .operator import LAYERS, OPERATORS, Call, Layer, Operator, find, register

__all__ = ["LAYERS", "OPERATORS", "Call", "Layer", "Operator", "find", "register"]

for _file in iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")
