"""Weight buffer: one memory for each column of the array, so that reads can be skewed and nets stay short."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["WeightColumn"]


class WeightColumn(wiring.Component):
    """``depth`` words of ``width`` bits, read in :data:`READ_LATENCY` cycles; address and enables hop to the next column, one register each.

    The write data is broadcast; ``w_en`` and ``w_addr`` come unskewed.
    """

    def __init__(self, depth, width):
        self.depth, self.width = depth, width
        super().__init__({"w_en": In(1), "w_addr": In(range(depth)), "w_data": In(width),
                          "r_addr": In(range(depth)), "r_addr_out": Out(range(depth)), "r_data": Out(width)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.width, depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [write.en.eq(self.w_en), write.addr.eq(self.w_addr), write.data.eq(self.w_data),
                     read.en.eq(1), read.addr.eq(self.r_addr)]
        m.d.sync += [self.r_addr_out.eq(self.r_addr), self.r_data.eq(read.data)]
        return m
