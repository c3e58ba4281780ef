"""The backend for PYNQ: a bitstream, its registers, memory of the CMA."""

from os import PathLike, fspath
import time

import numpy as np

from spec.config import BOUNDARY
from spec.errors import AlloyError
from spec.registers import ID

__all__ = ["Pynq", "CmaBuffer"]


class CmaBuffer:
    """Contiguous memory; ``pynq.allocate`` gives whole pages, but nobody says at which address."""

    def __init__(self, size: int, allocate):
        self._whole = allocate(shape=(size + BOUNDARY,), dtype=np.uint8)
        self._skip = -self._whole.device_address % BOUNDARY
        self.address = self._whole.device_address + self._skip
        self.bytes = np.asarray(self._whole)[self._skip:self._skip + size]

    def flush(self, start: int, size: int) -> None:
        """All of it: PYNQ's buffers know no parts."""
        self._whole.flush()

    def invalidate(self, start: int, size: int) -> None:
        """As :meth:`flush`."""
        self._whole.invalidate()

    def free(self) -> None:
        """Give the memory back."""
        self._whole.freebuffer()


class Pynq:
    """An engine in a bitstream.

    Parameters
    ----------
    bitstream : file; ``.hwh`` lies beside it.
    name : of the engine in the block design; needed only if there are several.
    """

    def __init__(self, bitstream: str | PathLike, name: str | None = None):
        try:
            import pynq
        except ImportError:
            raise AlloyError("PYNQ is not installed here: run this on a board with PYNQ, or give a backend such as "
                             "sim.processor.Processor") from None
        self._allocate = pynq.allocate
        self._buffers: list[CmaBuffer] = []
        self._overlay = pynq.Overlay(fspath(bitstream))
        blocks = self._overlay.ip_dict
        found = [key for key, block in blocks.items() if name == key or name is None
                 and block["type"].rsplit(":", 2)[-2] == "alloy"]
        if len(found) != 1:
            raise AlloyError(f"{bitstream} has {len(found)} engines called {name or 'alloy'}, and {', '.join(blocks)}: "
                             "give the name of one")
        block = blocks[found[0]]
        self._mmio = pynq.MMIO(block["phys_addr"], block["addr_range"])
        if self.read(0) != ID:
            raise AlloyError(f"{found[0]} of {bitstream} is no Alloy engine: its first register is {self.read(0):#x}")

    def read(self, offset: int) -> int:
        """A register of 32 bits by its byte offset."""
        return self._mmio.read(offset)

    def write(self, offset: int, value: int) -> None:
        """The same."""
        self._mmio.write(offset, value)

    def allocate(self, size: int) -> CmaBuffer:
        """Memory of ``size`` bytes."""
        self._buffers.append(CmaBuffer(size, self._allocate))
        return self._buffers[-1]

    def pause(self) -> None:
        """Another thread's turn."""
        time.sleep(0)

    def close(self) -> None:
        """Give the memory back."""
        while self._buffers:
            self._buffers.pop().free()
