"""The systolic grid: rows are pixel pairs, columns are DSP elements (two filter slots), then LUT elements (one)."""

from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..prim import STEP, delay, place
from .pe import act_layout
from .pe_dsp import DspPE
from .pe_lut import LutPE

__all__ = ["PEArray", "columns"]


def columns(config):
    """Slots of each column, from left to right."""
    return [2] * (config.dsp_filters // 2) + [1] * config.lut_filters


class PEArray(wiring.Component):
    """``pixels/2`` rows of elements.

    ``acts`` of all lanes come together with ``step``; row ``r`` is delayed by ``r`` cycles in here. ``weights`` of column ``c``
    come ``c`` cycles after ``step`` (all slots' nibbles, slot-major). Results of row ``r``, all columns aligned, come at
    ``row`` two cycles after those of row ``r-1``; tiles must be at least ``pixels`` cycles apart.
    """

    def __init__(self, config):
        self.config = c = config
        super().__init__({
            "step": In(STEP), "acts": In(data.ArrayLayout(act_layout(c), c.pixels // 2)), "weights": In(4 * c.slots * c.ic),
            "row": Out(data.ArrayLayout(data.ArrayLayout(signed(c.acc_width), c.slots), 2)), "row_valid": Out(1)})

    def elaborate(self, platform):
        m = Module()
        c = self.config
        rows, widths = c.pixels // 2, columns(c)
        grid = [[(DspPE if slots == 2 else LutPE)(c) for slots in widths] for _ in range(rows)]
        slot = 0
        for column, slots in enumerate(widths):
            for row in range(rows):
                pe = grid[row][column]
                place(m, f"pe{row}_{column}", pe, platform)
                if column:
                    left = grid[row][column - 1]
                    m.d.comb += [pe.step.eq(left.step_out), pe.acts.eq(left.acts_out)]
                else:
                    m.d.comb += [pe.step.eq(delay(m, self.step, row)), pe.acts.eq(delay(m, self.acts[row], row, plain=True))]
                if row:
                    m.d.comb += pe.weights.eq(grid[row - 1][column].weights_out)
                else:
                    m.d.comb += pe.weights.eq(self.weights[4 * c.ic * slot:4 * c.ic * (slot + slots)])
                if row + 1 < rows:
                    lower = grid[row + 1][column]
                    m.d.comb += [pe.below.eq(lower.drain), pe.below_valid.eq(lower.drain_valid)]
            top, wait = grid[0][column], len(widths) - 1 - column
            for s in range(slots):
                for pixel in range(2):
                    m.d.comb += self.row[pixel][slot + s].eq(delay(m, top.drain[2 * s + pixel], wait, plain=True))
            slot += slots
        m.d.comb += self.row_valid.eq(grid[0][-1].drain_valid)
        return m


