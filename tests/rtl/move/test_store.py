"""The store unit behind its write port and a DRAM model."""

from collections import deque
from random import Random
from types import SimpleNamespace

import pytest

from rtl.bus import WritePort
from rtl.move import Store
from spec.commands import Error, Opcode

from ..axi_models import AxiMemory, put, refusal, simulate, small_config, steady, until
from ..command_models import command, out_fields, tensor_view, walk
from ..parameters import check_parameters

BASE = 0x2000
CASES = [dict(), dict(port_bits=32, ic=5), dict(port_bits=256, ic=40, pixels=6), dict(port_bits=128, ic=64, burst=16),
         dict(port_bits=64, ic=3, outstanding=1)]


def codes(config, mem, bank, addr):
    """Content of the activation memories."""
    return Random((mem << 32) + (bank << 24) + addr).getrandbits(8 * config.ic)


class Bench:
    def __init__(self, config, seed=0, stall=0.3, gather_latency=3):
        self.config, self.dut, self.port = config, Store.of(config), WritePort.of(config)
        self.dram = AxiMemory(seed=seed, stall=stall)
        self.dram.fill(seed)
        self.gives, self.rng, self.stall, self.gather_latency = [], Random(seed), stall, gather_latency

    def run(self, testbench, *background):
        d, p = self.dut, self.port

        async def body(ctx):
            ctx.set(d.base, BASE)
            await testbench(ctx)

        async def memories(ctx):
            pipe = deque([None] * self.gather_latency)
            while True:
                word = pipe.popleft()
                ctx.set(d.gather.valid, word is not None)
                ctx.set(d.gather.codes.as_value(), word or 0)
                ctx.set(d.gather.place.ready, self.rng.random() >= self.stall)
                _, _, valid, ready, place = await ctx.tick().sample(
                    d.gather.place.valid, d.gather.place.ready, d.gather.place.payload)
                pipe.append(codes(self.config, place.mem, place.bank, place.addr) if valid and ready else None)

        async def gives(ctx):
            while True:
                _, _, give, idle = await ctx.tick().sample(d.give, d.idle)
                assert not (give and idle)
                if give:
                    self.gives.append((give, bytes(self.dram.bytes)))

        simulate({"store": d, "port": p}, body, join=[(d.req, p.req), (d.data, p.data)], wires=[(p.done, d.done)],
                 background=[self.dram.write_slave(p.bus), memories, gives, *background])


def region(bench, rng, rows, cols, groups):
    c = bench.config
    view, words = tensor_view(c.pixels, rows, cols, groups, rng.randrange(4), rng.randrange(2), rng.randrange(2))
    assert words + 4 <= c.act_depth
    dram, mem = rng.randrange(0, 0x3000, c.port_bytes), rng.randrange(2)
    stride = c.act_group_bytes * groups * cols + c.port_bytes * rng.randrange(3)
    values = dict(dram=dram, stride=stride, rows=rows, cols=cols, mem_out=mem, **out_fields(view))
    return values, list(walk(view, rows, cols, c.pixels))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_store(case, stall):
    bench = Bench(small_config(**case), 3, stall)
    c, rng, image, images, commands = bench.config, Random(4), bytearray(bench.dram.bytes), [], []
    for n in range(5):
        rows, cols, groups = rng.randint(1, 4), rng.randint(1, 7), rng.randint(1, 3)
        values, places = region(bench, rng, rows, cols, groups)
        for i, (bank, addr) in enumerate(places):
            for g in range(groups):
                at = BASE + values["dram"] + i // cols * values["stride"] + (i % cols * groups + g) * c.act_group_bytes
                word = codes(c, values["mem_out"], bank, addr + g)
                image[at:at + c.act_group_bytes] = word.to_bytes(c.act_group_bytes, "little")
        images.append((1 << n, bytes(image)))
        commands.append(command(Opcode.STORE_ACT, give=1 << n, **values))

    async def body(ctx):
        for item in commands:
            await put(ctx, bench.dut.cmd, item, rng)
        await until(ctx, bench.dut.idle)

    bench.run(body, *map(steady, (bench.dut.gather.place, bench.dut.req, bench.dut.data)))
    assert bench.gives == images


