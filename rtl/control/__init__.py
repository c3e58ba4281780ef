"""What runs a program: registers, command fetch and check, the queues and their semaphores."""

from .control import Control
from .registers import BUS_ADDR_BITS, Registers

__all__ = ["BUS_ADDR_BITS", "Control", "Registers"]
