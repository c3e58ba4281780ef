"""The serial multiplier: products, how long they take, a start in the middle of another one."""

from random import Random

import pytest

from rtl.prim import SerialMultiplier

from ..axi_models import simulate
from ..parameters import check_parameters


@pytest.mark.parametrize("x_bits, y_bits", [(1, 1), (3, 5), (8, 16), (16, 3)])
def test_products(x_bits, y_bits):
    """``done`` comes a cycle after ``start`` and one more for each bit of ``x``, and stays; half are broken off."""
    part, dice = SerialMultiplier(x_bits=x_bits, y_bits=y_bits), Random(x_bits)
    tops = (1 << x_bits) - 1, (1 << y_bits) - 1
    cases = [(0, tops[1]), (1, tops[1]), tops]
    cases += [(dice.randint(0, tops[0]), dice.randint(0, tops[1])) for _ in range(40)]

    async def start(ctx, x, y):
        ctx.set(part.x, x)
        ctx.set(part.y, y)
        ctx.set(part.start, 1)
        await ctx.tick()
        ctx.set(part.start, 0)
        ctx.set(part.x, dice.randint(0, tops[0]))       # both have been taken

    async def drive(ctx):
        for x, y in cases:
            if dice.random() < 0.5:
                await start(ctx, *tops)
                await ctx.tick().repeat(dice.randrange(1, x_bits + 1))
            await start(ctx, x, y)
            cycles = 1
            while not ctx.get(part.done):
                await ctx.tick()
                cycles += 1
            assert cycles == 1 + x.bit_length()
            for _ in range(3):
                assert ctx.get(part.done) and ctx.get(part.product) == x * y
                await ctx.tick()

    simulate({"part": part}, drive)


def test_parameters():
    more = "1 or more"
    check_parameters(SerialMultiplier, dict(x_bits=2, y_bits=3), [("x_bits", 0, more), ("y_bits", 0, more)])
