"""The load unit behind its read ports and a DRAM model: every load command, every port width, the order of gives."""

from random import Random

import numpy as np
import pytest

from rtl.bus import ReadPort
from rtl.move import Load
from spec import kwords
from spec.coding import code_lengths, encode, pack_lengths
from spec.commands import Error, Opcode
from spec.config import DSP_DEVICES
from spec.images import OUTSIDE, windows_of

from ..axi_models import AxiMemory, put, simulate, sink, small_config, steady, until, watch
from ..command_models import command, out_fields, tensor_view, walk
from ..parameters import check_parameters

BASE = 0x1000
CASES = [dict(), dict(ports=1, port_bits=32, ic=5, dsp_filters=2, lut_filters=1),
         dict(ports=3, port_bits=128, ic=20, pixels=6),
         dict(ports=1, port_bits=256, ic=40, dsp_device="mult18"),
         dict(ports=2, port_bits=128, ic=64, dsp_filters=8, lut_filters=0, burst=16),
         dict(ports=2, port_bits=32, ic=8, dsp_filters=0, lut_filters=2, outstanding=1), dict(decode_lanes=32),
         dict(ports=3, port_bits=128, ic=20, pixels=6, decode_lanes=48),
         dict(ports=1, port_bits=32, ic=5, decode_lanes=2, dsp_device="mult18")]


class Bench:
    """Load unit with its ports; records everything that it writes."""
    def __init__(self, config, seed=0, stall=0.3, latency=12, act_stall=0.3):
        self.config, self.dut = config, Load.of(config)
        self.dram = AxiMemory(seed=seed, stall=stall, latency=latency)
        self.dram.fill(seed + 1)
        self.ports = [ReadPort.of(config) for _ in range(config.ports)]
        self.log = {"w": [], "p": [], "t": [], "c": [], "act": [], "give": []}
        self.act_stall, self.events = act_stall, []

    def run(self, testbench, *background):
        d = self.dut

        async def body(ctx):
            ctx.set(d.base, BASE)
            await testbench(ctx)

        async def order(ctx):
            """What is given and written, in the order in which they happen."""
            while True:
                _, _, w, p, t, c, valid, ready, give, idle = await ctx.tick().sample(
                    d.memories.weights.en, d.memories.params.en, d.memories.taps.en, d.memories.tables.en, d.act.valid,
                    d.act.ready, d.give, d.idle)
                assert not (give and idle)
                self.events += ["write"] * bool(w or p or t or c or valid and ready) + ([give] if give else [])

        join = [pair for n, port in enumerate(self.ports) for pair in ((d.req[n], port.req), (port.data, d.data[n]))]
        simulate({"load": d, **{f"port{n}": p for n, p in enumerate(self.ports)}}, body, join=join, background=[
            *(self.dram.read_slave(p.bus) for p in self.ports), order, *background,
            watch([d.memories.weights.addr, d.memories.weights.data], self.log["w"], d.memories.weights.en),
            watch([d.memories.params.addr, d.memories.params.data], self.log["p"], d.memories.params.en),
            watch([d.memories.taps.addr, d.memories.taps.data], self.log["t"], d.memories.taps.en),
            watch([d.memories.tables.addr, d.memories.tables.data], self.log["c"], d.memories.tables.en),
            sink(d.act, self.log["act"], Random(9), self.act_stall)])

    def word(self, addr, count):
        return int.from_bytes(self.dram.bytes[BASE + addr:BASE + addr + count], "little")

    def k_words(self, dram, stride, count):
        """The k-words of a weight load, by the definition."""
        c, out = self.config, []
        for k in range(count):
            wide = b"".join(bytes(self.dram.bytes[BASE + dram + i * stride
                                                  + (k * c.weight_beats + b) * c.port_bytes:][:c.port_bytes])
                            for b in range(c.weight_beats) for i in range(c.ports))
            out.append(int.from_bytes(wide, "little") & (1 << kwords.word_bits(c.slots, c.ic)) - 1)
        return out

    def coded(self, rng, dram, count):
        """Random weights, coded, put into the DRAM at ``dram``: fields of the load and the k-words."""
        c, kinds = self.config, rng.sample(range(16), rng.choice([1, 2, 5, 16]))
        nibbles = np.array(rng.choices(kinds, [rng.random() ** 3 for _ in kinds],
                                       k=count * c.decode_steps * c.decode_lanes))
        lengths = code_lengths(np.bincount(nibbles, minlength=16))
        beats = encode(nibbles.reshape(-1, c.decode_lanes), lengths, c.decode_width)
        stride = len(beats) * c.port_bytes
        data = beats.reshape(len(beats), c.ports, c.port_bytes).transpose(1, 0, 2).tobytes()
        self.dram.bytes[BASE + dram:BASE + dram + len(data)] = data
        words = [kwords.number(word) for word in kwords.spread(nibbles.reshape(count, -1), c)]
        return dict(dram=dram, stride=stride, beats=len(beats), codes=pack_lengths(lengths)), words


