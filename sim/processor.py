"""The Verilated engine as a processor beside it sees it: a backend for :class:`driver.Alloy`.

Its memory is not coherent, as on most boards: what the driver forgets to flush or to invalidate is not there.
"""

from collections.abc import Mapping
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
import subprocess
from tempfile import TemporaryDirectory

import numpy as np

from spec.config import BOUNDARY
from spec.errors import AlloyError

from . import verilator
from .engine import Engine

__all__ = ["Processor", "SharedBuffer", "Wrong"]

PAUSE = 1000            # cycles
NEVER = (1 << 64) - 1   # a beat that does not come


class Wrong(IntEnum):
    """What goes wrong on a channel of the bus, as ``sim/verilator/host.h`` has it."""
    SILENT = 0
    CLOSED = 1
    SLVERR = 2
    DECERR = 3


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
        self.wait(PAUSE)

    def wait(self, cycles: int) -> bool:
        """The same with a number of cycles; whether the interrupt is there."""
        return bool(self._ask("i", cycles))

    @property
    def cycle(self) -> int:
        """Since the engine was built."""
        return self._ask("t")

    def beats(self, channel: int) -> int:
        """Beats that a read port has given since the reset; behind the last one comes the write port."""
        return self._ask("b", channel)

    def spoil(self, channel: int, wrong: Wrong, beat: int = NEVER) -> None:
        """Beat number ``beat`` of a channel, counted from now, has a wrong response, or nothing is answered, or taken,
        from it on. Only what was said last of a channel counts."""
        self._ask("f", channel * 4 + wrong, beat)

    def reset(self) -> None:
        """Of engine and bus."""
        self._ask("z")

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):
            self._process.communicate()
        self._folder.cleanup()

    def write_all(self, values: Mapping[int, int]) -> None:
        """Registers by their offsets, one behind the other."""
        self._ask_all([("w", offset, value) for offset, value in values.items()])

    def finish(self, cycles: int, *offsets: int) -> tuple[bool, int, list[int]]:
        """:meth:`wait`: whether the interrupt is there, cycles that it took, and registers behind it."""
        before, there, after, *values = self._ask_all([("t",), ("i", cycles), ("t",), *(("r", at) for at in offsets)])
        return bool(there), after - before, values

    def _ask(self, *request):
        return self._ask_all([request])[0]

    def _ask_all(self, requests):
        """The answers of serve.cpp, to all requests at once: what takes time is the way there and back."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            for request in requests:
                print(*request, *[0] * (3 - len(request)), file=self._process.stdin)
            self._process.stdin.flush()
        found = []
        for _ in requests:
            answer, _, violation = self._process.stdout.readline().rstrip("\n").partition(" ")
            if violation or not answer:
                raise AlloyError(f"the engine broke the bus protocol: {violation}" if violation else
                                 "the simulator has ended by itself")
            found.append(int(answer))
        return found
