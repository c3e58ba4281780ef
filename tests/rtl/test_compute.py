"""The compute side with its activation memories against the command model: programs, commands close on each other."""

from collections import Counter
from dataclasses import replace
from random import Random

from amaranth.hdl import Module
from amaranth.lib import wiring
import numpy as np
import pytest

from compiler import compile
from rtl.compute import Compute
from rtl.memory import Banks
from rtl.prim import TAP
from sim.command_model import CommandModel
from sim.command_model.array import Array
from sim.command_model.loads import LOADS
from sim.command_model.post import pool, post
from spec.commands import PARAM_BYTES, PARAM_FIELDS, TAP_BYTES, TAP_FIELDS, Opcode, pack_record, unpack
from spec.config import DSP_DEVICES, LUT_FORMS, EngineConfig
from spec.kwords import number
from spec.numerics import Scheme
from spec.registers import Trace
from spec.views import view_of, walk
from tests.networks import random_network

from .axi_models import put, simulate
from .command_models import command
from .parameters import check_parameters

CONFIG = EngineConfig(name="compute", ic=2, pixels=4, dsp_filters=2, lut_filters=1, act_depth=128, weight_depth=64,
                      param_depth=4, tap_depth=24, queue_depth=2, tables=1)


class Side(wiring.Component):
    """Compute side and activation memories, wired as in the engine."""

    def __init__(self, config):
        self.config, self.compute, self.banks = config, Compute.of(config), Banks.of(config)
        super().__init__({})

    def elaborate(self, platform):
        m, compute, banks = Module(), self.compute, self.banks
        m.submodules.compute, m.submodules.banks = compute, banks
        wiring.connect(m, compute.activations, banks.compute)
        return m


class Bench:
    """Loads go to both at once, commands to the model and then to the hardware, stores compare."""

    def __init__(self, seed, config):
        self.dice, self.config = Random(seed), config
        rng = np.random.default_rng(seed)
        schemes = [Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8, Scheme.CODEBOOK] if config.dsp_filters else [Scheme.POT4]
        network = random_network(rng, schemes=schemes, layers=4, max_size=5, max_channels=4)
        self.program = compile(network, config, keep="all")
        model = CommandModel(self.program, config)
        model.put(rng.integers(0, 256, network.tensors["image"].shape))
        self.memories, self.array = model.memories, Array(model.memories)
        self.side = Side(config)
        self.events, self.given, self.released, self.compared, self.reads = [], [], [], 0, Counter()

    async def load(self, ctx, cmd):
        await self.idle(ctx)
        LOADS[cmd["opcode"]](self.memories, cmd)()
        if cmd["opcode"] == Opcode.LOAD_ACT:
            await self.load_act(ctx, cmd)
            return
        name, word = {
            Opcode.LOAD_WEIGHTS: ("weights", self.k_word),
            Opcode.LOAD_PARAMS: ("params", self.record(PARAM_FIELDS, PARAM_BYTES, "params")),
            Opcode.LOAD_TAPS: ("taps", self.record(TAP_FIELDS, TAP_BYTES, "taps")),
            Opcode.LOAD_TABLES: ("tables", self.codes),
        }[cmd["opcode"]]
        port = getattr(self.side.compute.memories, name)
        ctx.set(port.en, 1)
        each = 4 if name == "tables" else 1
        for at in range(cmd["dst"] * each, (cmd["dst"] + cmd["count"]) * each):
            ctx.set(port.addr, at)
            ctx.set(port.data, word(at))
            await ctx.tick()
        ctx.set(port.en, 0)
        await ctx.tick()        # weights take one more

    def k_word(self, at):
        return number(self.memories.weights[at])

    def codes(self, at):
        return int.from_bytes(bytes(self.memories.tables.reshape(-1, 4)[at].tolist()), "little")

    def record(self, fields, size, table):
        return lambda at: int.from_bytes(pack_record(fields, getattr(self.memories, table)[at], size), "little")

    def words(self, cmd):
        """Place and codes of each channel group of a region."""
        for _, _, bank, addr in walk(view_of(cmd, "out"), cmd["rows"], cmd["cols"], self.config.pixels):
            for group in range(cmd["out_groups"]):
                place = {"mem": cmd["mem_out"], "bank": bank, "addr": addr + group}
                codes = self.memories.act[tuple(place.values())]
                yield place, np.maximum(codes, 0).tolist(), codes >= 0

    async def load_act(self, ctx, cmd):
        for place, codes, _ in self.words(cmd):
            await put(ctx, self.side.banks.load, {"place": place, "data": codes})

    async def compare(self, ctx, cmd):
        await self.idle(ctx)
        for place, codes, known in self.words(cmd):
            await put(ctx, self.side.banks.store.place, place)
            gathered, = await ctx.tick().sample(self.side.banks.store.codes).until(self.side.banks.store.valid)
            assert (np.array(list(gathered))[known] == np.array(codes)[known]).all(), (cmd["tag"], place)
            self.compared += int(known.sum())

    async def compute(self, ctx, cmd):
        whole = cmd["opcode"] == Opcode.POOL or cmd["acc_first"] and cmd["acc_last"]
        fields = {name: value for name, value in cmd.items() if name != "opcode"} | {"wait": 0, "magic": 161}
        for _ in range(self.dice.randrange(1, 4) if whole else 1):
            if cmd["opcode"] == Opcode.POOL:
                writes = pool(self.memories, cmd)
            else:
                sums = self.array.convolve(cmd)
                writes = post(self.memories, cmd, sums) if cmd["acc_last"] else []
            for place, codes in writes:
                self.memories.act[place] = codes
            fields |= {"give": self.dice.randrange(1, 256)} | ({} if cmd["opcode"] == Opcode.POOL else
                                                              {"release": self.dice.randrange(1, 256)})
            self.given.append(fields["give"])
            if cmd["opcode"] == Opcode.CONV:
                self.released.append(fields["release"])
            await put(ctx, self.side.compute.cmd, command(cmd["opcode"], **fields), self.dice, 0.3)

    async def idle(self, ctx):
        await ctx.tick()
        while not ctx.get(self.side.compute.idle):
            await ctx.tick()

    async def execute(self, ctx):
        for cmd in map(unpack, self.program.commands):
            opcode = cmd["opcode"]
            if opcode in LOADS:
                await self.load(ctx, cmd)
            elif opcode in (Opcode.CONV, Opcode.POOL):
                await self.compute(ctx, cmd)
            elif opcode == Opcode.STORE_ACT:
                await self.compare(ctx, cmd)

    def run(self, commands):
        part, seen = self.side.compute, {"give": [], "release": []}
        to = part.activations

        async def drive(ctx):
            await commands(ctx)
            await self.idle(ctx)

        async def record(ctx):
            while True:
                valid, event, given, released, progress, feeds, fed, gathers, asked = (await ctx.tick().sample(
                    part.trace_valid, part.trace_event, part.give, part.release, part.progress, to.feed.en,
                    to.feed.mem, to.gather.en, to.gather.place))[2:]
                gather = gathers and next(place for n, place in enumerate(asked) if gathers >> n & 1)
                assert not (feeds and gathers and gather.mem == fed), "feeder and post unit read one memory at once"
                self.reads["feed", fed] += feeds
                if gathers:
                    self.reads["gather", gather.mem] += 1
                self.events += [Trace(event)] * valid
                assert progress or not given
                for name, mask in (("give", given), ("release", released)):
                    seen[name] += [mask] * bool(mask)

        simulate({"side": self.side}, drive, background=[record], limit=100_000)
        return seen


