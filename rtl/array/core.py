"""The array with its weight buffer, and the FIFO of finished rows."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..memory import WeightColumn
from ..prim import ACT_DELAY, STEP, Queue, ResetInserter, place
from .array import PEArray, columns
from .pe import pe_latency

__all__ = ["Core"]


class Core(wiring.Component):
    """Weight buffer, array and rows FIFO.

    ``reserve`` claims room for the rows of one tile, only while ``room`` is high; the tile's last step follows it by any
    fixed number of cycles. ``room`` stays low while the FIFO could overflow or tiles would end closer than the drain allows.
    ``row.payload[pixel][slot]`` is the accumulator of lane ``2*row + pixel``; rows come in order.
    """

    def __init__(self, config):
        self.config = c = config
        row = data.ArrayLayout(data.ArrayLayout(signed(c.acc_width), c.slots), 2)
        super().__init__({
            "w_en": In(1), "w_addr": In(range(c.weight_depth)), "w_data": In(4 * c.slots * c.ic),
            "step": In(STEP), "r_addr": In(range(c.weight_depth)),
            "acts": In(data.ArrayLayout(data.ArrayLayout(c.act_digit_bits, c.ic), c.pixels)),
            "room": Out(1), "reserve": In(1), "row": Out(stream.Signature(row)), "idle": Out(1), "clear": In(1)})

    def elaborate(self, platform):
        m = Module()
        c = self.config
        rows = c.pixels // 2
        array = PEArray(c)
        place(m, "array", array, platform)
        step = self.step
        for _ in range(ACT_DELAY):
            later = Signal(STEP)
            m.d.sync += later.eq(step)
            step = later
        m.d.comb += [array.step.eq(step), array.acts.eq(self.acts)]

        # Writes go through one register on their way to the columns.
        w_en, w_addr, w_data = Signal(), Signal(range(c.weight_depth)), Signal(4 * c.slots * c.ic)
        m.d.sync += [w_en.eq(self.w_en), w_addr.eq(self.w_addr), w_data.eq(self.w_data)]
        r_addr, low = self.r_addr, 0
        for index, slots in enumerate(columns(c)):
            width = 4 * c.ic * slots
            column = WeightColumn(c.weight_depth, width)
            place(m, f"weights{index}", column, platform)
            m.d.comb += [column.w_en.eq(w_en), column.w_addr.eq(w_addr), column.w_data.eq(w_data[low:low + width]),
                         column.r_addr.eq(r_addr), array.weights[low:low + width].eq(column.r_data)]
            r_addr, low = column.r_addr_out, low + width

        # Rows of two tiles, and of a third on its way.
        depth = 3 * rows
        fifo = Queue(self.row.payload.shape(), depth, buffered=True, reserved=True)
        m.submodules.fifo = ResetInserter(self.clear)(fifo)
        # After a clear the array may still deliver rows of the work thrown away: nothing is taken until it is empty.
        flight = pe_latency(c) + 3 * c.pixels + len(columns(c)) + ACT_DELAY + 16
        flush, gap, used = Signal(range(flight + 1)), Signal(range(c.pixels + 1)), Signal(range(depth + 1))
        pop = Signal()
        m.d.comb += [
            fifo.i.valid.eq(array.row_valid & (flush == 0)), fifo.i.payload.eq(array.row),
            self.row.valid.eq(fifo.o.valid), self.row.payload.eq(fifo.o.payload), fifo.o.ready.eq(self.row.ready),
            pop.eq(self.row.valid & self.row.ready),
            self.room.eq((used <= depth - rows) & (gap == 0) & (flush == 0)), self.idle.eq((used == 0) & (flush == 0))]
        with m.If(self.reserve):
            m.d.sync += gap.eq(c.pixels - 1)
        with m.Elif(gap != 0):
            m.d.sync += gap.eq(gap - 1)
        with m.If(self.reserve):
            m.d.sync += used.eq(used + rows - pop)
        with m.Elif(pop):
            m.d.sync += used.eq(used - 1)
        with m.If(self.clear):
            m.d.sync += [flush.eq(flight), used.eq(0), gap.eq(0)]
        with m.Elif(flush != 0):
            m.d.sync += flush.eq(flush - 1)
        return m
