"""The whole engine in Amaranth's simulator: programs from DRAM, through AXI, with pauses on every channel."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from compiler import compile
from rtl.top import Engine
from sim import command_model
from spec.commands import FIELDS, Error, Opcode, pack, unpack
from spec.config import EngineConfig
from spec.network import Network, Tensor
from spec.numerics import Scheme, levels
from spec.operators.convolution import Conv
from spec.operators.max_pool import MaxPool
from spec.registers import REGISTERS
from tests.networks import random_network

from .axi_models import AxiMemory, simulate

AT = {r.name: r.offset for r in REGISTERS}
BASE = 0x1000


async def write(ctx, bus, name, value):
    ctx.set(bus.awaddr, AT[name])
    ctx.set(bus.wdata, value)
    ctx.set(bus.wstrb, 15)
    ctx.set(bus.awvalid, 1)
    ctx.set(bus.wvalid, 1)
    ctx.set(bus.bready, 1)
    await ctx.tick()
    ctx.set(bus.awvalid, 0)
    ctx.set(bus.wvalid, 0)
    await ctx.tick().until(bus.bvalid)


async def read(ctx, bus, name):
    ctx.set(bus.araddr, AT[name])
    ctx.set(bus.arvalid, 1)
    ctx.set(bus.rready, 1)
    await ctx.tick()
    ctx.set(bus.arvalid, 0)
    value, = await ctx.tick().sample(bus.rdata).until(bus.rvalid)
    return value


CONFIG = EngineConfig(name="pysim", ic=2, pixels=2, dsp_filters=2, lut_filters=1, act_depth=128, weight_depth=32,
                      param_depth=4, tap_depth=18, ports=2, port_bits=32, addr_bits=32, burst=4, outstanding=2,
                      queue_depth=2, tables=1)


class Bench:
    """An engine with a network's program and one image in DRAM."""

    def __init__(self, network, program, codes, config=CONFIG, **memory):
        self.network, self.program, self.codes, self.config, self.engine = network, program, codes, config, None
        self.memory = AxiMemory(size=BASE + program.window_size, **memory)
        self.fill(program.image)

    def fill(self, image):
        packed, at = self.program.pack_input(self.codes[0]), BASE + self.program.input.offset
        self.memory.bytes[BASE:BASE + len(image)] = image
        self.memory.bytes[at:at + len(packed)] = packed

    async def start(self, ctx, **values):
        """Set the registers and start; a register whose value is None is left as it is."""
        values = {"BASE_LO": BASE, "SIZE": self.program.window_size, "CMD_OFFSET": self.program.command_offset,
                  "CMD_COUNT": self.program.command_count, "WATCHDOG": 2000, "IRQ_ENABLE": 3, "CTRL": 1} | values
        for name, value in values.items():
            if value is not None:
                await write(ctx, self.engine.s_axi, name, value)

    async def finish(self, ctx):
        """Wait for the interrupt; the STATUS register."""
        await ctx.tick().until(self.engine.irq)
        return await read(ctx, self.engine.s_axi, "STATUS")

    def simulate(self, host, hardware=CONFIG, limit=60_000):
        self.engine = Engine(hardware)
        reads = [self.memory.read_slave(bus) for bus in self.engine.r_axi]
        background = [*reads, self.memory.write_slave(self.engine.w_axi)]
        simulate({"engine": self.engine}, host, background=background, limit=limit)

    def right(self):
        """Whether every tensor is the golden one."""
        expected = self.network.codes(self.codes)
        return all((self.tensor(name) == expected[name][0]).all() for name in self.program.outputs)

    def tensor(self, name):
        region = self.program.outputs[name]
        at = BASE + region.offset
        return self.program.unpack(name, bytes(self.memory.bytes[at:at + region.size]))


