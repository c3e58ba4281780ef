"""What stands around the engine: a host at its registers, memory at its ports, both of cocotbext-axi."""

import os
from random import Random

from cocotb.clock import Clock
from cocotb.task import resume
from cocotb.triggers import ClockCycles
from cocotbext.axi import AddressSpace, AxiBus, AxiLiteBus, AxiLiteMaster, AxiReadBus, AxiResp, AxiSlave, AxiSlaveRead
from cocotbext.axi import MemoryRegion
import numpy as np

from spec.config import BOUNDARY, EngineConfig

__all__ = ["BASE", "Memory", "Piece", "Side"]

BASE, SIZE = 0x3_4000_0000, 1 << 20     # of the memory, beyond 32 bits
PAUSE = 40              # cycles from one question of the driver to the next


class Memory(MemoryRegion):
    """Memory that takes long now and then, and answers one beat with SLVERR: the one numbered ``bad_read`` or
    ``bad_write`` of those that ``read`` and ``written`` count."""

    def __init__(self, clock, rng, rare, longest):
        super().__init__(SIZE)
        self._clock, self._rng, self._rare, self._longest = clock, rng, rare, longest
        self.forget()

    def forget(self):
        """Nothing was read or written yet, and nothing goes wrong."""
        self.read_beats = self.write_beats = 0
        self.bad_read = self.bad_write = None

    async def _late(self):
        if self._rng.random() < self._rare:
            await ClockCycles(self._clock, self._rng.randint(1, self._longest))

    async def _read(self, address, length, **options):
        number, self.read_beats = self.read_beats, self.read_beats + 1
        await self._late()
        if number == self.bad_read:
            raise ValueError("on purpose")
        return await super()._read(address, length, **options)

    async def _write(self, address, data, **options):
        number, self.write_beats = self.write_beats, self.write_beats + 1
        await self._late()
        if number == self.bad_write:
            raise ValueError("on purpose")
        await super()._write(address, data, **options)


class Piece:
    """A piece of the memory, as :class:`driver.Buffer`."""

    def __init__(self, memory, at, size):
        self.address, self.bytes = BASE + at, np.frombuffer(memory.mem, np.uint8)[at:at + size]

    def flush(self, start, size):
        """The memory is the same for both."""

    def invalidate(self, start, size):
        """The same."""


class Side:
    """Bus models on every port; a backend for :class:`driver.Alloy` in a thread of :func:`cocotb.task.bridge`.

    Parameters
    ----------
    seed : of everything that is drawn. pause : probability that a channel waits in a cycle.
    rare, longest : probability that a beat of memory takes long, and up to how many cycles.
    """

    def __init__(self, dut, *, seed=1, pause=0.0, rare=0.0, longest=1):
        self.dut, self.clock, self.rng = dut, dut.aclk, Random(seed)
        self.config = EngineConfig.load(os.environ["ALLOY_CONFIG"])
        self.memory, self._taken = Memory(self.clock, Random(seed + 1), rare, longest), 0
        Clock(self.clock, 10, "ns").start()
        pins = (self.clock, dut.aresetn)
        self.host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), *pins, reset_active_level=False)
        space = AddressSpace(1 << self.config.addr_bits)
        space.register_region(self.memory, BASE)
        first, *others = range(self.config.ports)
        slave = AxiSlave(AxiBus.from_prefix(dut, f"m_axi_{first}"), *pins, target=space, reset_active_level=False)
        reads = [slave.read_if, *(AxiSlaveRead(AxiReadBus.from_prefix(dut, f"m_axi_{n}"), *pins, target=space,
                                               reset_active_level=False) for n in others)]
        for part in (self.host.read_if, *reads):
            self._pauses(part.ar_channel, part.r_channel, pause=pause)
        for part in (self.host.write_if, slave.write_if):
            self._pauses(part.aw_channel, part.w_channel, part.b_channel, pause=pause)

    def _pauses(self, *channels, pause):
        def draw(rng):
            while True:
                yield rng.random() < pause
        for channel in channels if pause else ():
            channel.set_pause_generator(draw(Random(self.rng.random())))

    async def reset(self):
        """Some cycles of reset."""
        self.dut.aresetn.value = 0
        await ClockCycles(self.clock, 4)
        self.dut.aresetn.value = 1
        await ClockCycles(self.clock, 2)

    async def get(self, offset, size=4):
        """So many bytes of registers as a number."""
        answer = await self.host.read(offset, size)
        assert answer.resp == AxiResp.OKAY
        return int.from_bytes(answer.data, "little")

    async def put(self, offset, value, size=4):
        """The same."""
        assert (await self.host.write(offset, value.to_bytes(size, "little"))).resp == AxiResp.OKAY

    def allocate(self, size):
        """Memory from a border on."""
        at, self._taken = self._taken, self._taken - -size // BOUNDARY * BOUNDARY
        assert self._taken <= SIZE
        return Piece(self.memory, at, size)

    read, write = resume(get), resume(put)

    @resume
    async def pause(self):
        """Some cycles."""
        await ClockCycles(self.clock, PAUSE)

    def close(self):
        """Nothing is open."""
