"""ONNX files: :func:`load` gives a model that Alloy takes like one of PyTorch."""

from ..grids.emit import Finding
from ..grids.model import Model
from .load import load

__all__ = ["Finding", "Model", "load"]