def small(seed, schemes, config=CONFIG):
    """The bench of a random network."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, schemes=schemes, layers=2, max_size=4, max_channels=4)
    codes = rng.integers(0, 256, (1, *network.tensors["image"].shape))
    return Bench(network, compile(network, config, keep="all"), codes, config, seed=seed, stall=0.2)


@pytest.mark.parametrize("seed, schemes", [
    (1, [Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8]),
    pytest.param(2, [Scheme.FIXED8], marks=pytest.mark.slow)])
def test_network(seed, schemes):
    bench, status = small(seed, schemes), []

    async def host(ctx):
        await bench.start(ctx)
        status.append(await bench.finish(ctx))

    bench.simulate(host)
    assert status[0] >> 1 & 1, hex(status[0])
    modelled = command_model.run(bench.program, bench.config, bench.codes[0], Random(seed).randrange(100))
    assert bench.right() and all((bench.tensor(name) == modelled[name]).all() for name in modelled)


# What a host may write while a program runs: anything but an abort.
WRITES = {r.name: (lambda rng: 1) if r.name == "CTRL" else (lambda rng: 0) if r.name == "IRQ_ENABLE" else
          (lambda rng: rng.choice((0, 1, rng.getrandbits(32)))) for r in REGISTERS}


def test_registers_do_not_reach_a_running_program():
    """Kind: a register that is live while a program runs. Every one, at random moments; accesses stay in the window."""
    bench, rng, status = small(1, [Scheme.POT4, Scheme.FIXED4]), Random(5), []
    alone = []

    async def host(ctx):
        bus = bench.engine.s_axi
        await bench.start(ctx)
        await bench.finish(ctx)
        alone.append(await read(ctx, bus, "COMMANDS"))
        for region in bench.program.outputs.values():
            bench.memory.bytes[BASE + region.offset:BASE + region.offset + region.size] = bytes(region.size)
        bench.memory.reads.clear()
        bench.memory.writes.clear()
        await write(ctx, bus, "IRQ_STATUS", 3)
        await bench.start(ctx)
        written = set()
        while await read(ctx, bus, "STATUS") & 1:
            name = rng.choice(sorted(set(WRITES) - written) or sorted(WRITES))
            written.add(name)
            await write(ctx, bus, name, WRITES[name](rng))
            await ctx.tick().repeat(rng.randrange(1, 20))
        assert written == set(WRITES)
        status.append(await read(ctx, bus, "STATUS"))
        assert await read(ctx, bus, "COMMANDS") == alone[0]

    bench.simulate(host)
    assert status == [2] and bench.right()
    end = BASE + bench.program.window_size
    assert all(BASE <= at and at + 4 * beats <= end for at, beats in bench.memory.reads + bench.memory.writes)


def test_a_program_of_another_configuration_does_not_run():
    """Kind: a program that another engine, or another version of the tables, was meant to run.

    Nothing is read but the program.
    """
    other = EngineConfig.from_dict(CONFIG.to_dict() | {"act_depth": 64})
    bench, results = small(1, [Scheme.FIXED4], other), []
    good = compile(bench.network, CONFIG, keep="all")
    version = bytearray(good.image)
    version[FIELDS["version"].lo // 8] += 1

    async def host(ctx):
        await bench.start(ctx)
        results.append((await bench.finish(ctx), len(bench.memory.writes)))
        for image in (bytes(version), good.image[:128][::-1] + good.image[128:], good.image):
            await write(ctx, bench.engine.s_axi, "IRQ_STATUS", 3)
            bench.program = good
            bench.fill(image)
            await bench.start(ctx)
            results.append((await bench.finish(ctx), len(bench.memory.writes)))

    bench.simulate(host)
    assert results[:3] == [(4 | Error.PROGRAM << 8, 0)] * 3 and results[3][0] == 2 and bench.right()


def test_watchdog_works_without_being_set():
    """Kind: a reset value that means never. A host that sets none has a limit, far above what any command needs."""
    bench, status = small(1, [Scheme.FIXED4]), []
    limit, = (r.init for r in REGISTERS if r.name == "WATCHDOG")
    assert 1_000_000 <= limit < 1 << 32

    async def host(ctx):
        assert await read(ctx, bench.engine.s_axi, "WATCHDOG") == limit
        await bench.start(ctx, WATCHDOG=None)
        status.append(await bench.finish(ctx))

    bench.simulate(host)
    assert status == [2] and bench.right()


def part_and_pool():
    """Sums of a part, a long one, and a pool of the same memory behind it.

    Network, configuration and program, which is cut out of a compiled one.
    """
    config = EngineConfig.from_dict(CONFIG.to_dict() | {"weight_depth": 60, "tap_depth": 128})
    weight = np.random.default_rng(1).choice(levels(Scheme.FIXED4), (1, 2, 11, 11)).astype(np.int16)
    shapes = {"image": (2, 11, 11), "a": (1, 1, 1), "out": (2, 10, 10)}
    tensors = {n: Tensor(name=n, channels=c, height=h, width=w, bits=5) for n, (c, h, w) in shapes.items()}
    nodes = [Conv(name="a", input="image", output="a", weight=weight, scheme=np.full(1, Scheme.FIXED4, np.uint8),
                  mult=np.full(1, 9, np.int32),
                  bias=np.zeros(1, np.int64), shift=12, lo=0, hi=31),
             MaxPool(name="out", input="image", output="out", kernel=(2, 2), stride=(1, 1), padding=(0, 0), mult=1,
                     shift=1, lo=0, hi=31)]
    network = Network(name="part", input="image", output="out", tensors=tensors, nodes=nodes)
    program, kept = compile(network, config), []
    for command in map(unpack, program.commands):
        first = not any((c["opcode"], c["tag"]) == (command["opcode"], command["tag"]) for c in kept)
        if first and command["opcode"] != Opcode.LOAD_PARAMS:
            kept.append(command | {"wait": 0, "give": 0, "release": 0})
    kept.sort(key=lambda c: (c["opcode"] != Opcode.START, not c["opcode"].name.startswith("LOAD"),
                             c["opcode"] == Opcode.END,
                             c["opcode"] == Opcode.STORE_ACT, c["tag"]))
    names = [c["opcode"].name for c in kept]
    assert names[-4:] == ["CONV", "POOL", "STORE_ACT", "END"] and not kept[-4]["acc_last"] and kept[-4]["taps"] == 60
    kept[-5]["give"] = kept[-4]["wait"] = 1         # the last load
    kept[-3]["give"] = kept[-2]["wait"] = 2
    records = b"".join(pack(**c) for c in kept)
    return network, config, replace(program, image=records + program.image[len(records):], command_count=len(kept))


def test_a_pool_waits_for_sums_of_a_part():
    """Kind: two units that read one memory at once.

    Nothing is written of a part, so nothing told the pool that it was still being fed.
    """
    network, config, program = part_and_pool()
    codes, status = np.random.default_rng(2).integers(0, 32, (1, 2, 11, 11)), []
    bench = Bench(network, program, codes, config, seed=1, stall=0)

    async def host(ctx):
        await bench.start(ctx)
        status.append(await bench.finish(ctx))

    bench.simulate(host, config)
    assert status == [2] and bench.right()
    assert (command_model.run(program, config, bench.codes[0])["out"] == bench.tensor("out")).all()
