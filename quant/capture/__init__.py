"""Capture: a PyTorch model as a list of operations on values.

``reader`` walks the exported program; the functions that it reads are in one module each for what only moves values,
for what computes each value alone, and for layers.
"""

from importlib import import_module
from pkgutil import iter_modules

from .nodes import BATCH, Named, supported
from .ops import INPUT, Add, Apply, Missing, Norm, Op, Pointwise, Relu
from .reader import capture, first_line, is_read

__all__ = ["BATCH", "INPUT", "Add", "Apply", "Missing", "Named", "Norm", "Op", "Pointwise", "Relu", "capture",
           "first_line", "is_read", "supported"]

for _file in iter_modules(__path__):        # each enters what it reads
    import_module(f"{__name__}.{_file.name}")
