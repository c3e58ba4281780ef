"""The on-chip memories, and the walk over the pixels in them."""

from .banks import Banks
from .locate import Locator, advance
from .table import TABLE_LATENCY, CodeTable
from .weights import WeightColumn

__all__ = ["TABLE_LATENCY", "Banks", "CodeTable", "Locator", "WeightColumn", "advance"]