def image(bench, rng):
    """Fields of a random LOAD_ACT of an image, and what it writes."""
    c, rows, cols, groups = bench.config, rng.randint(1, 4), rng.randint(1, 9), rng.randint(1, 2)
    view, _ = tensor_view(c.pixels, rows, cols, groups, 0, rng.randrange(2), rng.randrange(2))
    pair = rng.randrange(2) if c.act_lanes > 1 else 0
    above = rng.randrange(2)
    below = rng.randrange(2) if pair or rows > 1 or not above else 0
    fields = dict(
        image=1, pair=pair, above=above, below=below, bytes=rng.choice([1, 3, 21, rng.randint(1, 300)]),
        before=rng.choice([0, 0, rng.randint(0, 40), 500]), step=rng.choice([1, 3, 6, rng.randint(1, 40), 700]),
        fill=rng.randrange(256), rows=rows, cols=cols, stride=rng.randint(0, 400), dram=rng.randint(0, 0x3000),
        mem_out=rng.randrange(2), **out_fields(view))
    writes = []
    sources_of = windows_of(fields, c.ic).reshape(-1, c.ic)
    for place, sources in zip(walk(view, rows, cols, c.pixels), sources_of, strict=True):
        codes = [fields["fill"] if at == OUTSIDE else bench.word(fields["dram"] + int(at), 1) for at in sources]
        writes.append((fields["mem_out"], *place, int.from_bytes(bytes(codes), "little")))
    return fields, writes


def program(bench, seed):
    """Random load commands and what they write."""
    c, rng, commands = bench.config, Random(seed), []
    expected = {"w": [], "p": [], "t": [], "c": [], "act": []}
    align = c.port_bytes
    for number in range(10):
        kind, give = rng.choice(["w", "p", "t", "c", "act", "image", "image"]), 1 << number % 8
        dram = rng.randrange(0, 0x4000, align)
        if kind == "w":
            count = rng.randint(1, 9)
            dst, stride = rng.randint(0, c.weight_depth - count), rng.randrange(0, 0x800, align)
            coded = None
            if c.decode_lanes and rng.random() < 0.7:
                coded = bench.coded(rng, dram=0x4000 + 0x800 * number, count=count)
            fields, words = coded or (dict(dram=dram, stride=stride), bench.k_words(dram, stride, count))
            commands.append(command(Opcode.LOAD_WEIGHTS, dst=dst, count=count, give=give, **fields))
            expected["w"] += [(dst + k, w) for k, w in enumerate(words)]
        elif kind in "pt":
            count, limit = rng.randint(1, 7), c.tap_depth if kind == "t" else c.param_depth * c.slots
            dst = rng.randint(0, limit - count)
            commands.append(command(Opcode.LOAD_PARAMS if kind == "p" else Opcode.LOAD_TAPS, dram=dram, dst=dst,
                                    count=count,
                                    give=give))
            expected[kind] += [(dst + n, bench.word(dram + 16 * n, 16)) for n in range(count)]
        elif kind == "c":       # four codes are written at once
            count = rng.randint(1, 7)
            dst = rng.randint(0, c.tables * 16 - count)
            commands.append(command(Opcode.LOAD_TABLES, dram=dram, dst=dst, count=count, give=give))
            expected[kind] += [(4 * dst + n, bench.word(dram + 4 * n, 4)) for n in range(4 * count)]
        elif kind == "image":
            fields, writes = image(bench, rng)
            commands.append(command(Opcode.LOAD_ACT, give=give, **fields))
            expected["act"] += writes
        else:
            rows, cols, groups = rng.randint(1, 4), rng.randint(1, 7), rng.randint(1, 3)
            view, words = tensor_view(c.pixels, rows, cols, groups, 0, rng.randrange(2), rng.randrange(2))
            assert words <= c.act_depth
            mem, stride = rng.randrange(2), c.act_group_bytes * groups * cols + align * rng.randrange(3)
            commands.append(command(Opcode.LOAD_ACT, dram=dram, stride=stride, rows=rows, cols=cols, mem_out=mem,
                                    give=give,
                                    **out_fields(view)))
            places = iter(walk(view, rows, cols, c.pixels))
            for y in range(rows):
                for x in range(cols):
                    bank, addr = next(places)
                    for g in range(groups):
                        codes = bench.word(dram + y * stride + (x * groups + g) * c.act_group_bytes, c.ic)
                        expected["act"].append((mem, bank, addr + g, codes))
    return commands, expected


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_load(case, seed):
    bench = Bench(small_config(tables=2, **case), seed, stall=0.4 * seed)
    commands, expected = program(bench, seed)

    async def body(ctx):
        rng = Random(seed)
        for item in commands:
            await put(ctx, bench.dut.cmd, item, rng)
        await until(ctx, bench.dut.idle)

    bench.run(body, steady(bench.dut.act), *map(steady, bench.dut.req))
    log = bench.log
    assert all(log[kind] == expected[kind] for kind in "wptc")
    acts = [(a.place.mem, a.place.bank, a.place.addr,
             a.as_bits() >> bench.dut.act.payload.shape()["data"].offset) for a in log["act"]]
    mask = (1 << 8 * bench.config.ic) - 1
    acts = [(m, b, a, d & mask) for m, b, a, d in acts]
    # Rows of a command arrive side by side: every write once, and the last command wins.
    assert sorted(acts) == sorted(expected["act"])
    assert {w[:3]: w[3] for w in acts} == {w[:3]: w[3] for w in expected["act"]}
    assert [e for e in bench.events if e != "write"] == [1 << n % 8 for n in range(10)]


