"""A stream between registers: nothing is lost or doubled, a payload each cycle, and ``ready`` knows no ``ready``."""

from random import Random

import pytest

from rtl.prim import Stage

from ..axi_models import put, simulate, sink, steady


@pytest.mark.parametrize("stall, slow", [(0, 0), (0.5, 0.5), (0, 0.7), (0.7, 0)])
def test_everything_comes_out_in_order(stall, slow):
    stage, rng, found, ticks, items = Stage(8), Random(3), [], [], list(range(200))

    async def body(ctx):
        for item in items:
            await put(ctx, stage.i, item, rng, stall)
        await ctx.tick().repeat(40)

    async def count(ctx):
        while True:
            valid, ready = (await ctx.tick().sample(stage.o.valid, stage.o.ready))[2:]
            ticks.append(valid and ready)

    simulate({"stage": stage}, body, background=[sink(stage.o, found, Random(4), slow), steady(stage.o), count])
    assert found == items
    first = ticks.index(1)
    assert stall or slow or ticks[first:first + len(items)] == [1] * len(items)


def test_ready_is_a_register():
    stage = Stage(8)

    async def body(ctx):
        ctx.set(stage.i.valid, 1)
        for taken, waits in enumerate((1, 1, 0)):       # two have a place
            for ready in (1, 0):
                ctx.set(stage.o.ready, ready)
                assert ctx.get(stage.i.ready) == waits, taken
            await ctx.tick()

    simulate({"stage": stage}, body)
