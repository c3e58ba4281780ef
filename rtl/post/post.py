"""Post unit: joins digits, requantizes, adds the residual, and writes codes to the activation memories.

One pixel and channel group per cycle. Rows come from the array's FIFO; the pipeline behind it never stalls, because the
gather port always serves it and its writes always win.
"""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..memory import TABLE_LATENCY, CodeTable
from ..prim import (
    COMMAND, GATHER_LATENCY, PARAM, Locator, ResetInserter, codes_layout, delay, place, place_layout, table_members,
    view_of, write_layout)
from .requant import LATENCY, Requant

__all__ = ["Post"]


class Post(wiring.Component):
    """Executes the post side of CONV commands, one at a time.

    ``done`` pulses with the command's ``post`` semaphores and tag once its last write can be read; for sums of a part, which
    nothing is written of, once the feeder is through with it: ``fed``, the oldest command here has had its last k-step.
    """

    def __init__(self, config):
        self.config = c = config
        row = data.ArrayLayout(data.ArrayLayout(signed(c.acc_width), c.slots), 2)
        super().__init__({
            "cmd": In(stream.Signature(COMMAND)), "row": In(stream.Signature(row)), "fed": In(1), "clear": In(1),
            "p_en": Out(1), "p_addr": Out(range(c.param_depth * c.slots)), "p_data": In(PARAM),
            "gather_en": Out(1), "gather": Out(place_layout(c)), "gathered": In(codes_layout(c)),
            "write_en": Out(1), "write": Out(write_layout(c)),
            "done": Out(1), "post": Out(8), "tag": Out(16), **table_members(c.tables)})

    def elaborate(self, platform):
        m = Module()
        c = self.config
        width = c.joined_width
        lanes = range(c.ic)
        m.submodules.out = out = Locator(pixels=c.pixels, act_depth=c.act_depth)
        m.submodules.res = res = Locator(pixels=c.pixels, act_depth=c.act_depth)
        run = Signal(COMMAND)

        # Control: take a command, fetch its parameters, visit its pixels, let the pipeline run empty.
        slot, loading = Signal(range(c.slots + 2)), Signal()
        tile, row_index, second_pixel, second_group = Signal(16), Signal(range(c.pixels // 2)), Signal(), Signal()
        y, x = Signal(16), Signal(16)
        visit, inside, leave, last_row, pixel_done, row_end = (Signal() for _ in range(6))
        # gather (3) and select (1) put the residual beside the accumulator, which waits for it.
        before = GATHER_LATENCY + 1
        stages = before + LATENCY + (TABLE_LATENCY if c.tables else 0)
        flight = 1 + stages + 2
        left = Signal(range(flight + 2))
        new = self.cmd.payload

        m.d.comb += [out.view.eq(view_of(new, "out")), res.view.eq(view_of(new, "res")),
                     out.start_x.eq(new.start_x[0]), res.start_x.eq(new.start_x[0])]
        with m.FSM(name="post") as fsm:
            with m.State("IDLE"):
                m.d.comb += [self.cmd.ready.eq(1), out.load.eq(1), res.load.eq(1)]
                m.d.sync += [run.eq(new), slot.eq(0), loading.eq(0), tile.eq(0), row_index.eq(0), second_pixel.eq(0),
                             second_group.eq(0), y.eq(new.start_y), x.eq(new.start_x), left.eq(flight)]
                with m.If(self.cmd.valid):
                    with m.If(new.acc_last):
                        m.next = "PARAMS"
                    with m.Else():
                        m.next = "PART"
            with m.State("PART"):
                with m.If(self.fed):
                    m.next = "DRAIN"
            with m.State("PARAMS"):
                m.d.comb += self.p_en.eq(1)
                m.d.sync += [slot.eq(slot + 1), loading.eq(1)]
                with m.If(slot == c.slots):
                    m.d.sync += loading.eq(0)
                    m.next = "ROWS"
            with m.State("ROWS"):
                m.d.comb += visit.eq(self.row.valid)
                with m.If(visit & pixel_done & leave & last_row & (tile + 1 == run.tiles)):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.d.comb += [self.done.eq(1), self.post.eq(run.post)]
                    m.next = "IDLE"
            m.d.comb += self.tag.eq(run.tag)
            idle = fsm.ongoing("IDLE")

        m.d.comb += [
            self.p_addr.eq(run.param_base + slot),
            inside.eq((x < run.cols) & (y < run.rows)), row_end.eq(x + 1 == run.pitch),
            pixel_done.eq(second_group | ~run.straddle | ~inside),
            leave.eq(second_pixel | run.wide), last_row.eq(row_index == c.pixels // 2 - 1),
            self.row.ready.eq(visit & pixel_done & leave | self.clear)]
        with m.If(visit):
            with m.If(pixel_done):
                m.d.sync += [second_group.eq(0), x.eq(Mux(row_end, 0, x + 1)), y.eq(y + row_end),
                             second_pixel.eq(~leave)]
                for locator in (out, res):
                    m.d.comb += [locator.step.eq(inside), locator.next_row.eq(row_end)]
                with m.If(leave):
                    m.d.sync += row_index.eq(Mux(last_row, 0, row_index + 1))
                    with m.If(last_row):
                        m.d.sync += tile.eq(tile + 1)
            with m.Else():
                m.d.sync += second_group.eq(1)

        # Parameters of the slots, and for each output channel lane of both groups the slot that fills it.
        params = [Signal(PARAM, name=f"param{s}") for s in range(c.slots)]
        source = [[Signal(range(c.slots), name=f"source{g}_{i}") for i in lanes] for g in range(2)]
        filled = [Signal(c.ic, name=f"filled{g}") for g in range(2)]
        with m.If(idle):
            m.d.sync += [f.eq(0) for f in filled]
        with m.If(loading):
            for s in range(c.slots):
                with m.If(slot == s + 1):
                    m.d.sync += params[s].eq(self.p_data)
            for g in range(2):
                for i in lanes:
                    with m.If(self.p_data.valid & (self.p_data.second == g) & (self.p_data.lane == i)):
                        m.d.sync += [source[g][i].eq(slot - 1), filled[g][i].eq(1)]

        # Pipeline. Stage 0: this pixel's accumulators, pixel digits joined; gather the residual.
        accs = []
        for s in range(c.slots):
            acc = Signal(signed(width), name=f"acc{s}")
            low, high = self.row.payload[0][s], self.row.payload[1][s]
            m.d.sync += acc.eq(Mux(run.wide, low + (high << c.act_digit_bits), Mux(second_pixel, high, low)))
            accs.append(acc)
        beat = visit & inside & ~self.clear
        m.d.comb += [self.gather_en.eq(beat & run.residual), self.gather.mem.eq(run.mem_res), self.gather.bank.eq(res.bank),
                     self.gather.addr.eq(res.addr + second_group)]

        codes, units = [], [Requant(width, joins=s % 2 == 0 and s + 1 < c.dsp_filters) for s in range(c.slots)]
        for s, unit in enumerate(units):
            place(m, f"requant{s}", unit, platform)
            if unit.joins:
                m.d.comb += [unit.join.eq(params[s].join), unit.high.eq(units[s + 1].product)]
            code = Signal(8, name=f"res_code{s}")
            m.d.sync += code.eq(Mux(run.residual, Array(self.gathered[i] for i in lanes)[params[s].lane[:_index_bits(c.ic)]], 0))
            m.d.comb += [unit.acc.eq(delay(m, accs[s], before - 1)), unit.res.eq(code), unit.mult.eq(params[s].mult),
                         unit.res_mult.eq(run.res_mult), unit.bias.eq(params[s].bias), unit.shift.eq(run.shift),
                         unit.lo.eq(run.lo), unit.hi.eq(run.hi)]
            codes.append(unit.code)
            if c.tables:
                levels = CodeTable(tables=c.tables)
                place(m, f"table{s}", levels, platform)
                m.d.comb += [levels.code.eq(unit.code), levels.choice.eq(run.table)]
                m.d.comb += [getattr(levels, name).eq(getattr(self, name)) for name in table_members(c.tables)]
                codes[-1] = levels.out

        # Crossbar from slots to lanes, then the write.
        late = delay(m, Cat(beat, second_group, out.bank, out.addr + second_group), stages)
        group = late[1]
        m.d.sync += [self.write_en.eq(late[0]), self.write.place.mem.eq(run.mem_out),
                     Cat(self.write.place.bank, self.write.place.addr).eq(late[2:]),
                     self.write.en.eq(Mux(group, filled[1], filled[0]))]
        for i in lanes:
            m.d.sync += self.write.data[i].eq(Array(codes)[Mux(group, source[1][i], source[0][i])])
        return ResetInserter(self.clear)(m)


def _index_bits(count):
    return max(1, (count - 1).bit_length())
