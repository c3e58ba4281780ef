"""From a trained PyTorch CNN to the integer network: import, assignment of number systems, calibration, fine-tuning, export."""

from spec.errors import AlloyError

from .assign import Ratio, assign, fit_codebook
from .imports import trace
from .net import QuantNet

__all__ = ["AlloyError", "trace", "QuantNet", "assign", "Ratio", "fit_codebook"]
