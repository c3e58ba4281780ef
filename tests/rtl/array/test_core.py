"""The array core against NumPy: every device, both LUT forms, odd sizes, pauses between steps, slow readers."""

from itertools import accumulate
from random import Random

from hypothesis import HealthCheck, given, settings, strategies as st
import numpy as np
import pytest

from rtl.array import Core, DspPE, LutPE
from rtl.array.core import PEArray
from spec.config import EngineConfig
from spec.kwords import number
from spec.latency import READ, chains, last_row, tiles
from spec.systems import LUT
from ..axi_models import refusal, simulate
from ..parameters import check_parameters

LATER = 5       # cycles from ``reserve`` to the last step of a tile, as a feeder pipeline has


def slot_weights(config, nibbles):
    """Integer weights (slots, ic) of one k-word and, for each slot, the one's-complement offset."""
    values = nibbles.astype(np.int64)
    dsp = values[:config.dsp_filters]
    lut = values[config.dsp_filters:]
    return np.concatenate([dsp - 16 * (dsp >= 8), LUT.decode(lut)]), np.concatenate(
        [np.zeros(config.dsp_filters, int), (lut >= 8).sum(1)])


def random_nibbles(config, rng, steps):
    """Legal nibbles (steps, slots, ic): odd DSP slots never -8, no negative zero on LUT slots."""
    nibbles = rng.integers(0, 16, (steps, config.slots, config.ic))
    odd = nibbles[:, 1:config.dsp_filters:2]
    odd[odd == 8] = 9
    lut = nibbles[:, config.dsp_filters:]
    lut[lut == 15] = 7
    return nibbles


def check_core(config, seed, steps=3, tiles=4, pauses=0.3, reader=0.5):
    rng, dice = np.random.default_rng(seed), Random(seed)
    nibbles = random_nibbles(config, rng, steps)
    acts = rng.integers(0, 1 << config.act_digit_bits, (tiles, steps, config.pixels, config.ic))
    extreme = dice.random() < 0.3
    if extreme:
        acts[:] = (1 << config.act_digit_bits) - 1
    expected = []
    for tile in range(tiles):
        total = np.zeros((config.pixels, config.slots), np.int64)
        for k in range(steps):
            weights, offset = slot_weights(config, nibbles[k])
            total += acts[tile, k] @ weights.T - offset
        expected += total.tolist()
    core, got = Core.of(config), []

    async def feed(ctx):
        for k in range(steps):
            word = number(nibbles[k])
            ctx.set(core.write.en, 1)
            ctx.set(core.write.addr, k)
            ctx.set(core.write.data, word)
            await ctx.tick()
        ctx.set(core.write.en, 0)
        await ctx.tick().repeat(2)
        line = [None] * LATER           # steps on their way to the core
        acts_line = [None] * READ
        todo = [(t, k) for t in range(tiles) for k in range(steps)]
        while todo or any(line) or any(acts_line):
            item = None
            ctx.set(core.reserve, 0)
            if todo and dice.random() >= pauses:
                last = todo[0][1] == steps - 1
                if not last or ctx.get(core.room):
                    item = todo.pop(0)
                    ctx.set(core.reserve, last)
            line.append(item)
            item = line.pop(0)
            ctx.set(core.step, {"valid": item is not None, "first": bool(item and item[1] == 0),
                                "last": bool(item and item[1] == steps - 1)})
            ctx.set(core.r_addr, item[1] if item else 0)
            acts_line.append(item)
            item = acts_line.pop(0)
            if item:
                ctx.set(core.acts, acts[item].tolist())
            await ctx.tick()
        while len(got) < len(expected):
            await ctx.tick()

    async def read(ctx):
        while True:
            ctx.set(core.row.ready, dice.random() < reader)
            _, _, valid, ready, payload = await ctx.tick().sample(core.row.valid, core.row.ready, core.row.payload)
            if valid and ready:
                got.extend(list(pixel) for pixel in payload)

    simulate({"core": core}, feed, background=[read], limit=4000)
    assert got == expected


def small(**values):
    base = dict(name="core", ic=4, pixels=4, dsp_filters=2, lut_filters=1, weight_depth=8)
    return EngineConfig(**{**base, **values})


@pytest.mark.parametrize("device", ["dsp48e2", "dsp48e1", "mult18"])
def test_devices(device):
    check_core(small(dsp_device=device, ic=5, dsp_filters=4), 1)


