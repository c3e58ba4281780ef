"""Shared modules: what is alike, what is refused, and that the Verilog resets as the simulation does."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
import re

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
import numpy as np
import pytest

from rtl.prim import Library, ResetInserter, add_shared
from spec.errors import AlloyError
from tests.verilated import run_component

from ..axi_models import simulate

CYCLES = 200


class Rom(wiring.Component):
    """A parameter that shows in nothing but the content."""

    def __init__(self, content):
        self.content = content
        super().__init__({"out": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=8, depth=1, init=[hash(str(self.content)) & 0xFF])
        m.d.comb += self.out.eq(memory.read_port(domain="comb").data)
        return m


class Counter(wiring.Component):
    """One register with reset, one without, and one below another component."""

    def __init__(self, depth=1):
        self.depth = depth
        super().__init__({"count": Out(8), "free": Out(8)})

    def elaborate(self, platform):
        m = Module()
        free = Signal(8, reset_less=True)
        m.d.sync += [self.count.eq(self.count + 1), free.eq(free + 1)]
        m.d.comb += self.free.eq(free)
        if self.depth:
            inner, total = Counter(self.depth - 1), Signal(8)
            add_shared(m, "inner", inner, platform)
            m.d.sync += total.eq(total + inner.count)
            m.d.comb += self.free.eq(free ^ total)
        return m


class Cleared(wiring.Component):
    """A placed component under reset inserters, one within the other."""

    clear: In(1)
    flush: In(1)
    count: Out(8)
    free: Out(8)

    def elaborate(self, platform):
        m, outer = Module(), Module()
        counter = Counter()
        add_shared(m, "counter", counter, platform)
        m.d.comb += [self.count.eq(counter.count), self.free.eq(counter.free)]
        outer.submodules.inner = ResetInserter(self.clear)(m)
        return ResetInserter(self.flush)(outer)


@dataclass(frozen=True)
class Nested:
    inner: object


@dataclass
class Loose:
    value: int = 1


class Colour(Enum):
    RED = 1


class Plain:
    pass


def names(*contents):
    """Names of the modules of roms with these contents."""
    library, out = Library(), []
    for content in contents:
        rom = Rom(content)
        rom._MustUse__silence = True
        out.append(library.module(rom)[0])
    return out


@pytest.mark.parametrize(
    "content, kind",
    [
        ([1], "list"),
        ({1: 2}, "dict"),
        (np.zeros(2), "ndarray"),
        ({1}, "set"),
        (Plain(), "Plain"),
        (Loose(), "Loose"),
        (len, "builtin_function"),
        ((1, [2]), "list"),
        (Nested(Nested({})), "dict"),
        (np.float32(1), "float32"),
    ],
)
def test_unknown_parameters_are_refused(content, kind):
    """Kind: modules merged although they differ. What the key does not know is refused, at any depth."""
    with pytest.raises(AlloyError, match=rf"Rom\.content\S* is of type {kind}"):
        names(content)


@pytest.mark.parametrize(
    "first, second",
    [
        (1.0, 2.0),
        (0.0, -0.0),
        (None, 0),
        (1, True),
        (1, 1.0),
        ("1", 1),
        (b"1", "1"),
        ((1, 2), (1, 3)),
        ((1,), (True,)),
        (Colour.RED, 1),
        (Nested(1), Nested(2)),
        (Nested((1, None)), Nested((1, 0))),
    ],
)
def test_parameters_that_differ_make_modules(first, second):
    """Kind: as above, for parameters that are understood: two modules if they differ, one if they do not."""
    one, other, again = names(first, second, first)
    assert one == again != other


def test_ports_count():
    """Kind: as above. A parameter that shows in the ports alone and is kept nowhere."""

    class Wire(wiring.Component):
        def __init__(self, width, init=0):
            super().__init__({"a": In(width), "b": Out(width, init=init)})

        def elaborate(self, platform):
            m = Module()
            m.d.sync += self.b.eq(self.a)
            return m

    library, parts = Library(), [Wire(3), Wire(4), Wire(3, 1), Wire(3)]
    for part in parts:
        part._MustUse__silence = True
    one, wide, set_, again = (library.module(part)[0] for part in parts)
    assert one == again and len({one, wide, set_}) == 3


@pytest.mark.slow
def test_verilog_resets_as_the_simulation(tmp_path):
    """Kind: simulation and Verilog differ, because a transformer passes by the instance of a shared module."""
    inputs = np.random.default_rng(3).random((CYCLES, 2)) < 0.1
    dut, simulated = Cleared(), []

    async def drive(ctx):
        for clear, flush in inputs:
            ctx.set(dut.clear, bool(clear))
            ctx.set(dut.flush, bool(flush))
            await ctx.tick()
            simulated.append((ctx.get(dut.count), ctx.get(dut.free)))

    simulate({"dut": dut}, drive)
    assert run_component(Cleared(), ("clear", "flush"), ("count", "free"), inputs.astype(int), tmp_path) == simulated
    assert 0 < sum(count == 0 for count, _ in simulated) < CYCLES // 2


def test_transformers_are_those_that_reach_placed_components():
    """Kind: as above. No block uses a transformer of Amaranth by itself."""
    for path in (Path(__file__).parents[3] / "rtl").rglob("*.py"):
        taken = r"(from amaranth\S* import (\([^)]*|.*)\b|\bhdl\.)(ResetInserter|EnableInserter|DomainRenamer)\b"
        assert path.name == "share.py" or not re.search(taken, path.read_text()), path
