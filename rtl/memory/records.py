"""Tables of records: parameters and taps."""

from amaranth.hdl import Module, Value, ValueCastable, ValueLike
from amaranth.lib.memory import Memory, ReadPort

from ..prim import RECORD_BITS

__all__ = ["read_records", "record_table"]


def record_table(m: Module, name: str, depth: int, write: tuple[ValueLike, ValueLike, ValueLike]) -> Memory:
    """A memory of ``depth`` records as submodule ``name`` of ``m``; ``write`` is its writer's ``(en, addr, data)``.

    What is written can be read in the next cycle.
    """
    m.submodules[name] = memory = Memory(shape=RECORD_BITS, depth=depth, init=[])
    port, (en, addr, data) = memory.write_port(), write
    m.d.comb += [port.en.eq(en), port.addr.eq(addr), port.data.eq(data)]
    return memory


def read_records(m: Module, port: ReadPort, en: ValueLike, addr: ValueLike, data: Value | ValueCastable) -> None:
    """Connect a read port of a table: ``data`` comes :data:`spec.latency.RECORD` cycles after ``addr``."""
    m.d.comb += [port.en.eq(en), port.addr.eq(addr), data.eq(port.data)]
