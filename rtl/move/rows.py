"""Takes rows of activations from one read port: what it gives is where each channel group of each pixel goes."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out

from spec.errors import AlloyError

from ..prim import VIEW, Locator, Parameter, place_layout, write_layout
from .group import GroupBlock

__all__ = ["WALK", "RowReader"]

WALK = data.StructLayout({"load": 1, "step": 1, "next_row": 1})     # of a locator


class RowReader(GroupBlock):
    """Rows ``first``, ``first + act_lanes``, ... of a region of activations.

    One beat each cycle while ``out`` is taken without delay; a group is there one cycle after its last beat.

    Parameters
    ----------
    ic, pixels, act_depth, port_bits, group_beats, act_lanes : as in :class:`spec.config.EngineConfig`.
    first : its first row.

    Members
    -------
    begin : take a new region. The next four stay as they are while ``busy``.
    view, mem, rows, cols : the region.
    data : the beats of the rows.
    out : one channel group of one pixel.
    walk, place : another reader of the same view moves the locator and sees where the pixel lies, while this one has
        nothing to do.
    busy : from the cycle after ``begin`` until the last ``out`` has been taken; low if the region has no such row.
    """

    act_lanes = Parameter()
    first = Parameter(0)

    def check(self) -> None:
        super().check()
        if self.first >= self.act_lanes:
            raise AlloyError(f"no RowReader of {self.act_lanes} lanes has first {self.first}: give 0 to "
                             f"{self.act_lanes - 1}")
        if self.act_lanes > self.group_beats:
            raise AlloyError(f"no RowReader of groups of {self.group_beats} beats has act_lanes {self.act_lanes}: give "
                             f"{self.group_beats} or less, which is a group each cycle")

    def members(self) -> dict[str, Member]:
        return {
            "begin": In(1), "view": In(VIEW), "mem": In(1), "rows": In(16), "cols": In(16),
            "data": In(stream.Signature(self.port_bits)), "walk": In(WALK), "place": Out(place_layout(self)),
            "out": Out(stream.Signature(write_layout(self))), "busy": Out(1)}

    def elaborate(self, platform):
        m, out = Module(), self.out
        m.submodules.locator = locator = Locator.of(self, count=1)
        beats = self.group_beats
        row, left, group, beat = Signal(17), Signal(16), Signal(8), Signal(range(beats))
        active, taken, codes = Signal(), Signal(), Signal(beats * self.port_bits, reset_less=True)
        # Moves of the locator to the next row that are still due; they are over before the next group is complete.
        due = Signal(range(max(self.act_lanes, 2)))
        m.d.comb += [
            active.eq(row < self.rows), self.busy.eq(active | out.valid),
            self.data.ready.eq(active & (~out.valid | out.ready)), taken.eq(self.data.valid & self.data.ready),
            locator.view.eq(self.view), locator.load.eq(self.begin | self.walk.load),
            locator.step.eq(self.walk.step), locator.next_row.eq((due != 0) | self.walk.next_row),
            self.place.mem.eq(self.mem), self.place.bank.eq(locator.place[0].bank),
            self.place.addr.eq(locator.place[0].addr), out.payload.data.eq(codes), out.payload.en.eq(~0)]
        with m.If(out.ready):
            m.d.sync += out.valid.eq(0)
        with m.If(due != 0):
            m.d.sync += due.eq(due - 1)
        with m.If(self.begin):
            m.d.sync += [row.eq(self.first), left.eq(self.cols), group.eq(0), beat.eq(0), due.eq(self.first)]
        with m.Elif(taken):
            m.d.sync += beat.eq(Mux(beat == beats - 1, 0, beat + 1))
            for n in range(beats):
                with m.If(beat == n):
                    m.d.sync += codes[n * self.port_bits:(n + 1) * self.port_bits].eq(self.data.payload)
            with m.If(beat == beats - 1):
                m.d.sync += [out.valid.eq(1), out.payload.place.eq(self.place),
                             out.payload.place.addr.eq(self.place.addr + group), group.eq(group + 1)]
                with m.If(group == self.view.groups - 1):
                    m.d.sync += [group.eq(0), left.eq(left - 1)]
                    with m.If(left != 1):
                        m.d.comb += locator.step.eq(1)
                    with m.Else():
                        m.d.comb += locator.next_row.eq(1)
                        m.d.sync += [left.eq(self.cols), row.eq(row + self.act_lanes), due.eq(self.act_lanes - 1)]
        return m
