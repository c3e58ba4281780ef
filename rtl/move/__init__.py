"""What moves data between DRAM and the on-chip memories: load unit with its decoder, store unit."""

from .decode import WeightDecoder
from .load import Load
from .store import Store

__all__ = ["Load", "Store", "WeightDecoder"]
