"""The requantizer against its formula: ends of all ranges, joined digits, one value each cycle, latency."""

from random import Random

import pytest

from rtl.post.requant import Requant
from spec.systems import DIGIT_BITS

from ..axi_models import simulate
from ..parameters import check_parameters


def draw(dice, bits, signed=False):
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return dice.choice((low, high, 0, dice.randint(low, high), dice.randint(low, high), dice.randint(low, high)))


@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.parametrize("acc_bits", [2, 12, 25, 27])
def test_codes(acc_bits, joins):
    unit, dice = Requant(acc_bits=acc_bits, joins=joins), Random(acc_bits)

    async def drive(ctx):
        for _ in range(25):
            given = dict(mult=draw(dice, 16), res_mult=draw(dice, 16), bias=draw(dice, 46, True),
                         shift=dice.randrange(1, 48), lo=draw(dice, 8), hi=draw(dice, 8))
            if joins:
                given["join"] = dice.randrange(2)
            for name, value in given.items():
                ctx.set(getattr(unit, name), value)
            accs, residuals = [draw(dice, acc_bits, True) for _ in range(8)], [draw(dice, 8) for _ in range(8)]
            highs = [draw(dice, acc_bits, True) * draw(dice, 16) for _ in range(8)]
            found = []
            for cycle in range(8 + unit.latency):
                if cycle < 8:
                    ctx.set(unit.acc, accs[cycle])
                    ctx.set(unit.res, residuals[cycle])
                if joins and 2 <= cycle < 10:       # the product of the slot beside it
                    ctx.set(unit.high, highs[cycle - 2])
                await ctx.tick()
                found.append(ctx.get(unit.code))
                if 1 <= cycle < 9:
                    assert ctx.get(unit.product) == accs[cycle - 1] * given["mult"]
            expected = []
            for acc, res, high in zip(accs, residuals, highs, strict=True):
                total = acc * given["mult"] + res * given["res_mult"] + given["bias"]
                total += (high << DIGIT_BITS) * given.get("join", 0)
                code = total >> given["shift"]
                # The smaller bound wins if they are crossed, which no program has.
                expected.append(given["lo"] if code < given["lo"] else min(code, given["hi"]))
            assert found[unit.latency - 1:unit.latency + 7] == expected

    simulate({"unit": unit}, drive)


def test_parameters():
    check_parameters(Requant, dict(acc_bits=5, joins=False), [("acc_bits", 1, "2 or more"),
                                                               ("joins", 2, "one of False, True")])