COMPLETE = (1, 2, 3, 4, 5, 6, 7, 7)
DAMAGED = {     # k-words, beats, lengths of codes, bytes of the streams
    "short": (8, 1, COMPLETE, None), "long": (30, 120, (1, 1), None), "drift": (24, 96, COMPLETE, b"\0\0\xff\xff"),
    "no code": (20, 80, (0, 0, 7, 7), None), "too many codes": (20, 80, (1,) * 16, None),
    "random": (20, 70, COMPLETE, None)}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_codes_hold_nothing(kind):
    """Kind: data on which a unit waits for ever.

    Streams that are too short, too long or drift apart, and codes that are none: every load
    writes its k-words and gives, and a good one behind them is right.
    """
    bench, (count, beats, lengths, pattern) = Bench(small_config(**CASES[8]), 1, stall=0.1), DAMAGED[kind]
    good, words = bench.coded(Random(1), dram=0x4000, count=3)
    if pattern:
        bench.dram.bytes[BASE:BASE + 0x1000] = pattern * (0x1000 // len(pattern))
    bad = dict(beats=beats, codes=sum(v << 3 * i for i, v in enumerate(lengths)), count=count)
    assert beats <= count * bench.config.weight_beats and bench.config.decode_width == 16

    async def body(ctx):
        for values in (bad, good | {"count": 3, "dst": 9}):
            await put(ctx, bench.dut.cmd, command(Opcode.LOAD_WEIGHTS, give=1, **values))
        await until(ctx, bench.dut.idle, 4000)

    bench.run(body)
    assert len(bench.log["w"]) == count + 3 and bench.events.count(1) == 2
    assert [(a, w) for a, w, *_ in bench.log["w"][-3:]] == list(enumerate(words, 9))


@pytest.mark.parametrize("device", DSP_DEVICES)
def test_give_follows_last_write(device):
    bench = Bench(small_config(tables=1, dsp_device=device), act_stall=0.8)
    view, _ = tensor_view(4, 2, 3, 2)
    order = [(Opcode.LOAD_WEIGHTS, 3, dict(count=3, stride=64)),
             (Opcode.LOAD_ACT, 12, dict(rows=2, cols=3, **out_fields(view))),
             (Opcode.LOAD_TAPS, 5, dict(count=5)), (Opcode.LOAD_TABLES, 8, dict(count=2)),
             (Opcode.LOAD_PARAMS, 2, dict(count=2))]

    async def body(ctx):
        for n, (opcode, _, values) in enumerate(order):
            await put(ctx, bench.dut.cmd, command(opcode, give=1 << n, **values))
        await until(ctx, bench.dut.idle)

    bench.run(body)
    assert bench.events == [e for n, (_, writes, _) in enumerate(order) for e in ["write"] * writes + [1 << n]]


def test_weight_bandwidth():
    """Two commands in a row stream at a wide beat each cycle, whatever the DRAM latency."""
    config = small_config(ic=16, port_bits=64, ports=2, burst=16, outstanding=8)
    bench = Bench(config, stall=0, latency=40)
    cycles = []

    async def body(ctx):
        for n in range(3):
            await put(ctx, bench.dut.cmd, command(Opcode.LOAD_WEIGHTS, dram=0x400 * n, stride=0x2000, count=30))
        await until(ctx, bench.dut.idle)

    async def count(ctx):
        while True:
            _, _, moving = await ctx.tick().sample(bench.dut.moving)
            cycles.append(moving)

    bench.run(body, count)
    beats = 3 * 30 * config.weight_beats
    first = cycles.index(1)
    last = len(cycles) - cycles[::-1].index(1)
    assert sum(cycles) == beats and last - first <= beats + 6, (last - first, beats)


def test_refuses_other_commands():
    bench = Bench(small_config())

    async def body(ctx):
        d = bench.dut
        ctx.set(d.cmd.payload, command(Opcode.CONV, tag=7))
        ctx.set(d.cmd.valid, 1)
        await until(ctx, d.error.valid)
        assert (ctx.get(d.error.code), ctx.get(d.error.tag)) == (Error.OPCODE, 7)

    bench.run(body)


def test_clear():
    """Stopped in the middle, the unit and its ports start again with nothing left over."""
    bench = Bench(small_config())

    async def body(ctx):
        d = bench.dut
        ctx.set(d.cmd.payload, command(Opcode.LOAD_WEIGHTS, stride=0x100, count=20, give=1))
        ctx.set(d.cmd.valid, 1)
        await ctx.tick().repeat(45)
        ctx.set(d.cmd.valid, 0)
        for signal in (d.clear, *(p.stop for p in bench.ports)):
            ctx.set(signal, 1)
        await ctx.tick()
        for port in bench.ports:
            await until(ctx, port.idle)
        for signal in (d.clear, *(p.stop for p in bench.ports)):
            ctx.set(signal, 0)
        await ctx.tick()
        assert ctx.get(d.idle)
        for items in bench.log.values():
            items.clear()
        bench.events.clear()
        await put(ctx, d.cmd, command(Opcode.LOAD_WEIGHTS, stride=0x100, count=2, dst=5, give=4))
        await until(ctx, d.idle)
        assert [(a, w) for a, w, *_ in bench.log["w"]] == list(enumerate(bench.k_words(0, 0x100, 2), 5))
        assert bench.events == ["write", "write", 4]

    bench.run(body)


def test_parameters():
    good = {name: getattr(small_config(), name) for name in Load.parameters()}
    whole = ("ic", "act_depth", "group_beats", "slots", "weight_depth", "param_depth", "tap_depth", "ports",
             "beat_bits", "act_lanes", "weight_beats")
    check_parameters(Load, good, [
        *((name, 0, "1 or more") for name in whole), ("pixels", 1, "2 or more"),
        ("port_bits", 16, "one of 32, 64, 128, 256"), ("port_bytes", 3, "one of 4, 8, 16, 32"),
        ("addr_bits", 65, "32 to 64"), ("tables", 16, "0 to 15"), ("decode_lanes", -1, "0 or more"),
        ("record_port", -1, "0 or more"), ("image_lanes", 3, "1 to 2"),
        ("dsp_device", "dsp58", "one of dsp48e2, dsp48e1, mult18"),
        ("decode_width", 33, "0 to 32"), ("decode_steps", -1, "0 or more")])


@pytest.mark.parametrize("device", ["dsp48e2", "mult18"])
@pytest.mark.parametrize("stall", [0, 0.2, 0.5])
def test_activations_without_a_gap(stall, device):
    """A group each cycle in which ``act`` is taken, from the first to the last."""
    config = small_config(dsp_device=device, ic=8, port_bits=64, ports=1, burst=16)
    bench = Bench(config, stall=0, latency=4, act_stall=stall)
    rows, cols, groups = 5, 9, 2
    view, _ = tensor_view(bench.config.pixels, rows, cols, groups)
    size, waits = 8 * groups * cols, []

    async def body(ctx):
        await put(ctx, bench.dut.cmd, command(Opcode.LOAD_ACT, stride=size, rows=rows, cols=cols, **out_fields(view)))
        await until(ctx, bench.dut.idle)

    async def gaps(ctx):
        while True:
            valid, = (await ctx.tick().sample(bench.dut.act.valid))[2:]
            waits.extend([not valid] * (0 < len(bench.log["act"]) < rows * cols * groups))

    bench.run(body, gaps)
    assert len(bench.log["act"]) == rows * cols * groups and waits and not any(waits)
