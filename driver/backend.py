"""What the driver needs of a machine with an engine in it."""

from typing import Protocol

import numpy as np

__all__ = ["Backend", "Buffer"]


class Buffer(Protocol):
    """Memory that processor and engine share, in one piece.

    ``bytes`` : uint8, as the processor sees it. ``address`` : of its first byte for the engine, a multiple of 4096.
    """
    bytes: np.ndarray
    address: int

    def flush(self, start: int, size: int) -> None:
        """What the processor has written is in memory."""

    def invalidate(self, start: int, size: int) -> None:
        """What the engine has written is what the processor reads."""


class Backend(Protocol):
    """Registers and memory."""

    def read(self, offset: int) -> int:
        """A register of 32 bits by its byte offset."""

    def write(self, offset: int, value: int) -> None:
        """The same."""

    def allocate(self, size: int) -> Buffer:
        """Memory of ``size`` bytes."""

    def pause(self) -> None:
        """A while, or until the interrupt."""

    def close(self) -> None:
        """Give everything back."""
