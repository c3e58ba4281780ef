"""What a small board has around the engine: memory on the chip, and a host behind a UART."""

from .bridge import Bridge
from .memory import Memory
from .system import System
from .top import Top, pll
from .uart import Receiver, Transmitter

__all__ = ["Bridge", "Memory", "Receiver", "System", "Top", "Transmitter", "pll"]
