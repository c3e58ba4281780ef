"""The Verilated engine as a processor beside it sees it: a backend for :class:`driver.Alloy`.

Its memory is not coherent, as on most boards: what the driver forgets to flush or to invalidate is not there.
"""

from contextlib import suppress
from pathlib import Path
import subprocess
from tempfile import TemporaryDirectory

import numpy as np

from spec.config import BOUNDARY
from spec.errors import AlloyError

from . import verilator
from .engine import Engine

__all__ = ["Processor", "SharedBuffer"]

PAUSE = 1000            # cycles


class SharedBuffer:
    """A piece of the simulated memory, ``engine``, and the processor's view of it, ``bytes``."""

    def __init__(self, engine: np.ndarray, address: int):
        self._engine, self.address, self.bytes = engine, address, np.full(engine.size, 0xA5, np.uint8)

    def flush(self, start: int, size: int) -> None:
        """What the processor has written is in memory."""
        self._engine[start:start + size] = self.bytes[start:start + size]

    def invalidate(self, start: int, size: int) -> None:
        """What the engine has written is what the processor reads."""
        self.bytes[start:start + size] = self._engine[start:start + size]


class Processor:
    """The engine in a process of its own, whose clock runs while a register is read or written, and in :meth:`pause`.

    Parameters
    ----------
    engine : whose simulator is built if need be.
    memory : bytes of DRAM. stall : probability that a channel of a bus pauses in a cycle, drawn with ``seed``.
    latency : of the DRAM, cycles.
    """

    def __init__(self, engine: Engine, memory: int = 1 << 26, *, stall: float = 0.0, seed: int = 1, latency: int = 40):
        program = verilator.link(engine.built, [verilator.HERE / "serve.cpp"])
        self._folder = TemporaryDirectory()
        path = Path(self._folder.name, "memory")
        self._memory = np.memmap(path, np.uint8, "w+", shape=(memory,))
        self._base, self._taken = 1 << engine.config.addr_bits - 2, 0
        self._process = subprocess.Popen([program, path, *map(str, (self._base, memory, seed, stall, latency))],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self, offset: int) -> int:
        """A register of 32 bits by its byte offset."""
        return self._ask("r", offset)

    def write(self, offset: int, value: int) -> None:
        """The same."""
        self._ask("w", offset, value)

    def allocate(self, size: int) -> SharedBuffer:
        """Memory of ``size`` bytes; :class:`AlloyError` if there is no more."""
        at, end = self._taken, self._taken - -size // BOUNDARY * BOUNDARY
        if end > self._memory.size:
            raise AlloyError(f"the simulated memory has {self._memory.size:,} bytes and {end:,} are needed: give more")
        self._taken = end
        return SharedBuffer(self._memory[at:at + size], self._base + at)

    def pause(self) -> None:
        """Until the interrupt, but at most :data:`PAUSE` cycles."""
        self._ask("i", PAUSE)

    def reset(self) -> None:
        """Of engine and bus."""
        self._ask("z")

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):
            self._process.communicate()
        self._folder.cleanup()

    def _ask(self, what, first=0, second=0):
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            print(what, first, second, file=self._process.stdin, flush=True)
        answer, _, violation = self._process.stdout.readline().rstrip("\n").partition(" ")
        if violation or not answer:
            raise AlloyError(f"the engine broke the bus protocol: {violation}" if violation else
                             "the simulator has ended by itself")
        return int(answer)