@pytest.mark.parametrize("values", [
    dict(ic=1, pixels=2, dsp_filters=2, lut_filters=0), dict(ic=1, pixels=2, dsp_filters=0, lut_filters=1),
    dict(ic=3, pixels=6, dsp_filters=0, lut_filters=3), dict(lut_form="product_lookup", lut_filters=2),
    dict(act_digit_bits=4, ic=9, dsp_device="dsp48e1"), dict(act_digit_bits=8, acc_width=24), dict(out_pixels=2),
    dict(out_pixels=2, pixels=8, ic=1), dict(out_pixels=4, pixels=16, ic=1, lut_filters=0)])
def test_shapes(values):
    check_core(small(**values), 2)


@pytest.mark.parametrize("values", [dict(pixels=6), dict(out_pixels=2), dict(out_pixels=4, pixels=16, ic=1)], ids=str)
def test_back_to_back(values):
    check_core(small(**values), 3, steps=1, tiles=8, pauses=0, reader=1)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.builds(small, ic=st.integers(1, 9), pixels=st.sampled_from([2, 4, 6]), dsp_filters=st.sampled_from([0, 2, 4]),
                 lut_filters=st.integers(1, 3), act_digit_bits=st.integers(1, 6),
                 dsp_device=st.sampled_from(["dsp48e2", "dsp48e1", "mult18"]),
                 lut_form=st.sampled_from(["shift_add", "product_lookup"])), st.integers(0, 1000))
def test_random(config, seed):
    check_core(config, seed)


