"""What cocotb runs around the engine, by name (:mod:`tests.rtl.test_cocotb`)."""

from random import Random

import cocotb
from cocotb.task import bridge
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiResp
import numpy as np

from compiler import compile
from driver import Alloy
from spec.commands import Error
from spec.registers import ID, REGISTERS, VERSION
from tests.networks import random_network

from .side import BASE, Side

AT = {r.name: r.offset for r in REGISTERS}
LAST = max(AT.values()) + 4
PATIENCE = 600.0        # seconds that a run may take
BOUND = 50_000          # cycles within which an interrupt comes
DONE, STOPPED = 2, 4    # of STATUS, and 1, 2 of IRQ_STATUS


def stored(config):
    """What registers hold after the reset and which bits can be written, byte by byte."""
    special = {"BASE_LO": 0xFFFF_F000, "BASE_HI": (1 << config.addr_bits - 32) - 1, "CMD_OFFSET": 0xFFFF_FF80,
               "IRQ_ENABLE": 3}
    values = {r.name: r.init for r in REGISTERS} | {"ID": ID, "VERSION": VERSION, "DIGEST": int(config.digest, 16)}
    masks = {r.name: special.get(r.name, 0xFFFF_FFFF) if r.access == "rw" else 0 for r in REGISTERS}
    return (bytearray(b"".join(d[r.name].to_bytes(4, "little") for r in REGISTERS)) for d in (values, masks))


@cocotb.test()
async def registers(dut):
    """Bytes at any address, several accesses at once, and what has no register."""
    side = Side(dut, seed=3, pause=0.4)
    await side.reset()
    (kept, masks), rng, host = stored(side.config), Random(4), side.host
    first, middle = AT["STATUS"], AT["SIZE"] + 2
    for _ in range(40):
        ranges = [(at, rng.randint(1, 9)) for at in (rng.randrange(first, middle - 9) for _ in range(3))]
        writes = [(at, rng.randbytes(size)) for at, size in ranges]
        asked = [host.init_write(at, data) for at, data in writes]
        at = rng.randrange(middle, LAST - 9)        # reads beside them, of what they do not change
        assert (await host.read(at, size := rng.randint(1, 9))).data == kept[at:at + size]
        for event in asked:
            await event.wait()
            assert event.data.resp == AxiResp.OKAY
        for at, data in writes:
            for n, byte in enumerate(data, at):
                kept[n] = kept[n] & ~masks[n] | byte & masks[n]
        at, size = rng.randrange(LAST - 9), rng.randint(1, 9)
        assert (await host.read(at, size)).data == kept[at:at + size]
        assert (await host.read(0, LAST)).data == kept
    assert any(kept[at] for at in range(AT["BASE_LO"], AT["SIZE"])) and not dut.irq.value
    for at in (LAST, 0xFE, 0x100, 0xFFC):
        assert (await host.read(at, 1)).resp == (await host.write(at, b"\xff")).resp == AxiResp.SLVERR
    assert (await host.read(0, LAST)).data == kept


async def ask(side):
    """A host that reads bytes of registers, and writes those that take nothing, all the time."""
    known, rng = ID.to_bytes(4, "little") + VERSION.to_bytes(4, "little"), Random(5)
    while True:
        at, size = rng.randrange(7), rng.randint(1, 2)
        assert (await side.get(at, size)).to_bytes(size, "little") == known[at:at + size]
        await side.put(at, rng.randrange(256), 1)
        await ClockCycles(side.clock, rng.randint(1, 60))


def jobs(config, seed, count, images):
    """Networks, their programs, images and what the golden model makes of them."""
    rng, out = np.random.default_rng(seed), []
    for _ in range(count):
        network = random_network(rng, layers=3, max_size=6, max_channels=6)
        batch = rng.integers(0, 256, (images, *network.tensors["image"].shape)).astype(np.uint8)
        out.append((compile(network, config, keep="all"), batch, network.codes(batch)))
    return out


