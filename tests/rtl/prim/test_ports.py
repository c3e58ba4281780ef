"""Ports of memories: who gives what, and joined they carry every signal the right way."""

from dataclasses import replace

from amaranth.hdl import Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
import pytest

from rtl.prim import (
    activations, act_write_port, feed_port, gather_port, loaded, param_port, store_port, table_port, tap_port,
    write_port)
from spec.config import EngineConfig
from spec.memories import Shape

from ..axi_models import simulate

CONFIG = EngineConfig(name="ports", ic=3, pixels=6, dsp_filters=2, lut_filters=1, act_depth=40, weight_depth=20,
                      param_depth=5, tap_depth=9, tables=2)


def test_write_port():
    assert dict(write_port(Shape(5, 7)).members.items()) == {"en": Out(1), "addr": Out(range(5)), "data": Out(7)}


@pytest.mark.parametrize("tables, words", [(0, 64), (1, 64), (3, 192)])
def test_table_port(tables, words):
    """Four codes of 256 in a word; without a table the ports are there for the load unit."""
    config = replace(CONFIG, tables=tables)
    assert table_port(config) == write_port(Shape(words, 32))
    assert table_port(config).members["addr"] == Out(range(words))


def test_what_is_loaded():
    ports = {name: member.signature for name, member in loaded(CONFIG).members.items()}
    assert ports == {"weights": write_port(Shape(20, 4 * 3 * 3)), "params": write_port(Shape(15, 128)),
                     "taps": write_port(Shape(9, 128)), "tables": table_port(CONFIG)}


@pytest.mark.parametrize("make", [feed_port, gather_port, act_write_port, loaded, activations, param_port, store_port,
                                  tap_port])
def test_joined(make):
    """Between a unit and a memory each member has one driver, and values arrive."""
    signature = make(CONFIG)

    class Side(wiring.Component):
        def elaborate(self, platform):
            m = Module()
            m.d.sync += self.used.eq(1)
            return m

    class Both(wiring.Component):
        def __init__(self):
            self.unit, self.memory = (Side({"port": flow(signature), "used": Out(1)}) for flow in (Out, In))
            super().__init__({})

        def elaborate(self, platform):
            m = Module()
            m.submodules += [self.unit, self.memory]
            wiring.connect(m, self.unit.port, self.memory.port)
            return m
    both = Both()

    async def drive(ctx):
        members = zip(signature.flatten(both.unit.port), signature.flatten(both.memory.port), strict=True)
        for (_, member, unit), (_, _, memory) in members:
            source, target = (unit, memory) if member.flow == Out else (memory, unit)
            for value in (1, 0):
                ctx.set(Value.cast(source), value)
                await ctx.tick()
                assert ctx.get(Value.cast(target)) == value

    simulate({"both": both}, drive)
