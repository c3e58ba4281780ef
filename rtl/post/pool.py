"""Max-pool unit: one tap of one channel group of a few pixels per cycle. A 1x1 pool copies a tensor into another
layout."""

from types import SimpleNamespace

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed
from amaranth.lib import stream
from amaranth.lib.wiring import In, Member, Out

from spec import latency
from spec.config import DSP_DEVICES

from ..prim import (
    COMMAND, Block, Countdown, Left, Locator, Parameter, ResetInserter, act_write_port, advance, at_once,
    check_out_pixels, codes_layout, delay, gather_port, small_less, tap_port, view_of, visited_apart)

__all__ = ["Pool"]


class Pool(Block):
    """Executes POOL commands, one at a time.

    One tap of one channel group of up to ``out_pixels`` pixels of a row is visited in each cycle, of one pixel if the
    input is walked over in planes; the write of a group comes ``latency`` cycles after the visit of its last tap,
    ``done`` ``done_latency`` cycles after the last of all. While ``stores``, the first tap waits a cycle, so that one
    word can be read for each that is written.

    Parameters
    ----------
    ic, pixels, dsp_device, act_depth, out_pixels, tap_depth : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    cmd : POOL commands.
    clear : forget everything.
    tap : table of taps, read in :func:`spec.latency.record` cycles.
    gather : a code of each channel, read in :data:`spec.latency.GATHER` cycles.
    stores : a store has something to read in a cycle without gathers.
    works : a command is here, a register.
    write : codes.
    done, give, tag, gathered : a command is complete, its last write can be read; its semaphores, its tag, and whether
        it has gathered from each memory.

    Raises
    ------
    AlloyError : a parameter out of range.
    """
    ic = Parameter()
    pixels = Parameter(2)
    dsp_device = Parameter(choices=DSP_DEVICES)
    act_depth = Parameter()
    out_pixels = Parameter()
    tap_depth = Parameter()

    def check(self) -> None:
        check_out_pixels("Pool", self)

    @property
    def latency(self) -> int:
        return latency.pool(self)

    @property
    def done_latency(self) -> int:
        return latency.pool_done(self)

    def members(self) -> dict[str, Member]:
        return {
            "cmd": In(stream.Signature(COMMAND)), "clear": In(1),
            "tap": Out(tap_port(self)), "gather": Out(gather_port(self)), "write": Out(act_write_port(self)),
            "stores": In(1), "works": Out(1), "done": Out(1), "give": Out(8), "tag": Out(16), "gathered": Out(2)}

    def elaborate(self, platform):
        m = Module()
        m.submodules.out = out = Locator.of(self, count=self.out_pixels)
        m.submodules.source = source = Locator.of(self, count=self.out_pixels)
        job = Signal(COMMAND, reset_less=True)
        walk = self._walk(m, job, out, source)
        inside = self._gather(m, job, walk, source)
        self._maximum(m, job, walk, out, inside)
        return ResetInserter(self.clear)(m)

    def _walk(self, m, job, out, source):
        """Take a command, visit its pixels, groups and taps, let the pipeline run empty."""
        y, x, group, tap_index = (Signal(16, name=n, reset_less=True) for n in ("y", "x", "group", "tap_index"))
        visit, waits, waited, first, pixels, row_end, over = (Signal() for _ in range(7))
        taps, groups, rows = (Countdown(m, 16, name) for name in ("taps", "groups", "rows"))
        row = Left(m, self.out_pixels, "row")
        # Of several planes, some pixels that follow each other could lie in banks that meet.
        most = Mux(job.res_phase_x, 1, self.out_pixels)
        count = Signal(range(self.out_pixels + 1))
        flight = self.done_latency - 2      # the first two of these cycles end the visits
        left = Signal(range(flight + 1))
        new, apart = self.cmd.payload, visited_apart(job, "out", x) if self.out_pixels > 1 else C(0)

        m.d.comb += [out.view.eq(view_of(new, "out")), source.view.eq(view_of(new, "res")), self.tag.eq(job.tag),
                     self.gathered.eq(Mux(job.mem_in, 0b10, 0b01)),
                     count.eq(at_once(row.least(most), apart, self.out_pixels)),
                     row_end.eq(row.within(most) & ~(apart & row.holds(self.out_pixels))),
                     pixels.eq(visit & taps.last & groups.last),
                     self.tap.en.eq(1), self.tap.addr.eq(job.tap_base + tap_index)]
        for locator in (out, source):
            m.d.comb += [locator.step.eq(count), locator.next_row.eq(row_end), locator.hold.eq(~pixels)]
        with m.FSM(name="pool"):
            with m.State("IDLE"):
                m.d.comb += [self.cmd.ready.eq(1), out.load.eq(1), source.load.eq(1)]
                m.d.sync += [job.eq(new), y.eq(0), x.eq(0), group.eq(0), tap_index.eq(0), first.eq(1), left.eq(flight),
                             over.eq(0)]
                for counter, number in ((taps, new.taps), (groups, new.groups), (rows, new.rows)):
                    counter.load(number)
                row.load(new.cols, C(0, 16))
                with m.If(self.cmd.valid):
                    m.d.sync += self.works.eq(1)
                    m.next = "VISIT"
            with m.State("VISIT"):
                m.d.comb += [waits.eq(self.stores & first & ~waited & ~over), visit.eq(~waits & ~over)]
                m.d.sync += [waited.eq(waits), over.eq(pixels & row_end & rows.last)]
                with m.If(over):
                    m.next = "DRAIN"
                with m.If(visit):
                    m.d.sync += [tap_index.eq(Mux(taps.last, 0, tap_index + 1)), first.eq(taps.last)]
                    taps.step()
                with m.If(visit & taps.last):
                    m.d.sync += group.eq(Mux(groups.last, 0, group + 1))
                    groups.step()
                with m.If(pixels):
                    m.d.sync += x.eq(Mux(row_end, 0, x + count))
                    row.step(count, row_end)
                with m.If(pixels & row_end):
                    m.d.sync += y.eq(y + 1)
                    rows.step()
            with m.State("DRAIN"):
                m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.d.comb += [self.done.eq(1), self.give.eq(job.give)]
                    m.d.sync += self.works.eq(0)
                    m.next = "IDLE"
        return SimpleNamespace(y=y, x=x, group=group, first=first, visit=visit, last_tap=taps.last,
                               taken=Cat(visit & ~self.clear & small_less(lane, count)
                                         for lane in range(self.out_pixels)))

    def _gather(self, m, job, walk, source):
        """The tap arrives; then one cycle for the position, and one for whether that is
        inside of the input. Returns the pixels of the tap that are."""
        tap, until = self.tap.data, latency.record(self)
        y, group, behind = (delay(m, value, until, flops=True) for value in (
            walk.y, walk.group, walk.group + job.res_groups))
        tap_y, rows, cols = (Signal(shape, reset_less=True) for shape in (signed(18), 16, 16))
        taken, asked = delay(m, walk.taken, until), Signal(self.out_pixels)
        inside = Signal(self.out_pixels)
        m.d.sync += [tap_y.eq(y + tap.dy), rows.eq(tap.rows), cols.eq(tap.cols), asked.eq(taken)]
        for lane, spot in enumerate(source.place):
            tap_x, place = Signal(signed(18), name=f"tap_x{lane}", reset_less=True), self.gather.place[lane]
            bank = Signal.like(place.bank, name=f"bank{lane}", reset_less=True)
            addr = Signal.like(place.addr, name=f"addr{lane}", reset_less=True)
            at_bank, at_addr, x = (delay(m, value, until, flops=True)
                                   for value in (spot.bank, spot.addr, walk.x + lane))
            to_bank, to_addr = advance(m, self.pixels, at_bank, at_addr, tap.rot, tap.addr, group, behind)
            m.d.sync += [tap_x.eq(x + tap.dx), bank.eq(to_bank), addr.eq(to_addr)]
            m.d.comb += inside[lane].eq(asked[lane] & (tap_y >= 0) & (tap_y < rows) & (tap_x >= 0) & (tap_x < cols))
            m.d.sync += [self.gather.en[lane].eq(inside[lane]), place.mem.eq(job.mem_in), place.bank.eq(bank),
                         place.addr.eq(addr)]
        m.d.sync += self.gather.mems.eq(Mux(inside.any(), self.gathered, 0))
        return inside

    def _places(self, m, walk, locator):
        """Of the pixels of a visit, in its channel group, a cycle later."""
        group = delay(m, walk.group, 1, flops=True)
        for place in locator.place:
            bank, addr = (delay(m, value, 1, flops=True) for value in (place.bank, place.addr))
            yield bank, (addr + group)[:len(addr)]

    def _maximum(self, m, job, walk, out, inside):
        """Running maxima; codes are unsigned, so they start from 0."""
        inside, codes = delay(m, inside, 1 + latency.GATHER), latency.record(self) + 2 + latency.GATHER
        first = delay(m, walk.first, codes)
        last = delay(m, Mux(walk.last_tap, walk.taken, 0), codes)
        m.d.comb += self.write.mask.eq(~0)
        m.d.sync += self.write.mems.eq(Mux(last.any(), Mux(job.mem_out, 0b10, 0b01), 0))
        for lane, place in enumerate(self._places(m, walk, out)):
            best, word = Signal(codes_layout(self), name=f"best{lane}", reset_less=True), self.write.word[lane]
            for i in range(self.ic):
                before, got, after = (Signal(8, name=f"{name}{lane}_{i}") for name in ("before", "got", "after"))
                m.d.comb += [before.eq(Mux(first, 0, best[i])), after.eq(Mux(got > before, got, before)),
                             got.eq(Mux(inside[lane], self.gather.codes[lane][i], 0))]
                m.d.sync += best[i].eq(after)
                m.d.comb += word.data[i].eq(best[i])
            m.d.sync += [self.write.en[lane].eq(last[lane]), word.place.mem.eq(job.mem_out),
                         Cat(word.place.bank, word.place.addr).eq(delay(
                             m, Cat(*place), codes - 1, flops=True))]
