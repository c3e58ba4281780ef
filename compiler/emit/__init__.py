"""Commands of each operation on its unit, what they load, and the image of it."""

from .alternate import Alternation
from .array import ArrayWork, ConvolutionWork
from .buffers import Buffers
from .listing import Listing
from .movement import Movement, Source
from .pool import PoolWork, SpreadWork
from .scaling import GroupsWork, ProductWork, RecordsWork
from .tiles import array_cycles
from .work import Work

__all__ = ["Alternation", "ArrayWork", "Buffers", "ConvolutionWork", "GroupsWork", "Listing", "Movement", "PoolWork",
           "ProductWork", "RecordsWork", "Source", "SpreadWork", "Work", "array_cycles"]
