"""Max-pool unit: one tap of one channel group of a few pixels per cycle. A 1x1 pool copies a tensor into another
layout."""

from types import SimpleNamespace

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream
from amaranth.lib.wiring import In, Member, Out

from spec import latency

from ..prim import (
    COMMAND, Block, Locator, Parameter, ResetInserter, act_write_port, advance, at_once, check_out_pixels,
    codes_layout, delay, gather_port, tap_port, view_of, visited_apart)

__all__ = ["Pool"]

BEFORE = latency.RECORD + 1         # cycles from a visit to its gather


class Pool(Block):
    """Executes POOL commands, one at a time.

    One tap of one channel group of up to ``out_pixels`` pixels of a row is visited in each cycle, of one pixel if the
    input is walked over in planes; the write of a group comes ``latency`` cycles after the visit of its last tap,
    ``done`` ``done_latency`` cycles after the last of all. While ``stores``, the first tap waits a cycle, so that one
    word can be read for each that is written.

    Parameters
    ----------
    ic, pixels, act_depth, out_pixels, tap_depth : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    cmd : POOL commands.
    clear : forget everything.
    tap : table of taps, read in :data:`spec.latency.RECORD` cycles.
    gather : a code of each channel, read in :data:`spec.latency.GATHER` cycles.
    stores : a store has something to read in a cycle without gathers.
    write : codes.
    done, give, tag, gathered : a command is complete, its last write can be read; its semaphores, its tag, and whether
        it has gathered from each memory.

    Raises
    ------
    AlloyError : a parameter out of range.
    """
    ic = Parameter()
    pixels = Parameter(2)
    act_depth = Parameter()
    out_pixels = Parameter()
    tap_depth = Parameter()

    def check(self) -> None:
        check_out_pixels("Pool", self)

    @property
    def latency(self) -> int:
        return latency.pool()

    @property
    def done_latency(self) -> int:
        return latency.pool_done()

    def members(self) -> dict[str, Member]:
        return {
            "cmd": In(stream.Signature(COMMAND)), "clear": In(1),
            "tap": Out(tap_port(self)), "gather": Out(gather_port(self)), "write": Out(act_write_port(self)),
            "stores": In(1), "done": Out(1), "give": Out(8), "tag": Out(16), "gathered": Out(2)}

    def elaborate(self, platform):
        m = Module()
        m.submodules.out = out = Locator.of(self, count=self.out_pixels)
        m.submodules.source = source = Locator.of(self, count=self.out_pixels)
        job = Signal(COMMAND)
        walk = self._walk(m, job, out, source)
        inside = self._gather(m, job, walk, source)
        self._maximum(m, job, walk, out, inside)
        return ResetInserter(self.clear)(m)

    def _walk(self, m, job, out, source):
        """Take a command, visit its pixels, groups and taps, let the pipeline run empty."""
        y, x, group, tap_index = (Signal(16, name=n) for n in ("y", "x", "group", "tap_index"))
        visit, last_tap, last_group, last_x, last_y, waits, waited = (Signal() for _ in range(7))
        # Of several planes, some pixels that follow each other could lie in banks that meet.
        most, left_in_row = Mux(job.res_phase_x, 1, self.out_pixels), Signal(16)
        count = Signal(range(self.out_pixels + 1))
        flight = self.done_latency - 1      # the first of these cycles ends the visits
        left = Signal(range(flight + 1))
        new, apart = self.cmd.payload, visited_apart(job, "out", x)

        m.d.comb += [out.view.eq(view_of(new, "out")), source.view.eq(view_of(new, "res")), self.tag.eq(job.tag),
                     self.gathered.eq(Mux(job.mem_in, 0b10, 0b01)),
                     last_tap.eq(tap_index + 1 == job.taps), last_group.eq(group + 1 == job.groups),
                     left_in_row.eq(job.cols - x), last_x.eq(left_in_row == count),
                     count.eq(at_once(Mux(left_in_row < most, left_in_row, most), apart, self.out_pixels)),
                     last_y.eq(y + 1 == job.rows),
                     self.tap.en.eq(1), self.tap.addr.eq(job.tap_base + tap_index)]
        with m.FSM(name="pool"):
            with m.State("IDLE"):
                m.d.comb += [self.cmd.ready.eq(1), out.load.eq(1), source.load.eq(1)]
                m.d.sync += [job.eq(new), y.eq(0), x.eq(0), group.eq(0), tap_index.eq(0), left.eq(flight)]
                with m.If(self.cmd.valid):
                    m.next = "VISIT"
            with m.State("VISIT"):
                m.d.comb += [waits.eq(self.stores & (tap_index == 0) & ~waited), visit.eq(~waits)]
                m.d.sync += waited.eq(waits)
                with m.If(visit):
                    m.d.sync += tap_index.eq(Mux(last_tap, 0, tap_index + 1))
                with m.If(visit & last_tap):
                    m.d.sync += group.eq(Mux(last_group, 0, group + 1))
                with m.If(visit & last_tap & last_group):
                    m.d.sync += [x.eq(Mux(last_x, 0, x + count)), y.eq(y + last_x)]
                    for locator in (out, source):
                        m.d.comb += [locator.step.eq(count), locator.next_row.eq(last_x)]
                    with m.If(last_x & last_y):
                        m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.d.comb += [self.done.eq(1), self.give.eq(job.give)]
                    m.next = "IDLE"
        return SimpleNamespace(y=y, x=x, group=group, tap_index=tap_index, visit=visit, last_tap=last_tap,
                               taken=Cat(visit & ~self.clear & (lane < count) for lane in range(self.out_pixels)))

    def _places(self, walk, locator):
        """Of the pixels of a visit, in its channel group."""
        return [(place.bank, (place.addr + walk.group)[:len(place.addr)]) for place in locator.place]

    def _gather(self, m, job, walk, source):
        """The tap arrives one cycle after its address; then one cycle for the places. Returns the pixels of the tap
        that are inside of the input."""
        tap = self.tap.data
        y, x, taken = (delay(m, value, latency.RECORD) for value in (walk.y, walk.x, walk.taken))
        tap_y, tap_x = Signal(signed(18)), Signal(signed(18))
        inside = Signal(self.out_pixels)
        m.d.comb += [tap_y.eq(y + tap.dy), tap_x.eq(x + tap.dx)]
        for lane, (bank, addr) in enumerate(self._places(walk, source)):
            at = tap_x + lane
            m.d.comb += inside[lane].eq(taken[lane] & (tap_y >= 0) & (tap_y < tap.rows) & (at >= 0) & (at < tap.cols))
            before = delay(m, bank, latency.RECORD), delay(m, addr, latency.RECORD)
            bank, addr = advance(m, self.pixels, *before, tap.rot, tap.addr, job.res_groups)
            place = self.gather.place[lane]
            m.d.sync += [self.gather.en[lane].eq(inside[lane]), place.mem.eq(job.mem_in), place.bank.eq(bank),
                         place.addr.eq(addr)]
        return inside

    def _maximum(self, m, job, walk, out, inside):
        """Running maxima; codes are unsigned, so they start from 0."""
        inside = delay(m, inside, 1 + latency.GATHER)
        first = delay(m, walk.tap_index == 0, BEFORE + latency.GATHER)
        last = delay(m, Mux(walk.last_tap, walk.taken, 0), BEFORE + latency.GATHER)
        for lane, place in enumerate(self._places(walk, out)):
            best, word = Signal(codes_layout(self), name=f"best{lane}"), self.write.word[lane]
            for i in range(self.ic):
                before, got, after = (Signal(8, name=f"{name}{lane}_{i}") for name in ("before", "got", "after"))
                m.d.comb += [before.eq(Mux(first, 0, best[i])), after.eq(Mux(got > before, got, before)),
                             got.eq(Mux(inside[lane], self.gather.codes[lane][i], 0))]
                m.d.sync += [best[i].eq(after), word.data[i].eq(after)]
            m.d.sync += [self.write.en[lane].eq(last[lane]), word.en.eq(~0), word.place.mem.eq(job.mem_out),
                         Cat(word.place.bank, word.place.addr).eq(delay(m, Cat(*place), BEFORE + latency.GATHER))]
