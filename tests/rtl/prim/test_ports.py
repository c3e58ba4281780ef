"""Ports of memories: who gives what, under which names; joined they carry every signal the right way."""

from amaranth.hdl import Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
import pytest

from rtl.prim import (
    act_write_port, feed_port, gather_port, join_ports, loaded_ports, memory_side, table_port, write_port)
from spec.config import EngineConfig

from ..axi_models import simulate

CONFIG = EngineConfig(name="ports", ic=3, pixels=6, dsp_filters=2, lut_filters=1, act_depth=40, weight_depth=20,
                      param_depth=5, tap_depth=9, tables=2)


def test_write_port():
    assert write_port("w", 5, 7) == {"w_en": Out(1), "w_addr": Out(range(5)), "w_data": Out(7)}


@pytest.mark.parametrize("tables, records", [(0, 16), (1, 16), (3, 48)])
def test_table_port(tables, records):
    """Sixteen codes of 256 in a record; without a table the ports are there for the load unit."""
    assert table_port(tables)["table_addr"] == Out(range(records)) and table_port(tables)["table_data"] == Out(128)


def test_what_is_loaded():
    ports = loaded_ports(CONFIG)
    assert ports["w_data"] == Out(4 * 3 * 3) and ports["p_addr"] == Out(range(15)) and ports["t_addr"] == Out(range(9))
    assert len(ports) == 12 and ports["table_addr"] == Out(range(32))


def test_memory_side():
    ports = {"a": In(3), "b": Out(2)}
    assert memory_side(ports) == {"a": Out(3), "b": In(2)} and memory_side(memory_side(ports)) == ports


@pytest.mark.parametrize("make", [feed_port, gather_port, act_write_port, loaded_ports])
def test_joined(make):
    """Between a unit and a memory each member has one driver, and values arrive."""
    ports = make(CONFIG)

    class Side(wiring.Component):
        def elaborate(self, platform):
            m = Module()
            m.d.sync += self.used.eq(1)
            return m

    class Both(wiring.Component):
        def __init__(self):
            self.unit, self.memory = Side({**ports, "used": Out(1)}), Side({**memory_side(ports), "used": Out(1)})
            super().__init__({})

        def elaborate(self, platform):
            m = Module()
            m.submodules += [self.unit, self.memory]
            join_ports(m, ports, self.unit, self.memory)
            return m
    both = Both()

    async def drive(ctx):
        for name, member in ports.items():
            source, target = (both.unit, both.memory) if member.flow == Out else (both.memory, both.unit)
            for value in (1, 0):
                ctx.set(Value.cast(getattr(source, name)), value)
                await ctx.tick()
                assert ctx.get(Value.cast(getattr(target, name))) == value

    simulate({"both": both}, drive)