@pytest.mark.parametrize("latency, every", [(3, 1), (12, 1), (3, 3)])
def test_a_beat_each_cycle(latency, every):
    """Of a group each: as long as every cycle serves one, or as often as one does."""
    config, beats, (rows, cols, groups) = small_config(ic=8, port_bits=64), [], (4, 7, 3)
    dut = Store.of(config)
    values, places = region(SimpleNamespace(config=config), Random(5), rows, cols, groups)

    async def body(ctx):
        ctx.set(dut.req.ready, 1), ctx.set(dut.data.ready, 1)
        await put(ctx, dut.cmd, command(Opcode.STORE_ACT, give=1, **values))

    async def memories(ctx):
        pipe, cycle = deque([None] * latency), 0
        while True:
            word, cycle = pipe.popleft(), cycle + 1
            ctx.set(dut.gather.valid, word is not None), ctx.set(dut.gather.codes.as_value(), word or 0)
            ctx.set(dut.gather.place.ready, cycle % every == 0)
            valid, ready, place, beat, data = (await ctx.tick().sample(
                dut.gather.place.valid, dut.gather.place.ready, dut.gather.place.payload, dut.data.valid,
                dut.data.payload.data))[2:]
            pipe.append(codes(config, place.mem, place.bank, place.addr) if valid and ready else None)
            beats.extend([(cycle, data)] * beat)
            ctx.set(dut.done, beat and len(beats) % (cols * groups) == 0)

    simulate({"store": dut}, body, background=[memories])
    assert [data for _, data in beats] == [
        codes(config, values["mem_out"], bank, addr + group) for bank, addr in places for group in range(groups)]
    assert beats[-1][0] - beats[0][0] == every * (len(beats) - 1)


def test_refuses_other_commands():
    bench = Bench(small_config())

    async def body(ctx):
        d = bench.dut
        ctx.set(d.cmd.payload, command(Opcode.LOAD_ACT, tag=9))
        ctx.set(d.cmd.valid, 1)
        await until(ctx, d.error.valid)
        assert (ctx.get(d.error.code), ctx.get(d.error.tag)) == (Error.OPCODE, 9)

    bench.run(body)


@pytest.mark.parametrize("cycles", [15, 25, 40, 60])
def test_clear(cycles):
    bench = Bench(small_config(), 1)
    first, _ = region(bench, Random(1), 3, 5, 2)
    second, places = region(bench, Random(2), 1, 1, 1)

    async def body(ctx):
        d, p = bench.dut, bench.port
        ctx.set(d.cmd.payload, command(Opcode.STORE_ACT, give=1, **first))
        ctx.set(d.cmd.valid, 1)
        await ctx.tick().repeat(cycles)
        ctx.set(d.cmd.valid, 0), ctx.set(d.clear, 1), ctx.set(p.stop, 1)
        await ctx.tick().repeat(6)
        await until(ctx, p.idle)
        ctx.set(d.clear, 0), ctx.set(p.stop, 0)
        await ctx.tick()
        assert ctx.get(d.idle) and not bench.gives
        await put(ctx, d.cmd, command(Opcode.STORE_ACT, give=2, **second))
        await until(ctx, d.idle)
        at, size = BASE + second["dram"], bench.config.act_group_bytes
        word = codes(bench.config, second["mem_out"], *places[0])
        assert bench.dram.bytes[at:at + size] == word.to_bytes(size, "little")
        assert [give for give, _ in bench.gives] == [2]

    bench.run(body)


def test_parameters():
    good = dict(ic=20, pixels=4, act_depth=64, port_bits=64, group_beats=3, addr_bits=40, beat_bits=20)
    check_parameters(Store, good, [
        ("ic", 0, "1 or more"), ("pixels", 1, "2 or more"), ("act_depth", 0, "1 or more"),
        ("port_bits", 16, "one of 32, 64, 128, 256"),
        ("group_beats", 0, "1 or more"), ("addr_bits", 8, "32 to 64"), ("beat_bits", 0, "1 or more")])
    assert refusal(Store, **good | dict(ic=25)) == (
        "no Store of 25 channels has group_beats 3 of 64 bits: give 4 or more")
