"""Processing elements on their own: every weight code and activation, latency, accumulation, drain."""

import numpy as np
import pytest

from rtl.array import DspPE, LutPE
from spec import latency
from spec.config import DSP_DEVICES, LUT_FORMS, EngineConfig
from spec.kwords import number
from spec.systems import LUT
from ..axi_models import simulate

ONE = {"valid": 1, "first": 1, "last": 1}


def configuration(**values):
    return EngineConfig(**{**dict(name="pe", ic=3, pixels=2, dsp_filters=2, lut_filters=1), **values})


def element(cls, config):
    return cls.of(config, total_latency=latency.totals(config))


def element_latency(config):
    return latency.element(latency.totals(config))


def word(nibbles):
    """Nibbles (slots, ic) as the element takes them."""
    return number(np.asarray(nibbles))


def run_pe(pe, steps, *, below=()):
    """Drive ``steps``: (step bits, nibbles (slots, ic), acts (2, ic)) or None, one per cycle.

    Returns (cycle, results) of every cycle with ``drain_valid``; cycle 0 is that of the first step. ``below`` maps a
    cycle to results of the row below.
    """
    got, below = [], dict(below)

    async def drive(ctx):
        for cycle in range(len(steps) + pe.latency + 4):
            item = steps[cycle] if cycle < len(steps) else None
            ctx.set(pe.step, item[0] if item else {"valid": 0, "first": 1, "last": 1})
            if item:
                ctx.set(pe.weights, word(item[1]))
                ctx.set(pe.acts, item[2].tolist())
            ctx.set(pe.below_valid, cycle in below)
            if cycle in below:
                ctx.set(pe.below, below[cycle])
            valid, results = (await ctx.tick().sample(pe.drain_valid, pe.drain))[2:]
            if valid:
                got.append((cycle, list(results)))

    simulate({"pe": pe}, drive, limit=len(steps) + 100)
    return got


def dsp_results(nibbles, acts):
    weights = nibbles - 16 * (nibbles >= 8)
    return [int(weights[slot] @ acts[pixel]) for slot in range(2) for pixel in range(2)]


def lut_results(nibbles, acts):
    return [int(LUT.decode(nibbles[0]) @ acts[pixel] - (nibbles[0] >= 8).sum()) for pixel in range(2)]


def test_dsp_results_are_signed():
    assert dsp_results(np.array([[8, 7, 15], [9, 0, 1]]), np.array([[1, 1, 1], [2, 0, 1]])) == [-2, -17, -6, -13]


@pytest.mark.parametrize("form", LUT_FORMS)
@pytest.mark.parametrize("bits", [1, 4, 5, 8])
def test_every_pot_product(form, bits):
    """All 16 codes (the second code of zero too) times activations, one product per cycle."""
    config = configuration(ic=1, lut_form=form, act_digit_bits=bits)
    values = range(1 << bits) if bits < 8 else (0, 1, 2, 85, 127, 128, 170, 254, 255)
    cases = [(np.array([[code]]), np.array([[a], [(1 << bits) - 1 - a]])) for code in range(16) for a in values]
    got = run_pe(element(LutPE, config), [(ONE, *case) for case in cases])
    assert got == [(element_latency(config) + i, lut_results(*case)) for i, case in enumerate(cases)]


@pytest.mark.parametrize("device", DSP_DEVICES)
@pytest.mark.parametrize("bits", [4, 5, 6])
def test_dsp_corners(device, bits):
    """Channels at the ends of their ranges, together and mixed, over whole chains and a shorter last one."""
    config, rng = configuration(ic=9, dsp_device=device, act_digit_bits=bits), np.random.default_rng(bits)
    top, cases = (1 << bits) - 1, []
    for mixed in (False, True):
        for _ in range(40):
            size = 9 if mixed else 1
            nibbles = np.stack([rng.choice([8, 7], size), rng.choice([9, 7], size)])
            acts = rng.choice([0, top], (2, size))
            cases.append((np.broadcast_to(nibbles, (2, 9)), np.broadcast_to(acts, (2, 9))))
    got = run_pe(element(DspPE, config), [(ONE, *case) for case in cases])
    assert got == [(element_latency(config) + i, dsp_results(*case)) for i, case in enumerate(cases)]


@pytest.mark.parametrize("pe_class, slots, results", [(DspPE, 2, dsp_results), (LutPE, 1, lut_results)])
@pytest.mark.parametrize("ic", [1, 2, 5, 16])
def test_accumulates(pe_class, slots, results, ic):
    """Tiles of several steps; pauses between them, with any step bits, change nothing; each tile starts from 0."""
    config, rng = configuration(ic=ic), np.random.default_rng(ic)
    steps, expected = [], []
    for length in (1, 4, 1, 2, 7):
        total = np.zeros(2 * slots, int)
        for k in range(length):
            nibbles, acts = rng.integers(0, 8, (slots, ic)), rng.integers(0, 32, (2, ic))
            place = {"valid": 1, "first": k == 0, "last": k == length - 1}
            steps += [None] * int(rng.integers(0, 3)) + [(place, nibbles, acts)]
            total += results(nibbles, acts)
        expected.append((len(steps) - 1 + element_latency(config), total.tolist()))
    assert run_pe(element(pe_class, config), steps) == expected


def test_both_kinds_take_equally_long():
    """Columns drain in step, whatever the depth of their adder trees."""
    for ic in (1, 4, 5, 28):
        config = configuration(ic=ic)
        acts = np.ones((2, ic), int)
        steps = [(ONE, np.ones((cls.SLOTS, ic), int), acts) for cls in (DspPE, LutPE)]
        first = [run_pe(element(cls, config), [step])[0][0] for cls, step in zip((DspPE, LutPE), steps, strict=True)]
        assert first == [element_latency(config)] * 2


def test_drain_passes_the_row_below():
    config = configuration(ic=1)
    own, late = element_latency(config), element_latency(config) + 1
    step = ONE, np.array([[1]]), np.array([[3], [4]])       # nibble 1 is the weight 2
    got = run_pe(element(LutPE, config), [step], below={2: [5, -6], late: [7, -8]})
    assert got == [(3, [5, -6]), (own, [6, 8]), (late + 1, [7, -8])]
