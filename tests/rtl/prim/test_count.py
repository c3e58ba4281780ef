"""Arithmetic in gates, and counters that know their end from a register."""

from itertools import product
from random import Random

from amaranth.hdl import Module, Signal, signed
from amaranth.lib.wiring import Component, In, Out
import pytest

from rtl.prim import Countdown, Left, change, small_difference, small_less, small_sum, sum_and_carry, sum_of_three

from ..axi_models import simulate


class Sums(Component):
    a: In(3)
    b: In(2)
    carry: In(1)
    total: Out(4)
    left: Out(3)
    below: Out(1)
    less: Out(1)
    change: Out(signed(2))
    carried: Out(3)
    three: Out(3)

    def elaborate(self, platform):
        m = Module()
        left, below = small_difference(self.a, self.b)
        m.d.sync += [self.total.eq(small_sum(self.a, self.b, self.carry)), self.left.eq(left), self.below.eq(below),
                     self.less.eq(small_less(self.b, self.a)),      # a register: the simulator wants a clock
                     self.change.eq(change(self.b[0], self.carry)),
                     self.carried.eq(sum_and_carry(self.a, ~self.b.as_signed(), self.carry)),
                     self.three.eq(sum_of_three(self.a, self.b, 5 * self.carry))]
        return m


def test_small_numbers():
    sums = Sums()

    async def drive(ctx):
        for a, b, carry in product(range(8), range(4), range(2)):
            for signal, value in ((sums.a, a), (sums.b, b), (sums.carry, carry)):
                ctx.set(signal, value)
            await ctx.tick()
            found = [ctx.get(signal) for signal in (
                sums.total, sums.left, sums.below, sums.less, sums.change, sums.carried, sums.three)]
            other = ~(b - 4 * (b > 1))
            assert found == [a + b + carry, (a - b) % 8, a < b, b < a, b % 2 - carry, (a + other + carry) % 8,
                             (a + b + 5 * carry) % 8]

    simulate({"sums": sums}, drive)


class Counts(Component):
    load: In(1)
    step: In(1)
    number: In(16)
    first: In(16)
    last: Out(1)

    def elaborate(self, platform):
        m = Module()
        counter = Countdown(m, 16, "counter")
        with m.If(self.load):
            counter.load(self.number, self.first)
        with m.Elif(self.step):
            counter.step()
        m.d.comb += self.last.eq(counter.last)
        return m


@pytest.mark.parametrize("number, first", [(1, 1), (2, 1), (3, 3), (5, 2), (70, 3)])
def test_counting_down(number, first):
    """``last`` at the end of the first round, and of all that follow, with pauses."""
    counts, dice = Counts(), Random(number)

    async def drive(ctx):
        ctx.set(counts.number, number)
        ctx.set(counts.first, first)
        ctx.set(counts.load, 1)
        await ctx.tick()
        ctx.set(counts.load, 0)
        for size in (first, number, number):
            for at in range(size):
                assert ctx.get(counts.last) == (at == size - 1)
                while dice.random() < 0.3:
                    ctx.set(counts.step, 0)
                    await ctx.tick()
                ctx.set(counts.step, 1)
                await ctx.tick()

    simulate({"counts": counts}, drive)


class Row(Component):
    def __init__(self, most):
        self.most = most
        super().__init__({"load": In(1), "whole": In(16), "start": In(16), "count": In(range(most + 1)), "end": In(1),
                          "step": In(1), "least": Out(range(most + 1)), "below": Out(1), "within": Out(1),
                          "over": Out(1), "beyond": Out(most), "holds": Out(1)})

    def elaborate(self, platform):
        m = Module()
        left, most = Left(m, self.most, "left"), Signal(range(self.most + 1), init=self.most)
        with m.If(self.load):
            left.load(self.whole, self.start)
        with m.Elif(self.step):
            left.step(self.count, self.end)
        m.d.comb += [self.least.eq(left.least(most)), self.below.eq(left.below(most)),
                     self.within.eq(left.within(most)), self.over.eq(left.over), self.holds.eq(left.holds(self.most)),
                     *(self.beyond[ahead].eq(left.beyond(ahead)) for ahead in range(self.most))]
        return m


@pytest.mark.parametrize("most", [1, 2, 4, 8])
@pytest.mark.parametrize("whole, start", [(1, 0), (9, 0), (9, 4), (16, 15), (3, 7), (300, 1)])
def test_what_is_left_of_a_row(most, whole, start):
    """Any steps, the rest of a row or less; also from behind its end on, where nothing is left."""
    row, dice = Row(most), Random(whole)

    async def drive(ctx):
        for name, value in (("whole", whole), ("start", start), ("load", 1), ("step", 1)):
            ctx.set(getattr(row, name), value)
        await ctx.tick()
        ctx.set(row.load, 0)
        left = whole - start
        for _ in range(60):
            assert ctx.get(row.over) == (left <= 0)
            assert ctx.get(row.beyond) == sum((left > ahead) << ahead for ahead in range(most))
            if left > 0:
                found = [ctx.get(getattr(row, name)) for name in ("least", "below", "within", "holds")]
                assert found == [min(left, most), left < most, left <= most, left == most]
            count = dice.randrange(1, (min(left, most) if left > 0 else most) + 1)
            end = left == count or left <= 0 and dice.random() < 0.3
            ctx.set(row.count, count)
            ctx.set(row.end, end)
            await ctx.tick()
            left = whole if end else left - count

    simulate({"row": row}, drive)
