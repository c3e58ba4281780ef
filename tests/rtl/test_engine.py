"""The whole engine in Amaranth's simulator: programs from DRAM, through AXI, with pauses on every channel."""

from random import Random

import numpy as np
import pytest

from compiler import compile
from rtl.top import Engine
from sim import command_model, golden
from spec.config import EngineConfig
from spec.numerics import Scheme
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


@pytest.mark.parametrize("seed, schemes", [(1, [Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8]), (2, [Scheme.FIXED8])])
def test_network(seed, schemes):
    rng = np.random.default_rng(seed)
    config = EngineConfig(name="pysim", ic=2, pixels=2, dsp_filters=2, lut_filters=1, act_depth=128, weight_depth=32, param_depth=4, tap_depth=18,
                          ports=2, port_bits=32, addr_bits=32, burst=4, outstanding=2, queue_depth=2, tables=1)
    network = random_network(rng, schemes=schemes, layers=2, max_size=4, max_channels=4)
    codes = rng.integers(0, 256, (1, *network.tensors["image"].shape))
    program = compile(network, config, keep="all")
    memory = AxiMemory(size=BASE + program.window_size, seed=seed, stall=0.2)
    memory.bytes[BASE:BASE + len(program.image)] = program.image
    packed = program.pack_input(codes[0])
    memory.bytes[BASE + program.input.offset:BASE + program.input.offset + len(packed)] = packed
    engine, status = Engine(config), []

    async def host(ctx):
        for name, value in (("BASE_LO", BASE), ("SIZE", program.window_size), ("CMD_OFFSET", 0), ("CMD_COUNT", program.command_count),
                            ("WATCHDOG", 2000), ("IRQ_ENABLE", 3), ("CTRL", 1)):
            await write(ctx, engine.s_axi, name, value)
        await ctx.tick().until(engine.irq)
        status.append(await read(ctx, engine.s_axi, "STATUS"))

    background = [memory.read_slave(bus) for bus in engine.r_axi] + [memory.write_slave(engine.w_axi)]
    simulate({"engine": engine}, host, background=background, limit=60_000)
    assert status[0] >> 1 & 1, hex(status[0])
    expected = golden.run(network, codes)
    modelled = command_model.run(program, config, codes[0], Random(seed).randrange(100))
    for name, region in program.outputs.items():
        start = BASE + region.offset
        got = program.unpack(name, bytes(memory.bytes[start:start + region.size]))
        assert (got == expected[name][0]).all() and (got == modelled[name]).all(), name
