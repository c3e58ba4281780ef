"""Commands of each operation on its unit, what they load, and the image of it."""

from .array import ArrayWork
from .buffers import Buffers
from .listing import Listing
from .movement import Movement, Source
from .pool import PoolWork
from .work import Work

__all__ = ["ArrayWork", "Buffers", "Listing", "Movement", "PoolWork", "Source", "Work"]
