"""Register slices: order, pace and what comes from a register."""

from random import Random

import pytest

from rtl.prim import Skid, Slice

from ..axi_models import get, put, simulate, steady


@pytest.mark.parametrize("register", [Skid, Slice])
def test_slices_keep_order_and_pace(register):
    """A payload in each cycle when nobody waits; nothing lost or repeated when both sides do."""
    part, rng, got = register(8), Random(1), []

    async def send(ctx):
        for n in range(40):
            await put(ctx, part.i, n)
        for n in range(40, 240):
            await put(ctx, part.i, n, rng, 0.5)

    async def take(ctx):
        ctx.set(part.o.ready, 1)
        cycles = 0
        while len(got) < 40:
            _, _, valid, payload = await ctx.tick().sample(part.o.valid, part.o.payload)
            got.extend([payload] * valid)
            cycles += 1
        assert cycles <= 41
        ctx.set(part.o.ready, 0)
        while len(got) < 240:
            got.append(await get(ctx, part.o, rng, 0.5))

    simulate({"part": part}, send, take, background=[steady(part.o)])
    assert got == list(range(240))
