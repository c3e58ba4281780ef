"""Rows of activations from one port: every group of every pixel of the lane's rows goes where the view says."""

from random import Random

import pytest

from rtl.move.rows import RowReader

from ..axi_models import put, refusal, simulate, sink, steady
from ..command_models import tensor_view, walk
from ..parameters import check_parameters

CASES = [       # values of the block; rows, columns, groups, planes by parity
    (dict(ic=8, pixels=4, port_bits=64, group_beats=1, act_lanes=1, first=0), (3, 5, 2, 0, 0)),
    (dict(ic=5, pixels=6, port_bits=32, group_beats=2, act_lanes=2, first=1), (5, 4, 1, 1, 0)),
    (dict(ic=5, pixels=2, port_bits=32, group_beats=2, act_lanes=2, first=0), (1, 1, 3, 0, 1)),
    (dict(ic=20, pixels=6, port_bits=64, group_beats=3, act_lanes=3, first=2), (7, 3, 2, 1, 1)),
    (dict(ic=1, pixels=2, port_bits=256, group_beats=1, act_lanes=1, first=0), (2, 1, 1, 0, 0)),
]


def expected(block, view, shape, mem, groups_of):
    """Everything that the lane writes: memory, bank, address, codes."""
    rows, cols, groups, *_ = shape
    places, out = iter(walk(view, rows, cols, block.pixels)), []
    for y in range(rows):
        for _ in range(cols):
            bank, addr = next(places)
            if y % block.act_lanes == block.first:
                out += [(mem, bank, addr + g, next(groups_of)) for g in range(groups)]
    return out


@pytest.mark.parametrize("values, shape", CASES)
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_rows(values, shape, stall):
    reader, rng, writes = RowReader(act_depth=64, **values), Random(5), []
    rows, cols, groups, *phases = shape
    mine, wide = len(range(reader.first, rows, reader.act_lanes)), 8 * reader.ic

    async def region(ctx, mem):
        view, _ = tensor_view(reader.pixels, rows, cols, groups, mem, *phases)
        words = [rng.getrandbits(reader.group_beats * reader.port_bits) for _ in range(mine * cols * groups)]
        for name, value in (("view", view), ("mem", mem), ("rows", rows), ("cols", cols), ("begin", 1)):
            ctx.set(getattr(reader, name), value)
        await ctx.tick()
        ctx.set(reader.begin, 0)
        assert ctx.get(reader.busy) == bool(mine)
        for word in words:
            for beat in range(reader.group_beats):
                part = word >> beat * reader.port_bits & (1 << reader.port_bits) - 1
                await put(ctx, reader.data, part, rng, stall)
        while ctx.get(reader.busy):
            await ctx.tick()
        await ctx.tick()
        assert not ctx.get(reader.data.ready), "more beats than the rows have"
        return expected(reader, view, shape, mem, iter([word & (1 << wide) - 1 for word in words]))

    async def body(ctx):
        for mem in (0, 1, 0):
            writes.clear()
            wanted = await region(ctx, mem)
            got = [(w.place.mem, w.place.bank, w.place.addr,
                    sum(c << 8 * n for n, c in enumerate(w.data))) for w in writes]
            assert got == wanted

    simulate({"reader": reader}, body, background=[sink(reader.out, writes, rng, stall), steady(reader.out)])


def test_a_lane_without_rows():
    """A region of fewer rows than lanes: the others are not busy."""
    reader = RowReader(act_depth=64, **CASES[3][0])

    async def body(ctx):
        for name, value in (("rows", 2), ("cols", 3), ("begin", 1)):
            ctx.set(getattr(reader, name), value)
        await ctx.tick()
        ctx.set(reader.begin, 0)
        for _ in range(5):
            assert not ctx.get(reader.busy) and not ctx.get(reader.data.ready) and not ctx.get(reader.out.valid)
            await ctx.tick()

    simulate({"reader": reader}, body)


def test_parameters():
    good = dict(act_depth=64, **CASES[3][0])
    check_parameters(RowReader, good, [
        ("ic", 0, "1 or more"), ("pixels", 1, "2 or more"), ("act_depth", 0, "1 or more"),
        ("port_bits", 16, "one of 32, 64, 128, 256"),
        ("group_beats", 0, "1 or more"), ("act_lanes", 0, "1 or more"), ("first", -1, "0 or more")])
    for change, text in (
            (dict(ic=25), "of 25 channels has group_beats 3 of 64 bits: give 4 or more"),
            (dict(first=3), "of 3 lanes has first 3: give 0 to 2"),
            (dict(act_lanes=4), "of groups of 3 beats has act_lanes 4: give 3 or less, which is a group each cycle")):
        assert refusal(RowReader, **good | change) == f"no RowReader {text}"
