"""The array: processing elements, their grid, its weight buffer and the FIFO of finished rows."""

from .core import Core, PEArray
from .pe_dsp import DspPE
from .pe_lut import LutPE

__all__ = ["Core", "DspPE", "LutPE", "PEArray"]