CASES = [(0, {}), (1, {}), (2, dict(queue_depth=1)), (3, dict(pixels=2, ic=3, queue_depth=4)),
         (4, dict(dsp_filters=0, lut_filters=3)), (5, dict(dsp_filters=4, lut_filters=0, act_digit_bits=4)),
         (6, dict(out_pixels=2)), (7, dict(out_pixels=2, pixels=8)), (8, dict(dsp_device="mult18"))]


@pytest.mark.parametrize("seed, values", CASES)
def test_programs(seed, values):
    """Every command up to three times, the next one offered while it works: each word stored, every semaphore."""
    bench = Bench(seed, replace(CONFIG, **values))
    seen = bench.run(bench.execute)
    assert bench.compared > 10 and seen == {"give": bench.given, "release": bench.released}
    assert bench.events.count(Trace.DONE) == len(bench.given)


SIZE = dict(rows=4, cols=5, pitch=5, taps=1, groups=1, out_groups=1, out_step_addr=1, out_step_bank=1, res_groups=1,
            res_step_addr=1, res_step_bank=1)
TILES = SIZE | dict(depth=1, tiles=5, step_x=4, acc_first=1, acc_last=1, hi=255, shift=1)
ORDERS = {
    "residual": [(Opcode.CONV, TILES | dict(residual=1, mem_res=1)), (Opcode.CONV, TILES | dict(mem_in=1))],
    "pool": [(Opcode.POOL, SIZE | dict(mem_in=1)), (Opcode.CONV, TILES | dict(mem_in=1))],
    "part": [(Opcode.CONV, TILES | dict(tiles=1, groups=40, depth=40, acc_last=0, mem_in=1)),
             (Opcode.POOL, SIZE | dict(mem_in=1))],
    "pools": [(Opcode.POOL, SIZE | dict(mem_in=n % 2)) for n in range(8)],
}


@pytest.mark.parametrize("order", ORDERS)
def test_order(order):
    """Whoever reads a memory waits for those before it, and none is lost when the queue is full."""
    bench, commands = Bench(0, replace(CONFIG, queue_depth=1)), ORDERS[order] * 3
    part = bench.side.compute

    async def send(ctx):
        ctx.set(part.memories.taps.data, TAP.const(dict(rows=99, cols=99)).as_bits())
        ctx.set(part.memories.taps.en, 1)
        await ctx.tick()
        ctx.set(part.memories.taps.en, 0)
        for n, (opcode, fields) in enumerate(commands):
            await put(ctx, part.cmd, command(opcode, give=n % 255 + 1, **fields))

    assert bench.run(send)["give"] == [n % 255 + 1 for n in range(len(commands))]
    assert all(bench.reads[reader, 1] for reader in (("feed", "gather") if order != "pools" else ("gather",)))


def test_parameters():
    good = {name: getattr(CONFIG, name) for name in Compute.parameters()}
    whole = ("ic", "act_depth", "weight_depth", "param_depth", "tap_depth", "out_pixels", "queue_depth")
    check_parameters(Compute, good, [
        *((name, 0, "1 or more") for name in whole), ("pixels", 3, "an even number, 2 or more"),
        ("dsp_filters", 1, "an even number, 0 or more"), ("lut_filters", -1, "0 or more"),
        ("row_taps", 4, "1 to 3"), ("act_digit_bits", 9, "1 to 8"), ("acc_width", 1, "2 or more"),
        ("joined_width", 1, "2 or more"),
        ("dsp_device", "dsp", f"one of {', '.join(DSP_DEVICES)}"), ("portable_dsp", 2, "one of False, True"),
        ("lut_form", "wide", f"one of {', '.join(LUT_FORMS)}"), ("tables", 16, "0 to 15")])
