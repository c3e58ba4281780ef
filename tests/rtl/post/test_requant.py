"""The requantizer against its formula: ends of all ranges, joined digits, one value each cycle with operands and bounds
of its own, latency."""

from random import Random

import pytest

from rtl.post.requant import Requant
from spec.latency import ADDED, SCALE
from spec.systems import DIGIT_BITS

from ..axi_models import simulate
from ..parameters import check_parameters


def draw(dice, bits, signed=False):
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return dice.choice((low, high, 0, dice.randint(low, high), dice.randint(low, high), dice.randint(low, high)))


REST = dict(dsp_device="dsp48e2", portable_dsp=False)


@pytest.mark.parametrize("digit", ["whole", "low", "high"])
@pytest.mark.parametrize("acc_bits", [2, 12, 25, 27])
def test_codes(acc_bits, digit):
    unit, dice = Requant(acc_bits=acc_bits, digit=digit, **REST), Random(acc_bits)

    async def drive(ctx):
        cases = [dict(
            acc=draw(dice, acc_bits, True), res=draw(dice, 8), mult=draw(dice, 16), res_mult=draw(dice, 16),
            bias=draw(dice, 46, True), high=draw(dice, acc_bits, True) * draw(dice, 16), join=dice.randrange(2),
            shift=dice.randrange(1, 48), lo=draw(dice, 8), hi=draw(dice, 8)) for _ in range(200)]
        came = dict(bias=ADDED, high=ADDED, join=ADDED, shift=SCALE, lo=unit.latency - 1, hi=unit.latency - 1)
        for cycle in range(len(cases) + unit.latency):
            for name in cases[0]:
                at = cycle - came.get(name, 0)      # whose value is looked at in this cycle
                if hasattr(unit, name) and 0 <= at < len(cases):
                    ctx.set(getattr(unit, name), cases[at][name])
            if digit == "high" and 0 <= cycle - ADDED < len(cases):
                assert ctx.get(unit.product) == cases[cycle - ADDED]["acc"] * cases[cycle - ADDED]["mult"]
            at = cycle - unit.latency
            if at >= 0 and not (digit == "high" and cases[at]["join"]):
                assert ctx.get(unit.code) == code(cases[at], digit == "low"), cases[at]
            await ctx.tick()

    simulate({"unit": unit}, drive)


def code(case, joins):
    """Of what came in together."""
    total = case["acc"] * case["mult"] + case["res"] * case["res_mult"] + case["bias"]
    total += (case["high"] << DIGIT_BITS) * case["join"] * joins
    shifted = total >> case["shift"]
    # A number below the smaller bound becomes that, also if the bounds are crossed, which no program has.
    return case["lo"] if shifted < case["lo"] else min(shifted, case["hi"])


def test_parameters():
    check_parameters(Requant, dict(acc_bits=5, digit="low", **REST), [
        ("acc_bits", 1, "2 or more"), ("digit", "both", "one of whole, low, high"),
        ("dsp_device", "dsp58", "one of dsp48e2, dsp48e1, mult18"), ("portable_dsp", 2, "one of False, True")])
