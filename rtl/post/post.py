"""Post unit: joins digits, requantizes, adds the residual, and writes codes to the activation memories.

Rows come from the array's FIFO; the pipeline behind it never stalls, because the gather port always serves it and its
writes always win.
"""

from types import SimpleNamespace

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out, connect, flipped

from spec import latency
from spec.errors import AlloyError

from ..memory import CodeTable
from ..prim import (
    COMMAND, PARAM, Block, Locator, Parameter, ResetInserter, act_write_port, add_shared, delay, gather_port,
    param_port, table_port, view_of)
from .requant import Requant

__all__ = ["Post"]


class Post(Block):
    """Executes the post side of CONV commands, one at a time.

    Parameters are fetched in ``slots + 1`` cycles, then one pixel and channel group is visited in each cycle; its write
    comes ``latency`` cycles after the visit. ``done`` comes ``done_latency`` cycles after the last one; for sums of a
    part, which nothing is written of, once the feeder is through with it: ``fed``.

    Parameters
    ----------
    ic, pixels, dsp_filters, lut_filters, act_digit_bits, acc_width, joined_width, act_depth, param_depth, out_pixels,
    tables : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    cmd : CONV commands.
    row : ``[pixel][slot]`` of two lanes.
    fed : the oldest command here has had its last k-step.
    clear : forget everything.
    param : parameters, read in :data:`spec.latency.RECORD` cycles.
    gather : a residual, read in :data:`spec.latency.GATHER` cycles.
    write : codes.
    done, give, tag : a command is complete, its last write can be read; its semaphores.
    tables_write : fills the tables of codes, if there are any.

    Raises
    ------
    AlloyError : a parameter out of range, or no filter slot.
    """
    ic = Parameter()
    pixels = Parameter(2, even=True)
    dsp_filters = Parameter(0, even=True)
    lut_filters = Parameter(0)
    act_digit_bits = Parameter(high=8)
    acc_width = Parameter(2)
    joined_width = Parameter(2)
    act_depth = Parameter()
    param_depth = Parameter()
    out_pixels = Parameter()
    tables = Parameter(0, high=15)

    def check(self) -> None:
        if not self.slots:
            raise AlloyError("no Post has no filter slots: give dsp_filters or lut_filters")

    @property
    def slots(self) -> int:
        return self.dsp_filters + self.lut_filters

    @property
    def latency(self) -> int:
        return latency.post(self)

    @property
    def done_latency(self) -> int:
        return latency.post_done(self)

    def members(self) -> dict[str, Member]:
        row = data.ArrayLayout(data.ArrayLayout(signed(self.acc_width), self.slots), 2)
        return {
            "cmd": In(stream.Signature(COMMAND)), "row": In(stream.Signature(row)), "fed": In(1), "clear": In(1),
            "param": Out(param_port(self)), "gather": Out(gather_port(self)), "write": Out(act_write_port(self)),
            "done": Out(1), "give": Out(8), "tag": Out(16), "tables_write": In(table_port(self.tables))}

    def elaborate(self, platform):
        m = Module()
        m.submodules.out = out = Locator.of(self, count=1)
        m.submodules.res = res = Locator.of(self, count=1)
        run = Signal(COMMAND)
        walk = self._walk(m, run, out, res)
        self._visit(m, run, walk, out, res)
        params, source, filled = self._parameters(m, walk)
        beat, accs = self._accumulators(m, run, walk, res)
        codes = self._requantize(m, run, params, accs, platform)
        self._write(m, run, walk, out, beat, codes, source, filled)
        return ResetInserter(self.clear)(m)

    def _walk(self, m, run, out, res):
        """Control: take a command, fetch its parameters, visit its pixels, let the pipeline run empty."""
        slot, loading = Signal(range(self.slots + 2)), Signal()
        tile, row_index, second_pixel, second_group = Signal(16), Signal(range(self.pixels // 2)), Signal(), Signal()
        y, x = Signal(16), Signal(16)
        visit, inside, leave, last_row, pixel_done, row_end = (Signal() for _ in range(6))
        flight = self.done_latency - 1      # the first of these cycles ends the visits
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
                m.d.comb += self.param.en.eq(1)
                m.d.sync += [slot.eq(slot + 1), loading.eq(1)]
                with m.If(slot == self.slots):
                    m.d.sync += loading.eq(0)
                    m.next = "ROWS"
            with m.State("ROWS"):
                m.d.comb += visit.eq(self.row.valid)
                with m.If(visit & pixel_done & leave & last_row & (tile + 1 == run.tiles)):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.d.comb += [self.done.eq(1), self.give.eq(run.give)]
                    m.next = "IDLE"
            m.d.comb += self.tag.eq(run.tag)
            idle = fsm.ongoing("IDLE")
        return SimpleNamespace(
            idle=idle, slot=slot, loading=loading, tile=tile, row_index=row_index, second_pixel=second_pixel,
            second_group=second_group, y=y, x=x, visit=visit, inside=inside, leave=leave, last_row=last_row,
            pixel_done=pixel_done, row_end=row_end)

    def _visit(self, m, run, walk, out, res):
        """From one pixel and group to the next."""
        w, visit, inside, row_end = walk, walk.visit, walk.inside, walk.row_end
        pixel_done, leave, last_row = walk.pixel_done, walk.leave, walk.last_row
        m.d.comb += [
            self.param.addr.eq(run.param_base + w.slot),
            inside.eq((w.x < run.cols) & (w.y < run.rows)), row_end.eq(w.x + 1 == run.pitch),
            pixel_done.eq(w.second_group | ~run.straddle | ~inside),
            leave.eq(w.second_pixel | run.wide), last_row.eq(w.row_index == self.pixels // 2 - 1),
            self.row.ready.eq(visit & pixel_done & leave | self.clear)]
        with m.If(visit):
            with m.If(pixel_done):
                m.d.sync += [w.second_group.eq(0), w.x.eq(Mux(row_end, 0, w.x + 1)), w.y.eq(w.y + row_end),
                             w.second_pixel.eq(~leave)]
                for locator in (out, res):
                    m.d.comb += [locator.step.eq(inside), locator.next_row.eq(row_end)]
                with m.If(leave):
                    m.d.sync += w.row_index.eq(Mux(last_row, 0, w.row_index + 1))
                    with m.If(last_row):
                        m.d.sync += w.tile.eq(w.tile + 1)
            with m.Else():
                m.d.sync += w.second_group.eq(1)

    def _parameters(self, m, walk):
        """Parameters of the slots, and for each output channel lane of both groups the slot that fills it."""
        params = [Signal(PARAM, name=f"param{s}") for s in range(self.slots)]
        source = [[Signal(range(self.slots), name=f"source{g}_{i}") for i in range(self.ic)] for g in range(2)]
        filled = [Signal(self.ic, name=f"filled{g}") for g in range(2)]
        with m.If(walk.idle):
            m.d.sync += [f.eq(0) for f in filled]
        with m.If(walk.loading):
            for s in range(self.slots):
                with m.If(walk.slot == s + 1):
                    m.d.sync += params[s].eq(self.param.data)
            for g in range(2):
                for i in range(self.ic):
                    with m.If(self.param.data.valid & (self.param.data.second == g) & (self.param.data.lane == i)):
                        m.d.sync += [source[g][i].eq(walk.slot - 1), filled[g][i].eq(1)]
        return params, source, filled

    def _accumulators(self, m, run, walk, res):
        """Stage 0: this pixel's accumulators, pixel digits joined; gather the residual."""
        accs = []
        for s in range(self.slots):
            acc = Signal(signed(self.joined_width), name=f"acc{s}")
            low, high = self.row.payload[0][s], self.row.payload[1][s]
            m.d.sync += acc.eq(Mux(run.wide, low + (high << self.act_digit_bits), Mux(walk.second_pixel, high, low)))
            accs.append(acc)
        beat = walk.visit & walk.inside & ~self.clear
        place = self.gather.place[0]
        m.d.comb += [self.gather.en.eq(beat & run.residual), place.mem.eq(run.mem_res),
                     place.bank.eq(res.place[0].bank), place.addr.eq(res.place[0].addr + walk.second_group)]
        return beat, accs

    def _requantize(self, m, run, params, accs, platform):
        """Requantizers and tables; an accumulator waits for its residual. Returns the code of each slot."""
        codes, lane_bits = [], max(1, (self.ic - 1).bit_length())
        units = [Requant(acc_bits=self.joined_width, joins=s % 2 == 0 and s + 1 < self.dsp_filters)
                 for s in range(self.slots)]
        for s, unit in enumerate(units):
            add_shared(m, f"requant{s}", unit, platform)
            if unit.joins:
                m.d.comb += [unit.join.eq(params[s].join), unit.high.eq(units[s + 1].product)]
            code = Signal(8, name=f"res_code{s}")
            m.d.sync += code.eq(Mux(run.residual, Array(self.gather.codes[0])[params[s].lane[:lane_bits]], 0))
            m.d.comb += [unit.acc.eq(delay(m, accs[s], latency.RESIDUAL - 1)), unit.res.eq(code),
                         unit.mult.eq(params[s].mult), unit.res_mult.eq(run.res_mult), unit.bias.eq(params[s].bias),
                         unit.shift.eq(run.shift), unit.lo.eq(run.lo), unit.hi.eq(run.hi)]
            codes.append(unit.code)
            if self.tables:
                levels = CodeTable(tables=self.tables)
                add_shared(m, f"table{s}", levels, platform)
                m.d.comb += [levels.code.eq(unit.code), levels.choice.eq(run.table)]
                connect(m, flipped(self.tables_write), levels.write)
                codes[-1] = levels.out
        return codes

    def _write(self, m, run, walk, out, beat, codes, source, filled):
        """Crossbar from slots to lanes, then the write."""
        second, word, place = walk.second_group, self.write.word[0], out.place[0]
        late = delay(m, Cat(beat, second, place.bank, place.addr + second), self.latency - 1)
        group = late[1]
        m.d.sync += [self.write.en.eq(late[0]), word.place.mem.eq(run.mem_out),
                     Cat(word.place.bank, word.place.addr).eq(late[2:]),
                     word.en.eq(Mux(group, filled[1], filled[0]))]
        for i in range(self.ic):
            m.d.sync += word.data[i].eq(Array(codes)[Mux(group, source[1][i], source[0][i])])
