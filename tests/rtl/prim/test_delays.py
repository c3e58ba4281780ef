"""Fixed delays: length, what leaves before anything has entered, clearing."""

from random import Random

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
import pytest

from rtl.prim import delay
from rtl.tools.study import measure

from ..axi_models import simulate


class Line(wiring.Component):
    def __init__(self, cycles, clears, plain):
        self.cycles, self.clears, self.plain = cycles, clears, plain
        super().__init__({"i": In(signed(5)), "clear": In(1), "o": Out(signed(5))})

    def elaborate(self, platform):
        m = Module()
        used = Signal()     # a module without a register has no clock
        m.d.sync += used.eq(1)
        m.d.comb += self.o.eq(delay(m, self.i, self.cycles, clear=self.clear if self.clears else 0, plain=self.plain))
        return m


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("clears", [False, True])
@pytest.mark.parametrize("cycles", [0, 1, 2, 5])
def test_line(cycles, clears, plain):
    """A signed value comes out as it went in; ``clear`` empties the line, and what enters meanwhile is 0."""
    line, dice, held, found, expected = Line(cycles, clears, plain), Random(cycles), [0] * cycles, [], []

    async def drive(ctx):
        for _ in range(120):
            value, clear = dice.randrange(-16, 16), dice.random() < 0.1
            ctx.set(line.i, value)
            ctx.set(line.clear, clear)
            held.append(value)
            expected.append(held.pop(0))
            if clear and clears:
                held[:] = [0] * cycles
            found.append((await ctx.tick().sample(line.o))[-1])

    simulate({"line": line}, drive)
    assert found == expected


@pytest.mark.parametrize("how, before, lut, ff", [("plain", 0, 40, 0), ("flops", 0, 0, 120), ("flops", 1, 0, 160)])
def test_what_a_delay_is_made_of(how, before, lut, ff):
    """Shift-register LUTs, or flip-flops where LUTs are short, on both families, also behind a register that does not
    mind."""
    class Wide(wiring.Component):
        i: In(40)
        o: Out(40)

        def elaborate(self, platform):
            m = Module()
            m.d.comb += self.o.eq(delay(m, delay(m, self.i, before, plain=True), 3, **{how: True}))
            return m

    for family in ("xcup", "xc7"):
        used, _ = measure(Wide(), family)
        assert (used["lut"], used["ff"]) == (lut, ff)
