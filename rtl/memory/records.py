"""Tables of records: parameters and taps."""

from amaranth.hdl import Module
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import FlippedInterface, PureInterface

from spec.memories import Shape

from ..prim import delay, ram

__all__ = ["read_records", "record_table"]


def record_table(m: Module, name: str, shape: Shape, write: PureInterface | FlippedInterface) -> Memory:
    """A memory of records as submodule ``name`` of ``m``, filled through ``write``
    (:func:`rtl.prim.write_port`).

    What is written can be read in the next cycle.
    """
    m.submodules[name] = memory = ram(shape)
    port = memory.write_port()
    m.d.comb += [port.en.eq(write.en), port.addr.eq(write.addr), port.data.eq(write.data)]
    return memory


def read_records(m: Module, table: Memory, reader: PureInterface | FlippedInterface, cycles: int) -> None:
    """A read port of a table for ``reader`` (:func:`rtl.prim.param_port`, :func:`rtl.prim.tap_port`), whose records
    come in ``cycles``, at least one."""
    port = table.read_port()
    m.d.comb += [port.en.eq(reader.en), port.addr.eq(reader.addr),
                 reader.data.eq(delay(m, port.data, cycles - 1, plain=True))]
