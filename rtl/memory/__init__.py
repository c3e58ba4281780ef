"""The on-chip memories."""

from .banks import Banks
from .table import TABLE_LATENCY, CodeTable
from .weights import WeightColumn

__all__ = ["TABLE_LATENCY", "Banks", "CodeTable", "WeightColumn"]
