"""ONNX files: :func:`load` gives a model that Alloy takes like one of PyTorch."""

from .load import Model, load

__all__ = ["Model", "load"]
