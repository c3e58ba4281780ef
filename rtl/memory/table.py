"""Table of codes behind a requantizer: levels that are not uniform, or any other function of a code."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Member, Out

from spec.commands import TABLE_RECORDS
from spec.latency import TABLE

from ..prim import RECORD_BITS, Block, Parameter, table_port

__all__ = ["CodeTable"]


class CodeTable(Block):
    """``out`` is the entry of ``code`` in table ``choice`` (from 1), or the code itself for choice 0.

    Latency: :data:`spec.latency.TABLE`; one code each cycle.

    Parameters
    ----------
    tables : how many.

    Members
    -------
    code, choice, out : as above; ``choice`` is steady while codes are in flight.
    write : 16 codes, readable in the next cycle.
    """
    tables = Parameter()

    @property
    def latency(self) -> int:
        return TABLE

    def members(self) -> dict[str, Member]:
        return {"code": In(8), "choice": In(4), "out": Out(8), "write": In(table_port(self.tables))}

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=RECORD_BITS, depth=self.tables * TABLE_RECORDS, init=[])
        write, read, late = memory.write_port(), memory.read_port(), Signal(8)
        m.d.comb += [write.en.eq(self.write.en), write.addr.eq(self.write.addr), write.data.eq(self.write.data),
                     read.addr.eq((self.choice - 1) * TABLE_RECORDS + self.code[4:]), read.en.eq(1)]
        m.d.sync += [late.eq(self.code),
                     self.out.eq(Mux(self.choice == 0, late, read.data.word_select(late[:4], 8)))]
        return m
