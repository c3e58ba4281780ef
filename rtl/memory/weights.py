"""Weight buffer: one memory for each column of the array, so that reads can be skewed and nets stay short."""

from amaranth.hdl import Module
from amaranth.lib.wiring import In, Member, Out

from spec.latency import READ
from spec.memories import Shape

from ..prim import Block, Parameter, delay, ram, write_port

__all__ = ["WeightColumn"]


class WeightColumn(Block):
    """The weights of one column; the read address hops on to the next column, one register each.

    Data comes :data:`spec.latency.READ` cycles after its address; one read and one write each cycle. What is written
    can be read in the next cycle.

    Parameters
    ----------
    depth, width : words, and bits of a word.

    Members
    -------
    write : broadcast to all columns.
    r_addr, r_data, r_addr_out : reads, and the address a cycle later.
    """
    depth = Parameter()
    width = Parameter()

    @property
    def latency(self) -> int:
        return READ

    def members(self) -> dict[str, Member]:
        addr = range(self.depth)
        return {"write": In(write_port(Shape(self.depth, self.width))), "r_addr": In(addr),
                "r_addr_out": Out(addr), "r_data": Out(self.width)}

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = ram(Shape(self.depth, self.width))
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [write.en.eq(self.write.en), write.addr.eq(self.write.addr), write.data.eq(self.write.data),
                     read.en.eq(1), read.addr.eq(self.r_addr)]
        m.d.comb += [self.r_addr_out.eq(delay(m, self.r_addr, 1, plain=True)),
                     self.r_data.eq(delay(m, read.data, 1, plain=True))]
        return m