@pytest.mark.parametrize("moment", range(0, 44, 3))
def test_clear(moment):
    """Whatever is on its way is gone when ``clear`` comes; nothing of it leaves later, and the next tile is right."""
    config = small(pixels=6)
    core, rng = Core.of(config), np.random.default_rng(moment)
    nibbles = random_nibbles(config, rng, 1)
    acts = rng.integers(0, 32, (2, config.pixels, config.ic))
    weights, offset = slot_weights(config, nibbles[0])
    expected = [(acts[1, 2 * r:2 * r + 2] @ weights.T - offset).tolist() for r in range(config.pixels // 2)]
    got = []

    async def tile(ctx, values, clear_at=None):
        """One single-step tile; ``clear`` in cycle ``clear_at`` from its ``reserve``."""
        for cycle in range(120):
            ctx.set(core.reserve, cycle == 0)
            ctx.set(core.step, dict.fromkeys(("valid", "first", "last"), cycle == LATER))
            if cycle == LATER + READ:
                ctx.set(core.acts, values.tolist())
            ctx.set(core.clear, cycle == clear_at)
            valid, payload = (await ctx.tick().sample(core.row.valid, core.row.payload))[2:]
            if valid:
                got.append((cycle, [list(pixel) for pixel in payload]))

    async def drive(ctx):
        ctx.set(core.write.en, 1)
        ctx.set(core.write.data, number(nibbles[0]))
        await ctx.tick()
        ctx.set(core.write.en, 0)
        await ctx.tick().repeat(2)
        assert ctx.get(core.idle) and ctx.get(core.room)
        ctx.set(core.row.ready, 1)
        await tile(ctx, acts[0], moment)
        assert all(cycle <= moment for cycle, _ in got)
        got.clear()
        assert ctx.get(core.idle) and ctx.get(core.room)
        await tile(ctx, acts[1])
        assert [row for _, row in got] == expected
        assert ctx.get(core.idle)

    simulate({"core": core}, drive)


@pytest.mark.parametrize("values", [
    dict(pixels=8), dict(pixels=4, out_pixels=2), dict(pixels=8, out_pixels=2), dict(pixels=16, out_pixels=4, ic=1),
    dict(pixels=4, out_pixels=2, ic=9, dsp_filters=6, lut_filters=4)], ids=str)
def test_never_waits(values):
    """Who takes an entry in each cycle, as the post unit does with codes of two digits, never waits for the array: the
    FIFO has room for all that is on the way."""
    core = Core.of(config := small(**values))
    entries, took = config.pixels // core.lanes, []

    async def drive(ctx):
        ctx.set(core.row.ready, 1)
        since = entries
        for _ in range(200):
            room = ctx.get(core.room) and since >= entries - 1
            since = 0 if room else since + 1
            ctx.set(core.reserve, room)
            ctx.set(core.step, dict.fromkeys(("valid", "first", "last"), room))
            valid, = (await ctx.tick().sample(core.row.valid))[2:]
            took.append(valid)

    simulate({"core": core}, drive)
    assert all(took[100:])


@pytest.mark.parametrize("out_pixels", [1, 2])
def test_room(out_pixels):
    """Nobody takes rows: tiles are accepted until their rows fill the FIFO, none is lost, and ``idle`` stays low."""
    config = small(pixels=4, ic=1, out_pixels=out_pixels)
    core, taken = Core.of(config), []

    async def drive(ctx):
        accepted = 0
        for _ in range(120):
            room = ctx.get(core.room)
            ctx.set(core.reserve, room)
            ctx.set(core.step, dict.fromkeys(("valid", "first", "last"), room))
            accepted += room
            await ctx.tick()
        assert accepted == tiles(config) and not ctx.get(core.room) and not ctx.get(core.idle)
        ctx.set(core.reserve, 0)
        ctx.set(core.step, {"valid": 0})
        ctx.set(core.row.ready, 1)
        for _ in range(10 + accepted * config.pixels // core.lanes):
            valid, = (await ctx.tick().sample(core.row.valid))[2:]
            taken.append(valid)
        assert sum(taken) == accepted * config.pixels // core.lanes and ctx.get(core.idle) and ctx.get(core.room)

    simulate({"core": core}, drive)


@pytest.mark.parametrize("values", [
    dict(), dict(ic=9, pixels=6), dict(dsp_filters=0, lut_filters=3), dict(ic=1, lut_filters=0), dict(out_pixels=2),
    dict(out_pixels=2, pixels=8), dict(out_pixels=4, pixels=16, ic=1)], ids=str)
def test_latency(values):
    """From the last step of a tile to its first lanes; those of a chain follow two cycles apart for each row, and one
    after the other."""
    core, seen = Core.of(small(**values)), []

    async def drive(ctx):
        await ctx.tick()
        ctx.set(core.reserve, 1)
        ctx.set(core.step, dict.fromkeys(("valid", "first", "last"), 1))
        ctx.set(core.row.ready, 1)
        for cycle in range(core.latency + 2 * core.pixels):
            valid, = (await ctx.tick().sample(core.row.valid))[2:]
            ctx.set(core.reserve, 0)
            ctx.set(core.step, {"valid": 0})
            seen.extend([cycle] * valid)

    simulate({"core": core}, drive)
    rows, chain = core.lanes // 2, core.pixels // 2 // chains(core)
    last = [max(row + row % chain for row in range(first, first + rows)) for first in range(0, core.pixels // 2, rows)]
    come = [core.latency + row - last[0] for row in last]
    assert seen == list(accumulate(come, lambda before, now: max(before + 1, now)))
    assert seen[-1] == core.latency + last_row(core)


GOOD = {name: getattr(small(), name) for name in Core.parameters()}
ZERO, MORE, EVEN = "0 or more", "1 or more", "an even number, "
REFUSALS = [("ic", 0, MORE), ("pixels", 3, EVEN + "2 or more"), ("out_pixels", 0, MORE),
            ("dsp_filters", 1, EVEN + ZERO),
            ("lut_filters", -1, ZERO), ("act_digit_bits", 9, "1 to 8"), ("acc_width", 1, "2 or more"),
            ("row_taps", 4, "1 to 3"),
            ("dsp_device", "dsp58", "one of dsp48e2, dsp48e1, mult18"), ("portable_dsp", 2, "one of False, True"),
            ("lut_form", "table", "one of shift_add, product_lookup")]


@pytest.mark.parametrize("cls, more", [(PEArray, []), (Core, [("weight_depth", 0, MORE)])])
def test_parameters(cls, more):
    good = {name: GOOD[name] for name in cls.parameters()}
    check_parameters(cls, good, REFUSALS + more)
    assert refusal(cls, **good | dict(dsp_filters=0, lut_filters=0)) == (
        f"no {cls.__name__} has no filter slots: give dsp_filters or lut_filters")
    assert refusal(cls, **good | dict(out_pixels=4)) == (
        f"no {cls.__name__} of 4 pixels has out_pixels 4: give 1, or an even number whose square divides pixels")
    slots = good["dsp_filters"] + good["lut_filters"]
    for lanes in (slots - 1, 5):
        assert refusal(cls, **good | dict(ic=lanes, row_taps=3)) == (
            f"no {cls.__name__} of {lanes} channels has row_taps 3 of {slots} filter slots: give 1, or "
            "raise ic")


@pytest.mark.parametrize("cls", [DspPE, LutPE])
def test_parameters_of_elements(cls):
    """Of four channels: one chain, or a register and two levels of adders."""
    good = {name: GOOD[name] for name in cls.parameters() if name != "total_latency"} | {"total_latency": 4}
    kept = [refused for refused in REFUSALS if refused[0] in good]
    check_parameters(cls, good, [*kept, ("total_latency", -1, ZERO)])
    assert refusal(cls, **good | dict(total_latency=2)) == (
        f"a {cls.__name__} has its totals after 3 cycles, not after 2: give total_latency 3 or more")
