"""The pool unit against the text of docs/architecture.md: maxima over taps, padding, layouts, and how long it takes."""

from itertools import product
from random import Random

import pytest

from rtl.post import Pool
from rtl.prim import TAP
from spec import latency
from spec.commands import Opcode
from spec.views import fields_of

from ..axi_models import put, simulate
from ..command_models import command, out_fields
from ..parameters import check_parameters
from .models import Memories, places, plane, tensor

SIZES = [dict(ic=1, pixels=2, out_pixels=1, dsp_device="dsp48e2"),
         dict(ic=3, pixels=8, out_pixels=2, dsp_device="mult18"),
         dict(ic=4, pixels=5, out_pixels=1, dsp_device="mult18"),
         dict(ic=2, pixels=4, out_pixels=2, dsp_device="dsp48e1"),
         dict(ic=1, pixels=16, out_pixels=4, dsp_device="dsp48e2")]
REST = dict(act_depth=512, tap_depth=20)


class Bench:
    def __init__(self, seed, size):
        self.pool, self.dice = Pool(**size, **REST), Random(seed)
        self.memories, dice, pixels = Memories(self.pool, seed), self.dice, self.pool.pixels
        self.taps = [dict(dy=dice.randrange(-2, 3), dx=dice.randrange(-2, 3), rows=dice.randrange(1, 6),
                          cols=dice.randrange(1, 6), rot=dice.randrange(pixels), addr=dice.randrange(5))
                     for _ in range(REST["tap_depth"])]
        self.done = []

    def command(self):
        """Fields of a command, the writes that it means, and its visits: the memories are not the same one."""
        dice, pool = self.dice, self.pool
        rows, cols, groups, taps = (dice.randrange(1, n) for n in (5, 10, 4, 5))
        cols = dice.choice((pool.out_pixels, cols))     # a row that ends with, or one pixel behind, the first visit
        mem, base = dice.randrange(2), dice.randrange(REST["tap_depth"] - taps + 1)
        out, source = (kind(dice, pool, rows, cols, groups) for kind in (tensor, plane))
        at_once = 1 if source["phase_x"] else pool.out_pixels
        fields = dict(
            **out_fields(out), **fields_of(source, "res"), rows=rows, cols=cols, groups=groups, taps=taps,
            tap_base=base, pitch=cols, mem_in=mem, mem_out=1 - mem, give=dice.randrange(1, 256),
            tag=dice.randrange(1 << 16))
        target, origin = (places(view, rows, cols, pool.pixels) for view in (out, source))
        writes, visits, x = [], [], 0
        while x < cols:
            count = min(at_once, cols - x)
            odd = out["phase_x"] and (x + out["par_x"]) % 2     # from the odd one of two planes on
            visits.append(range(x, x + count - (count == pool.out_pixels > 1 and odd)))
            x = visits[-1].stop
        for y, visit, group in product(range(rows), visits, range(groups)):
            for x in visit:
                codes = [0] * pool.ic
                for tap in self.taps[base:base + taps]:
                    if 0 <= y + tap["dy"] < tap["rows"] and 0 <= x + tap["dx"] < tap["cols"]:
                        bank, addr = origin[y, x][0] + tap["rot"], origin[y, x][1] + tap["addr"] + group
                        if bank >= pool.pixels:
                            bank, addr = bank - pool.pixels, addr + source["groups"]
                        codes = list(map(max, codes, self.memories.read(mem, bank, addr)))
                bank, addr = target[y, x]
                writes.append(((1 - mem, bank, addr + group), dict(enumerate(codes))))
        return fields, writes, rows * len(visits) * groups * taps

    def run(self, drive):
        pool = self.pool

        async def taps(ctx):
            asked = []
            while True:
                at, done, give, tag = (await ctx.tick().sample(pool.tap.addr, pool.done, pool.give, pool.tag))[2:]
                asked.append(at)
                if len(asked) == latency.record(pool):
                    ctx.set(pool.tap.data, TAP.const(self.taps[asked.pop(0) % pool.tap_depth]))
                if done:
                    self.done.append((self.memories.cycle - 1, give, tag))

        simulate({"pool": pool}, drive, background=[self.memories.serve, taps])


@pytest.mark.parametrize("stores", [0, 1])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_commands(seed, size, stores):
    """One command behind the other or with pauses; ``done`` comes when the last write can be read. A store gets a cycle
    for each word that is written."""
    bench, taken, all_fields = Bench(seed, size), [], []
    pool = bench.pool

    async def drive(ctx):
        ctx.set(pool.stores, stores)
        for _ in range(4):
            fields, writes, count = bench.command()
            count += stores * count // fields["taps"]
            all_fields.append(fields)
            bench.memories.writes.clear()
            before = len(bench.done)
            await put(ctx, pool.cmd, command(Opcode.POOL, **fields), bench.dice, 0.5)
            taken.append(bench.memories.cycle)
            while len(bench.done) == before:
                await ctx.tick()
            assert [write[1:] for write in bench.memories.writes] == writes
            visits = taken[-1] + count
            assert bench.memories.writes[-1][0] == visits + pool.latency == visits + latency.pool(pool)
            assert bench.done[-1][0] == visits + pool.done_latency > bench.memories.writes[-1][0]

    bench.run(drive)
    assert [event[1:] for event in bench.done] == [(f["give"], f["tag"]) for f in all_fields]


@pytest.mark.parametrize("moment", range(0, 30, 4))
def test_clear(moment):
    bench = Bench(5, SIZES[1])
    pool = bench.pool

    async def drive(ctx):
        await put(ctx, pool.cmd, command(Opcode.POOL, **bench.command()[0]))
        for _ in range(moment):
            await ctx.tick()
        ctx.set(pool.clear, 1)
        await ctx.tick().repeat(8)
        ctx.set(pool.clear, 0)
        await ctx.tick()
        bench.memories.writes.clear()
        bench.memories.written.clear()
        bench.done.clear()
        await ctx.tick().repeat(30)
        assert not bench.memories.writes and not bench.done and ctx.get(pool.cmd.ready)
        fields, writes, _ = bench.command()
        await put(ctx, pool.cmd, command(Opcode.POOL, **fields))
        while not bench.done:
            await ctx.tick()
        assert [write[1:] for write in bench.memories.writes] == writes

    bench.run(drive)


def test_parameters():
    more = "1 or more"
    check_parameters(Pool, SIZES[0] | REST, [("ic", 0, more), ("pixels", 1, "2 or more"), ("act_depth", 0, more),
                                             ("out_pixels", 0, more), ("tap_depth", 0, more),
                                             ("dsp_device", "dsp58", "one of dsp48e2, dsp48e1, mult18")])
