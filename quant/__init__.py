"""From a trained PyTorch CNN to the integer network: import, assignment of number systems, calibration, fine-tuning,
export."""

from spec.errors import AlloyError
from spec.network import Network

from .assign import Ratio, assign, fit_codebook
from .imports import trace
from .net import QuantNet
from .qat import Training
from .quantize import quantize

__all__ = ["quantize", "Network", "Training", "AlloyError", "trace", "QuantNet", "assign", "Ratio", "fit_codebook"]
