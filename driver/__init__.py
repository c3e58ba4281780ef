"""What runs programs on an engine: a driver in C (``driver/c``) and this one, for Python on the board.

It needs NumPy, :mod:`spec`, and PYNQ where the engine is a bitstream.
"""

from .alloy import Alloy
from .backend import Backend, Buffer

__all__ = ["Alloy", "Backend", "Buffer"]
