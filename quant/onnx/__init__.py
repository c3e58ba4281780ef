"""ONNX files: :func:`load` gives a model that Alloy takes like one of PyTorch."""

from .emit import Finding
from .load import Model, load

__all__ = ["Finding", "Model", "load"]
