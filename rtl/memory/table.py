"""Table of codes behind a requantizer: levels that are not uniform, or any other function of a code."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spec.commands import TABLE_RECORDS
from spec.errors import AlloyError

from ..prim import RECORD_BITS, table_members

__all__ = ["CodeTable", "TABLE_LATENCY"]

TABLE_LATENCY = 2


class CodeTable(wiring.Component):
    """``out`` is the entry of ``code`` in table ``choice`` (from 1) two cycles later, or the code itself for choice 0.

    ``choice`` is steady while codes are in flight.

    Parameters
    ----------
    tables : how many, at least 1.
    """

    def __init__(self, *, tables):
        if tables < 1:
            raise AlloyError(f"a memory of {tables} tables cannot be built: give 1 or more")
        self._tables = tables
        super().__init__({"code": In(8), "choice": In(4), "out": Out(8), **table_members(tables)})

    @property
    def tables(self):
        return self._tables

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=RECORD_BITS, depth=self._tables * TABLE_RECORDS, init=[])
        write, read, late = memory.write_port(), memory.read_port(), Signal(8)
        m.d.comb += [write.en.eq(self.table_en), write.addr.eq(self.table_addr), write.data.eq(self.table_data),
                     read.addr.eq((self.choice - 1) * TABLE_RECORDS + self.code[4:]), read.en.eq(1)]
        m.d.sync += [late.eq(self.code), self.out.eq(Mux(self.choice == 0, late, read.data.word_select(late[:4], 8)))]
        return m
