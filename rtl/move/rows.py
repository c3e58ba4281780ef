"""Takes rows of activations from one read port: what it gives is where each channel group of each pixel goes."""

from amaranth.hdl import Module, Mux, Signal, signed
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
        beat, last_beat = Signal(range(beats)), Signal()
        active, taken, left, codes = Signal(), Signal(), Signal(), Signal(beats * self.port_bits, reset_less=True)
        group, last_group, last_col = self._walk(m, taken & last_beat, active)
        # Of the group in ``out``, and where it leads to. Moves of the locator to the next row that are still due are
        # over before the next group is complete.
        number, step, next_row, due = Signal(8), Signal(), Signal(), Signal(range(max(self.act_lanes, 2)))
        rows_on = Signal()
        m.d.comb += [
            self.busy.eq(active | out.valid), left.eq(out.valid & out.ready), last_beat.eq(beat == beats - 1),
            self.data.ready.eq(active & (~out.valid | out.ready)), taken.eq(self.data.valid & self.data.ready),
            locator.view.eq(self.view), locator.load.eq(self.begin | self.walk.load),
            locator.hold.eq(~(left & (step | next_row) | self.walk.step | rows_on)), locator.step.eq(1),
            locator.next_row.eq(out.valid & next_row | rows_on), rows_on.eq((due != 0) | self.walk.next_row),
            self.place.mem.eq(self.mem), self.place.bank.eq(locator.place[0].bank),
            self.place.addr.eq(locator.place[0].addr), out.payload.place.eq(self.place),
            out.payload.place.addr.eq(self.place.addr + number), out.payload.data.eq(codes)]
        with m.If(out.ready):
            m.d.sync += out.valid.eq(0)
        with m.If(taken):
            m.d.sync += beat.eq(Mux(last_beat, 0, beat + 1))
            for n in range(beats):
                with m.If(beat == n):
                    m.d.sync += codes[n * self.port_bits:(n + 1) * self.port_bits].eq(self.data.payload)
            with m.If(last_beat):
                m.d.sync += [out.valid.eq(1), number.eq(group), step.eq(last_group & ~last_col),
                             next_row.eq(last_group & last_col)]
        with m.If(self.begin):
            m.d.sync += due.eq(self.first)
        with m.Elif(self.walk.load):
            m.d.sync += due.eq(0)
        with m.Elif(left & next_row):
            m.d.sync += due.eq(self.act_lanes - 1)
        with m.Elif(due != 0):
            m.d.sync += due.eq(due - 1)
        return m

    def _walk(self, m, whole, active):
        """Counts the groups that are ``whole``: registers of the next one, whether it is the pixel's or the row's last.

        ``active``: there is one.
        """
        group, left, cols, rows = Signal(8), Signal(8), Signal(16), Signal(signed(18), init=-1)
        last_group, last_col, next_pixel, next_row = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [active.eq(~rows[-1]), next_pixel.eq(whole & last_group), next_row.eq(next_pixel & last_col)]
        with m.If(self.begin | next_pixel):
            m.d.sync += [group.eq(0), left.eq(self.view.groups), last_group.eq(self.view.groups == 1)]
        with m.Elif(whole):
            m.d.sync += [group.eq(group + 1), left.eq(left - 1), last_group.eq(left == 2)]
        with m.If(self.begin | next_row):
            m.d.sync += [cols.eq(self.cols), last_col.eq(self.cols == 1)]
        with m.Elif(next_pixel):
            m.d.sync += [cols.eq(cols - 1), last_col.eq(cols == 2)]
        with m.If(self.begin):
            m.d.sync += rows.eq(self.rows - (self.first + 1))
        with m.Elif(next_row):
            m.d.sync += rows.eq(rows - self.act_lanes)
        return group, last_group, last_col
