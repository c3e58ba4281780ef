"""The on-chip memories."""

from .banks import Banks
from .records import read_records, record_table
from .table import CodeTable
from .weights import WeightColumn

__all__ = ["Banks", "CodeTable", "WeightColumn", "read_records", "record_table"]