async def run_networks(dut, seed, count, **side):
    """Programs in turn through the driver, twice, every tensor that they write, among other accesses."""
    side = Side(dut, seed=seed, **side)
    await side.reset()
    other, work = cocotb.start_soon(ask(side)), jobs(side.config, seed, count, 2)

    def drive():
        with Alloy(side, timeout=PATIENCE) as alloy:
            for turn in range(2):
                for program, batch, expected in work:
                    alloy.load(program)
                    found = alloy.tensors(batch[turn], layout="CHW")
                    for name, codes in found.items():
                        assert (codes == expected[name][turn]).all(), (seed, name, turn)
                    assert set(found) == set(program.outputs) and alloy.cycles[0] > 100
    await bridge(drive)()
    assert not other.done()
    other.cancel()


@cocotb.test()
async def networks(dut):
    """Each channel waits in a third of the cycles, and memory takes long now and then."""
    await run_networks(dut, seed=1, count=2, pause=0.3, rare=0.02, longest=200)


@cocotb.test()
@cocotb.parametrize((("pause", "rare"), [(0.0, 0.0), (0.1, 0.0), (0.5, 0.1), (0.8, 0.01), (0.0, 0.5)]))
async def many_networks(dut, pause, rare):
    """From a bus that never waits to one that hardly does anything else."""
    await run_networks(dut, seed=int(100 * pause + 10 * rare), count=3, pause=pause, rare=rare, longest=100)


class Run:
    """A program that is started register by register, and its interrupt."""

    def __init__(self, side, job):
        self.side, (self.program, self.batch, self.expected) = side, job
        self.piece = side.allocate(self.program.window_size)

    async def __call__(self):
        """The code with which it ends. The interrupt comes, and goes when it is cleared."""
        side, program = self.side, self.program
        for at, data in ((0, program.image), (program.input.offset, program.pack_input(self.batch[0]))):
            self.piece.bytes[at:at + len(data)] = np.frombuffer(data, np.uint8)
        for region in program.outputs.values():
            self.piece.bytes[region.offset:region.offset + region.size] = 0xEE
        for name, value in {"BASE_LO": self.piece.address & 0xFFFF_FFFF, "BASE_HI": self.piece.address >> 32,
                            "SIZE": program.window_size, "CMD_OFFSET": program.command_offset,
                            "CMD_COUNT": program.command_count}.items():
            await side.put(AT[name], value)
        await side.put(AT["IRQ_ENABLE"], 3, 1)
        assert not side.dut.irq.value
        cocotb.start_soon(side.put(AT["CTRL"], 1, 1))
        await with_timeout(RisingEdge(side.dut.irq), 10 * BOUND, "ns")
        status, pending = await side.get(AT["STATUS"], 1), await side.get(AT["IRQ_STATUS"], 1)
        code = Error(await side.get(AT["STATUS"] + 1, 1))
        assert pending == status >> 1 and status == (STOPPED if code else DONE)
        await side.put(AT["IRQ_STATUS"], pending, 1)
        await ClockCycles(side.clock, 4)
        assert not side.dut.irq.value
        return code

    def check(self):
        """Every tensor that it writes."""
        for name, region in self.program.outputs.items():
            data = self.piece.bytes[region.offset:region.offset + region.size].tobytes()
            assert (self.program.unpack(name, data) == self.expected[name][0]).all(), name


@cocotb.test()
async def errors(dut):
    """SLVERR on a beat of a burst ends the program with its code, and the next one is as good as ever."""
    side = Side(dut, seed=7, pause=0.2, rare=0.01, longest=100)
    await side.reset()
    run, memory = Run(side, jobs(side.config, 8, 1, 1)[0]), side.memory
    assert await run() == Error.NONE
    run.check()
    beats = {"read": memory.read_beats, "write": memory.write_beats}
    for kind, count in beats.items():
        for number in (0, count // 2, count - 1):
            memory.forget()
            setattr(memory, f"bad_{kind}", number)
            assert await run() == Error[kind.upper()], (kind, number, beats)
            memory.forget()
            assert await run() == Error.NONE and memory.read_beats == beats["read"]
            run.check()
    assert BASE > 0xFFFF_FFFF and min(beats.values()) > 10
