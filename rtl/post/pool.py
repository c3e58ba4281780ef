"""Max-pool unit: one tap of one pixel and channel group per cycle. A 1x1 pool copies a tensor into another layout."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..prim import (
    COMMAND, GATHER_LATENCY, TAP, Locator, ResetInserter, advance, codes_layout, delay, place_layout, view_of, write_layout)

__all__ = ["Pool"]


class Pool(wiring.Component):
    """Executes POOL commands, one at a time; ports as in :class:`rtl.post.Post`."""

    def __init__(self, config):
        self.config = c = config
        super().__init__({
            "cmd": In(stream.Signature(COMMAND)), "clear": In(1),
            "tap_addr": Out(range(c.tap_depth)), "tap": In(TAP),
            "gather_en": Out(1), "gather": Out(place_layout(c)), "gathered": In(codes_layout(c)),
            "write_en": Out(1), "write": Out(write_layout(c)),
            "done": Out(1), "post": Out(8), "tag": Out(16)})

    def elaborate(self, platform):
        m = Module()
        c = self.config
        m.submodules.out = out = Locator(pixels=c.pixels, act_depth=c.act_depth)
        m.submodules.source = source = Locator(pixels=c.pixels, act_depth=c.act_depth)
        run = Signal(COMMAND)
        y, x, group, tap_index = (Signal(16, name=n) for n in ("y", "x", "group", "tap_index"))
        visit, last_tap, last_group, last_x, last_y = (Signal() for _ in range(5))
        flight = 2 + GATHER_LATENCY + 3
        left = Signal(range(flight + 1))
        new = self.cmd.payload

        m.d.comb += [out.view.eq(view_of(new, "out")), source.view.eq(view_of(new, "res")), self.tag.eq(run.tag),
                     last_tap.eq(tap_index + 1 == run.taps), last_group.eq(group + 1 == run.groups),
                     last_x.eq(x + 1 == run.cols), last_y.eq(y + 1 == run.rows),
                     self.tap_addr.eq(run.tap_base + tap_index)]
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
                    m.d.comb += [self.done.eq(1), self.post.eq(run.post)]
                    m.next = "IDLE"

        # The tap arrives one cycle after its address; then one cycle for the place.
        tap = self.tap
        s1 = data.View(data.StructLayout({"y": 16, "x": 16, "bank": range(c.pixels), "addr": range(c.act_depth)}),
                       delay(m, Cat(y, x, source.bank, (source.addr + group)[:len(source.addr)]), 1))
        live = delay(m, visit & ~self.clear, 1)
        tap_y, tap_x = Signal(signed(18)), Signal(signed(18))
        bank, addr = advance(m, c.pixels, s1.bank, s1.addr, tap.rot, tap.addr, run.res_groups)
        inside = Signal()
        m.d.comb += [tap_y.eq(s1.y + tap.dy), tap_x.eq(s1.x + tap.dx),
                     inside.eq((tap_y >= 0) & (tap_y < tap.rows) & (tap_x >= 0) & (tap_x < tap.cols))]
        m.d.sync += [self.gather_en.eq(live & inside), self.gather.mem.eq(run.mem_in), self.gather.bank.eq(bank),
                     self.gather.addr.eq(addr)]

        # Running maximum; codes are unsigned, so it starts from 0.
        taken = delay(m, live & inside, 1 + GATHER_LATENCY)
        first = delay(m, tap_index == 0, 2 + GATHER_LATENCY)
        last = delay(m, visit & last_tap & ~self.clear, 2 + GATHER_LATENCY)
        where = delay(m, Cat(out.bank, (out.addr + group)[:len(out.addr)]), 2 + GATHER_LATENCY)
        best = Signal(codes_layout(c))
        for i in range(c.ic):
            before, got, after = Signal(8, name=f"before{i}"), Signal(8, name=f"got{i}"), Signal(8, name=f"after{i}")
            m.d.comb += [before.eq(Mux(first, 0, best[i])), got.eq(Mux(taken, self.gathered[i], 0)),
                         after.eq(Mux(got > before, got, before))]
            m.d.sync += [best[i].eq(after), self.write.data[i].eq(after)]
        m.d.sync += [self.write_en.eq(last), self.write.en.eq(~0), self.write.place.mem.eq(run.mem_out),
                     Cat(self.write.place.bank, self.write.place.addr).eq(where)]
        return ResetInserter(self.clear)(m)
