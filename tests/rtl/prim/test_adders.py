"""Trees of adders: sums of any number of values of unequal width, one each cycle, and how long they take."""

from random import Random

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
import pytest

from rtl.prim import add_tree
from rtl.prim.adders import Adder3
from spec.config import EngineConfig
from spec.latency import tree_levels

from ..axi_models import simulate
from ..parameters import check_parameters

CONFIG = EngineConfig(name="tree", ic=1, pixels=2, dsp_filters=2, lut_filters=0)


class Tree(wiring.Component):
    def __init__(self, widths):
        self.widths = widths
        super().__init__({"values": In(sum(widths)), "total": Out(sum(widths) + 4)})

    def elaborate(self, platform):
        m, values, low = Module(), [], 0
        for width in self.widths:
            values.append(self.values[low:low + width])
            low += width
        m.d.comb += self.total.eq(add_tree(m, CONFIG, values, "tree", platform))
        return m


@pytest.mark.parametrize("widths", [(4, 4), (1, 5, 3), (3,) * 4, (7, 2, 2, 2, 1), (2,) * 9, (5,) * 10], ids=str)
def test_sums(widths):
    tree, dice, expected, found = Tree(widths), Random(len(widths)), [], []

    async def drive(ctx):
        for cycle in range(60):
            top = cycle % 10 == 0
            values = [(1 << w) - 1 if top else dice.getrandbits(w) for w in widths]
            word, low = 0, 0
            for value, width in zip(values, widths, strict=True):
                word, low = word | value << low, low + width
            ctx.set(tree.values, word)
            expected.append(sum(values))
            found.append((await ctx.tick().sample(tree.total))[-1])

    simulate({"tree": tree}, drive)
    levels = tree_levels(len(widths))
    assert found[levels:] == expected[:-levels]


def test_one_value_is_its_sum():
    value = Signal(3)
    assert add_tree(None, CONFIG, [value], "one", None) is value and tree_levels(1) == 0


def test_parameters():
    check_parameters(Adder3, dict(width=3, explicit=False), [
        ("width", 0, "1 or more"), ("explicit", None, "one of False, True")])
