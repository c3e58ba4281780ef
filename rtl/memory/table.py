"""Table of codes behind a requantizer: levels that are not uniform, or any other function of a code."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Member, Out

from spec import memories
from spec.latency import TABLE
from spec.memories import TABLE_CODES, TABLE_WORDS

from ..prim import Block, Parameter, ram, table_port

__all__ = ["CodeTable"]


class CodeTable(Block):
    """``out`` is the entry of ``code`` in table ``choice`` (from 1), or the code itself for choice 0.

    Latency: :data:`spec.latency.TABLE`; one code each cycle.

    Parameters
    ----------
    tables : how many.

    Members
    -------
    code, choice, out : as above.
    write : some codes, readable in the next cycle.
    """
    tables = Parameter()

    @property
    def latency(self) -> int:
        return TABLE

    def members(self) -> dict[str, Member]:
        return {"code": In(8), "choice": In(4), "out": Out(8), "write": In(table_port(self))}

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = ram(memories.table(self))
        write, read, late = memory.write_port(), memory.read_port(), Signal(8, reset_less=True)
        at, part, none = self.code[TABLE_CODES.bit_length() - 1:], late[:TABLE_CODES.bit_length() - 1], Signal()
        m.d.comb += [write.en.eq(self.write.en), write.addr.eq(self.write.addr), write.data.eq(self.write.data),
                     read.addr.eq((self.choice - 1) * TABLE_WORDS + at), read.en.eq(1)]
        m.d.sync += [late.eq(self.code), none.eq(self.choice == 0),
                     self.out.eq(Mux(none, late, read.data.word_select(part, 8)))]
        return m
