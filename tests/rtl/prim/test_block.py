"""Parameters of blocks: checked, read-only, inherited, taken from a configuration."""

from types import SimpleNamespace

from amaranth.lib.wiring import In
import pytest

from rtl.prim import Block, Parameter
from spec.errors import AlloyError

from ..axi_models import refusal, unused
from ..parameters import check_parameters


class Base(Block):
    size = Parameter(2, high=8, even=True)
    shape = Parameter(choices=("round", "square"))

    def members(self):
        return {"a": In(self.size)}


class Derived(Base):
    depth = Parameter()


GOOD = dict(size=4, shape="round", depth=1)


def test_parameters():
    even = "an even number, 2 to 8"
    check_parameters(Derived, GOOD, [
        ("size", 0, even), ("size", 10, even), ("size", 3, even), ("size", 4.0, even), ("size", True, even),
        ("shape", "oval", "one of round, square"), ("depth", 0, "1 or more"), ("depth", "1", "1 or more")])


def test_order_and_ports():
    assert list(Derived.parameters()) == ["size", "shape", "depth"]
    assert len(unused(Derived, **GOOD).a) == 4


def test_of_a_configuration():
    """What has the names gives the values, what is said besides wins."""
    block = Derived.of(SimpleNamespace(size=6, shape="square", other=1), depth=3)
    same = Base.of(block)
    block._MustUse__silence = same._MustUse__silence = True
    assert (block.size, block.shape, block.depth) == (6, "square", 3) and same.size == 6
    with pytest.raises(AttributeError, match="depth"):
        Derived.of(SimpleNamespace(size=6, shape="square"))


def test_ports_are_asked_for():
    with pytest.raises(NotImplementedError):
        unused(Block)


def test_relations():
    class Pair(Block):
        low, high = Parameter(), Parameter()

        def check(self):
            if self.low > self.high:
                raise AlloyError(f"{self.low} is above {self.high}")

        def members(self):
            return {}

    assert refusal(Pair, low=3, high=2) == "3 is above 2"
