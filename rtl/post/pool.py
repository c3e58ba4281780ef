"""Max-pool unit: one tap of one pixel and channel group per cycle. A 1x1 pool copies a tensor into another layout."""

from types import SimpleNamespace

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out

from spec import latency

from ..prim import (
    COMMAND, Block, Locator, Parameter, ResetInserter, act_write_port, advance, codes_layout, delay, gather_port,
    tap_port, view_of)

__all__ = ["Pool"]

BEFORE = latency.RECORD + 1         # cycles from a visit to its gather


class Pool(Block):
    """Executes POOL commands, one at a time.

    One tap of one pixel and channel group is visited in each cycle; the write of a group comes ``latency`` cycles after
    the visit of its last tap, ``done`` ``done_latency`` cycles after the last of all.

    Parameters
    ----------
    ic, pixels, act_depth, tap_depth : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    cmd : POOL commands.
    clear : forget everything.
    tap : table of taps, read in :data:`spec.latency.RECORD` cycles.
    gather : a code of each channel, read in :data:`spec.latency.GATHER` cycles.
    write : codes.
    done, give, tag : a command is complete, its last write can be read; its semaphores.

    Raises
    ------
    AlloyError : a parameter out of range.
    """
    ic = Parameter()
    pixels = Parameter(2)
    act_depth = Parameter()
    tap_depth = Parameter()

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
            "done": Out(1), "give": Out(8), "tag": Out(16)}

    def elaborate(self, platform):
        m = Module()
        m.submodules.out = out = Locator.of(self)
        m.submodules.source = source = Locator.of(self)
        run = Signal(COMMAND)
        walk = self._walk(m, run, out, source)
        live, inside = self._gather(m, run, walk, source)
        self._maximum(m, run, walk, out, live, inside)
        return ResetInserter(self.clear)(m)

    def _walk(self, m, run, out, source):
        """Take a command, visit its pixels, groups and taps, let the pipeline run empty."""
        y, x, group, tap_index = (Signal(16, name=n) for n in ("y", "x", "group", "tap_index"))
        visit, last_tap, last_group, last_x, last_y = (Signal() for _ in range(5))
        flight = self.done_latency - 1      # the first of these cycles ends the visits
        left = Signal(range(flight + 1))
        new = self.cmd.payload

        m.d.comb += [out.view.eq(view_of(new, "out")), source.view.eq(view_of(new, "res")), self.tag.eq(run.tag),
                     last_tap.eq(tap_index + 1 == run.taps), last_group.eq(group + 1 == run.groups),
                     last_x.eq(x + 1 == run.cols), last_y.eq(y + 1 == run.rows),
                     self.tap.en.eq(1), self.tap.addr.eq(run.tap_base + tap_index)]
        with m.FSM(name="pool"):
            with m.State("IDLE"):
                m.d.comb += [self.cmd.ready.eq(1), out.load.eq(1), source.load.eq(1)]
                m.d.sync += [run.eq(new), y.eq(0), x.eq(0), group.eq(0), tap_index.eq(0), left.eq(flight)]
                with m.If(self.cmd.valid):
                    m.next = "VISIT"
            with m.State("VISIT"):
                m.d.comb += visit.eq(1)
                m.d.sync += tap_index.eq(Mux(last_tap, 0, tap_index + 1))
                with m.If(last_tap):
                    m.d.sync += group.eq(Mux(last_group, 0, group + 1))
                with m.If(last_tap & last_group):
                    m.d.sync += [x.eq(Mux(last_x, 0, x + 1)), y.eq(y + last_x)]
                    for locator in (out, source):
                        m.d.comb += [locator.step.eq(1), locator.next_row.eq(last_x)]
                    with m.If(last_x & last_y):
                        m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.d.comb += [self.done.eq(1), self.give.eq(run.give)]
                    m.next = "IDLE"
        return SimpleNamespace(y=y, x=x, group=group, tap_index=tap_index, visit=visit, last_tap=last_tap)

    def _gather(self, m, run, walk, source):
        """The tap arrives one cycle after its address; then one cycle for the place."""
        tap = self.tap.data
        address = (source.addr + walk.group)[:len(source.addr)]
        s1 = data.View(data.StructLayout({"y": 16, "x": 16, "bank": range(self.pixels), "addr": range(self.act_depth)}),
                       delay(m, Cat(walk.y, walk.x, source.bank, address), latency.RECORD))
        live = delay(m, walk.visit & ~self.clear, latency.RECORD)
        tap_y, tap_x = Signal(signed(18)), Signal(signed(18))
        bank, addr = advance(m, self.pixels, s1.bank, s1.addr, tap.rot, tap.addr, run.res_groups)
        inside = Signal()
        m.d.comb += [tap_y.eq(s1.y + tap.dy), tap_x.eq(s1.x + tap.dx),
                     inside.eq((tap_y >= 0) & (tap_y < tap.rows) & (tap_x >= 0) & (tap_x < tap.cols))]
        m.d.sync += [self.gather.en.eq(live & inside), self.gather.place.mem.eq(run.mem_in),
                     self.gather.place.bank.eq(bank), self.gather.place.addr.eq(addr)]
        return live, inside

    def _maximum(self, m, run, walk, out, live, inside):
        """Running maximum; codes are unsigned, so it starts from 0."""
        taken = delay(m, live & inside, 1 + latency.GATHER)
        first = delay(m, walk.tap_index == 0, BEFORE + latency.GATHER)
        last = delay(m, walk.visit & walk.last_tap & ~self.clear, BEFORE + latency.GATHER)
        where = delay(m, Cat(out.bank, (out.addr + walk.group)[:len(out.addr)]), BEFORE + latency.GATHER)
        best = Signal(codes_layout(self))
        for i in range(self.ic):
            before, got, after = Signal(8, name=f"before{i}"), Signal(8, name=f"got{i}"), Signal(8, name=f"after{i}")
            m.d.comb += [before.eq(Mux(first, 0, best[i])), got.eq(Mux(taken, self.gather.codes[i], 0)),
                         after.eq(Mux(got > before, got, before))]
            m.d.sync += [best[i].eq(after), self.write.word.data[i].eq(after)]
        m.d.sync += [self.write.en.eq(last), self.write.word.en.eq(~0), self.write.word.place.mem.eq(run.mem_out),
                     Cat(self.write.word.place.bank, self.write.word.place.addr).eq(where)]
