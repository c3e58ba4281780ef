"""The walk over the pixels of a convolution's output, ahead of the rows that the array makes of them."""

from amaranth.hdl import Array, C, Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out

from spec import latency

from ..prim import (
    COMMAND, Block, Countdown, Left, Locator, Parameter, Stage, at_once, check_out_pixels, small_difference,
    small_less, small_sum, view_of, visited_apart)

__all__ = ["Walk"]


class Walk(Block):
    """Visits one channel group of up to ``out_pixels`` pixels of a row after the other.

    The first visit of a command is there ``latency`` cycles after its ``load``; one each cycle, while they are taken.

    Parameters
    ----------
    pixels, act_depth, out_pixels : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    load, command : the next command, after ``last`` of the one before.
    last : the last visit of a command has been found.
    visit : the visits: which pixels of the lanes, in the first or the ``second`` group, of the first or the other
        ``half`` of the lanes; their places in the output and in the residual; whether the row ``leaves`` with it, and
        whether it is the ``last`` of a command.
    change : in the cycle before the first visit of a command was not there yet.
    none : no visit is found and not taken.
    """
    pixels = Parameter(2, even=True)
    act_depth = Parameter()
    out_pixels = Parameter()

    def check(self) -> None:
        check_out_pixels("Walk", self)

    @property
    def latency(self) -> int:
        return latency.WALK

    def visit_layout(self) -> data.StructLayout:
        """A visit."""
        place = data.ArrayLayout(data.StructLayout({"bank": range(self.pixels), "addr": range(self.act_depth)}),
                                 self.out_pixels)
        return data.StructLayout({**self._kinds(), "out": place, "res": place})

    def _kinds(self):
        """What a visit is, without the places."""
        return {"pixels": self.out_pixels, "second": 1, "half": 1, "wide": 1, "leaves": 1, "last": 1, "residual": 1,
                "mem_res": 1}

    def members(self) -> dict[str, Member]:
        return {"load": In(1), "command": In(COMMAND), "last": Out(1), "change": Out(1), "none": Out(1),
                "visit": Out(stream.Signature(self.visit_layout()))}

    def elaborate(self, platform):
        m = Module()
        job, first = Signal(COMMAND, reset_less=True), Signal()
        found = Signal(data.StructLayout({
            "first": 1, "pixel": range(self.out_pixels), "count": range(self.out_pixels + 1), "row_end": 1,
            "steps": 1, **self._kinds()}))
        ahead = Signal.like(found, reset_less=True)
        more, active, take, moves = Signal(), Signal(), Signal(), Signal()
        m.submodules.stage = stage = Stage(data.StructLayout({"first": 1, "visit": self.visit_layout()}))
        waited = Signal()
        m.d.sync += waited.eq(self.visit.valid & ~self.visit.ready)
        m.d.comb += [moves.eq(more & stage.i.ready), take.eq(active & (~more | moves)),
                     stage.i.valid.eq(more), stage.i.payload.first.eq(ahead.first),
                     self.visit.valid.eq(stage.o.valid), self.visit.payload.eq(stage.o.payload.visit),
                     stage.o.ready.eq(self.visit.ready),
                     self.last.eq(take & found.last), found.first.eq(first),
                     self.change.eq(stage.o.valid & stage.o.payload.first & ~waited),
                     self.none.eq(~more & ~self.visit.valid)]
        with m.If(self.load):
            m.d.sync += [job.eq(self.command), active.eq(1), first.eq(1)]
        with m.Elif(take):
            m.d.sync += [active.eq(~found.last), first.eq(0)]
        with m.If(take):
            m.d.sync += [ahead.eq(found), more.eq(1)]
        with m.Elif(moves):
            m.d.sync += more.eq(0)
        self._find(m, job, found, take)
        self._place(m, job, ahead, take & first, moves, stage.i.payload.visit)
        return m

    def _find(self, m, job, found, take):
        """The next visit: as many pixels as there are in the lanes and in the row, and at once."""
        most, wide, command = self.out_pixels, latency.wide_pixels(self), self.command
        inside, ends, whole, row_end, step = (Signal() for _ in range(5))
        pixel, left, second, half = Signal(range(most)), Signal(range(most + 1)), Signal(), Signal()
        entries, entry, odd = self.pixels // latency.lanes(self), Countdown(m, 7, "entry"), Signal()
        tiles, below, covers = Countdown(m, 16, "tiles"), Signal(17), Signal()      # the next row; this one is inside
        row, covered = Left(m, most, "row"), Left(m, most, "covered")
        apart = visited_apart(job, "out", odd) | job.residual & visited_apart(job, "res", odd) if most > 1 else 0
        m.d.comb += [
            found.count.eq(at_once(row.least(left), apart, most) if most > 1 else 1),
            row_end.eq(row.within(left) & ~(apart & row.holds(most))), inside.eq(~covered.over & covers),
            whole.eq(second | ~job.straddle | ~inside), ends.eq(~row.below(left) & ~(apart & (left == most))),
            step.eq(take & whole),
            found.pixel.eq(pixel), found.row_end.eq(row_end & whole), found.steps.eq(inside & whole),
            found.second.eq(second), found.half.eq(half),
            found.leaves.eq(whole & ends & (half | job.wide | (latency.lanes(self) == most))),
            found.last.eq(found.leaves & entry.last & tiles.last),
            *(found[name].eq(job[name]) for name in ("wide", "residual", "mem_res"))]
        for lane in range(most):
            ahead = self._ahead(lane, pixel)
            among = ~small_less(lane, pixel) & small_less(lane, small_sum(pixel, found.count))
            m.d.comb += found.pixels[lane].eq(among & covers & covered.beyond(ahead))
        with m.If(take):
            m.d.sync += second.eq(~whole)
        with m.If(step):
            m.d.sync += [odd.eq((odd ^ found.count[0]) & ~row_end),
                         pixel.eq(Mux(ends, 0, small_sum(pixel, found.count))),
                         left.eq(Mux(ends, Mux(job.wide, wide, most), small_difference(left, found.count)[0])),
                         half.eq((half ^ ends) & ~found.leaves)]
            for counter in (row, covered):
                counter.step(found.count, row_end)
        with m.If(step & row_end):
            m.d.sync += [below.eq(below + 1), covers.eq(below < job.rows)]
        with m.If(take & found.leaves):
            entry.step()
        with m.If(take & found.leaves & entry.last):
            tiles.step()
        # Of taps in a row, the lane before the first pixel of the output.
        lead = command.in_row & ~Cat(command.start_y, command.start_x).any()
        with m.If(self.load):
            entry.load(C(entries, 7))
            tiles.load(command.tiles)
            m.d.sync += [half.eq(lead if most == 1 else 0), pixel.eq(lead if most > 1 else 0),
                         left.eq(Mux(command.wide, wide, most - lead if most > 1 else 1)), second.eq(0),
                         odd.eq(command.start_x[0]), below.eq(command.start_y + 1),
                         covers.eq(command.start_y < command.rows)]
            for counter, size in ((row, command.pitch), (covered, command.cols)):
                counter.load(size, command.start_x)

    def _ahead(self, lane, pixel):
        """How many pixels ``lane`` comes after the first that is visited."""
        return small_difference(lane, pixel)[0][:len(pixel)] if self.out_pixels > 1 else 0

    def _place(self, m, job, ahead, load, moves, visit):
        """The places of the pixels of a visit."""
        m.d.comb += [visit[name].eq(ahead[name]) for name in self._kinds()]
        for name in ("out", "res"):
            locator = Locator.of(self, count=self.out_pixels)
            m.submodules[name] = locator
            m.d.comb += [locator.view.eq(view_of(job, name)), locator.start_x.eq(job.start_x[0]), locator.load.eq(load),
                         locator.step.eq(Mux(ahead.steps, ahead.count, 0)), locator.next_row.eq(ahead.row_end),
                         locator.hold.eq(~moves)]
            for lane in range(self.out_pixels):
                place = Array(locator.place)[self._ahead(lane, ahead.pixel)]
                m.d.comb += [visit[name][lane].bank.eq(place.bank), visit[name][lane].addr.eq(place.addr)]
