"""Post unit: joins digits, requantizes, adds the residual, and writes codes to the activation memories.

Rows come from the array's FIFO; the pipeline behind it never stalls, because the gather port always serves it and its
writes always win.
"""

from types import SimpleNamespace

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import stream
from amaranth.lib.wiring import In, Member, Out, connect, flipped

from spec import latency
from spec.config import DSP_DEVICES
from spec.errors import AlloyError

from ..memory import CodeTable
from ..prim import (
    COMMAND, PARAM, Locator, Parameter, ResetInserter, WithFilters, act_write_port, add_shared, at_once,
    check_out_pixels, delay, gather_port, lanes_layout, param_port, table_port, view_of, visited_apart)
from .requant import Requant

__all__ = ["Post"]

PAIR = ("low", "high")      # DSP slots


class Post(WithFilters):
    """Executes the post side of CONV commands, one at a time.

    Parameters are fetched in ``slots + 1`` cycles, while the command before is still worked on; then one channel group
    of up to ``out_pixels`` pixels of a row is visited in each cycle; its write comes ``latency`` cycles after that.
    The visits of the next command may follow at once: what a stage of the pipeline takes from its command changes as
    the first visit comes by. ``done`` comes ``done_latency`` cycles after the last visit; for sums of a part, which
    nothing is written of, once the feeder is through with it: ``fed``.

    Parameters
    ----------
    ic, pixels, dsp_filters, lut_filters, act_digit_bits, acc_width, dsp_device, portable_dsp, joined_width, act_depth,
    param_depth, out_pixels, tables : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    cmd : CONV commands.
    row : ``[lane][slot]`` of some lanes: two, or as many as pixels are visited together.
    fed : the oldest command that is not ``through`` has had its last k-step.
    through : a command has had its last visit, or is a part and fed.
    idle : no command is here.
    clear : forget everything.
    param : parameters, read in :data:`spec.latency.RECORD` cycles.
    gather : a residual, read in :data:`spec.latency.GATHER` cycles.
    write : codes.
    done, give, tag, gathered : a command is complete, its last write can be read; its semaphores, its tag, and whether
        it has gathered from each memory.
    tables_write : fills the tables of codes, if there are any.

    Raises
    ------
    AlloyError : a parameter out of range, or no filter slot.
    """
    ic = Parameter()
    pixels = Parameter(2, even=True)
    act_digit_bits = Parameter(high=8)
    acc_width = Parameter(2)
    dsp_device = Parameter(choices=DSP_DEVICES)
    portable_dsp = Parameter(choices=(False, True))
    joined_width = Parameter(2)
    act_depth = Parameter()
    param_depth = Parameter()
    out_pixels = Parameter()
    tables = Parameter(0, high=15)

    def check(self) -> None:
        if not self.slots:
            raise AlloyError("no Post has no filter slots: give dsp_filters or lut_filters")
        check_out_pixels("Post", self)

    @property
    def entries(self) -> int:
        """Of a tile, ``lanes`` each."""
        return self.pixels // self.lanes

    @property
    def lanes(self) -> int:
        """That come together."""
        return latency.lanes(self)

    @property
    def latency(self) -> int:
        return latency.post(self)

    @property
    def done_latency(self) -> int:
        return latency.post_done(self)

    def members(self) -> dict[str, Member]:
        return {
            "cmd": In(stream.Signature(COMMAND)), "row": In(stream.Signature(lanes_layout(self, self.lanes))),
            "fed": In(1), "clear": In(1),
            "param": Out(param_port(self)), "gather": Out(gather_port(self)), "write": Out(act_write_port(self)),
            "through": Out(1), "idle": Out(1), "done": Out(1), "give": Out(8), "tag": Out(16), "gathered": Out(2),
            "tables_write": In(table_port(self))}

    def elaborate(self, platform):
        m = Module()
        m.submodules.out = out = Locator.of(self, count=self.out_pixels)
        m.submodules.res = res = Locator.of(self, count=self.out_pixels)
        job = Signal(COMMAND)
        new = self._next(m)
        walk = self._walk(m, job, new, out, res)
        self._visit(m, job, walk, out, res)
        self._done(m, job, walk)
        stages = self._stages(m, new, *self._parameters(m, new))
        for pixel in range(self.out_pixels):
            beat = self._beat(m, job, walk, pixel)
            accs = self._accumulators(m, job, walk, pixel)
            self._gather(m, job, walk, res, pixel, beat)
            codes = self._requantize(m, stages, accs, pixel, platform)
            self._write(m, stages, walk, out, pixel, beat, codes)
        return ResetInserter(self.clear)(m)

    def _next(self, m):
        """The next command, and which of its parameters arrives; it waits until the one before it has changed all
        stages."""
        command, held, fetching, slot = Signal(COMMAND), Signal(), Signal(), Signal(range(self.slots + 2))
        start, ready = Signal(), Signal()
        changes = [start, *(delay(m, start, n) for n in range(1, self.latency))]
        last = slot == self.slots
        m.d.comb += [self.cmd.ready.eq(~held & ~Cat(changes[1:]).any()), ready.eq(held & (~fetching | last)),
                     self.param.en.eq(fetching), self.param.addr.eq(command.param_base + slot)]
        with m.If(fetching):
            m.d.sync += [slot.eq(slot + 1), fetching.eq(~last)]
        with m.If(start):
            m.d.sync += held.eq(0)
        with m.If(self.cmd.ready):
            m.d.sync += [command.eq(self.cmd.payload), held.eq(self.cmd.valid), slot.eq(0),
                         fetching.eq(self.cmd.valid & self.cmd.payload.acc_last)]
        return SimpleNamespace(command=command, held=held, slot=slot, loading=fetching & (slot != 0), ready=ready,
                               start=start, changes=changes)

    def _walk(self, m, job, new, out, res):
        """Control: visit the pixels of a command, or wait until it is fed; go on with the next one."""
        tile, entry, second_group = Signal(16), Signal(range(self.entries)), Signal()
        half, pixel = Signal(), Signal(range(self.out_pixels))      # of the lanes' pixels, if there are two halves
        y, x = Signal(16), Signal(16)
        visit, inside, leave, last_entry, pixel_done, row_end = (Signal() for _ in range(6))
        count, command = Signal(range(self.out_pixels + 1)), new.command

        m.d.comb += [out.view.eq(view_of(command, "out")), res.view.eq(view_of(command, "res")),
                     out.start_x.eq(command.start_x[0]), res.start_x.eq(command.start_x[0]),
                     out.load.eq(new.start), res.load.eq(new.start)]

        def go_on():
            m.next = "IDLE"
            with m.If(new.ready):
                m.d.comb += new.start.eq(1)
                with m.If(command.acc_last):
                    m.next = "ROWS"
                with m.Else():
                    m.next = "PART"
        with m.FSM(name="post") as fsm:
            with m.State("IDLE"):
                go_on()
            with m.State("PART"):
                m.d.comb += self.through.eq(self.fed)
                with m.If(self.fed):
                    go_on()
            with m.State("ROWS"):
                m.d.comb += visit.eq(self.row.valid)
                with m.If(visit & pixel_done & leave & last_entry & (tile + 1 == job.tiles)):
                    m.d.comb += self.through.eq(1)
                    go_on()
            idle = fsm.ongoing("IDLE")
        return SimpleNamespace(
            idle=idle & ~new.held, tile=tile, entry=entry, half=half, pixel=pixel, second_group=second_group, y=y, x=x,
            count=count, visit=visit, inside=inside, leave=leave, last_entry=last_entry, pixel_done=pixel_done,
            row_end=row_end, new=new)

    def _visit(self, m, job, walk, out, res):
        """From one visit to the next: as many pixels as there are in the lanes and in the row, and at once."""
        w, visit, inside, row_end, count = walk, walk.visit, walk.inside, walk.row_end, walk.count
        pixel_done, leave, last_entry = walk.pixel_done, walk.leave, walk.last_entry
        left_in_row, left, ends = Signal(16), Signal(range(self.out_pixels + 1)), Signal()
        apart = visited_apart(job, "out", w.x) | job.residual & visited_apart(job, "res", w.x)
        m.d.comb += [
            left_in_row.eq(job.pitch - w.x),
            left.eq(Mux(job.wide, latency.wide_pixels(self), self.out_pixels) - w.pixel),
            count.eq(at_once(Mux(left_in_row < left, left_in_row, left), apart, self.out_pixels)
                     if self.out_pixels > 1 else 1),
            inside.eq((w.x < job.cols) & (w.y < job.rows)), row_end.eq(left_in_row == count),
            pixel_done.eq(w.second_group | ~job.straddle | ~inside),
            ends.eq(left == count), leave.eq(ends & (w.half | job.wide | (self.lanes == self.out_pixels))),
            last_entry.eq(w.entry == self.entries - 1),
            self.row.ready.eq(visit & pixel_done & leave | self.clear)]
        with m.If(visit):
            with m.If(pixel_done):
                m.d.sync += [w.second_group.eq(0), w.x.eq(Mux(row_end, 0, w.x + count)), w.y.eq(w.y + row_end),
                             w.pixel.eq(Mux(ends, 0, w.pixel + count)), w.half.eq((w.half ^ ends) & ~leave)]
                for locator in (out, res):
                    m.d.comb += [locator.step.eq(Mux(inside, count, 0)), locator.next_row.eq(row_end)]
                with m.If(leave):
                    m.d.sync += w.entry.eq(Mux(last_entry, 0, w.entry + 1))
                    with m.If(last_entry):
                        m.d.sync += w.tile.eq(w.tile + 1)
            with m.Else():
                m.d.sync += w.second_group.eq(1)
        with m.If(w.new.start):
            m.d.sync += [job.eq(w.new.command), w.tile.eq(0), w.entry.eq(0), w.half.eq(0), w.pixel.eq(0),
                         w.second_group.eq(0), w.y.eq(w.new.command.start_y), w.x.eq(w.new.command.start_x)]

    def _done(self, m, job, walk):
        """What comes after the last visit, once the pipeline has let it through."""
        gathered = Cat(job.residual & (job.mem_res == mem) for mem in range(2))
        line, left = [Cat(self.through, job.give, job.tag, gathered)], Signal(range(self.done_latency + 1))
        late = delay(m, line[0], self.done_latency)
        m.d.comb += [self.done.eq(late[0]), self.give.eq(Mux(late[0], late[1:9], 0)), self.tag.eq(late[9:25]),
                     self.gathered.eq(late[25:]), self.idle.eq(walk.idle & (left == 0))]
        with m.If(self.through):
            m.d.sync += left.eq(self.done_latency)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)

    def _parameters(self, m, new):
        """Parameters of the next command's slots, and for each output channel lane of both groups the slot that fills
        it."""
        params = [Signal(PARAM, name=f"param{s}") for s in range(self.slots)]
        source = [[Signal(range(self.slots), name=f"source{g}_{i}") for i in range(self.ic)] for g in range(2)]
        filled = [Signal(self.ic, name=f"filled{g}") for g in range(2)]
        with m.If(self.cmd.ready):
            m.d.sync += [f.eq(0) for f in filled]
        with m.If(new.loading):
            for s in range(self.slots):
                with m.If(new.slot == s + 1):
                    m.d.sync += params[s].eq(self.param.data)
            for g in range(2):
                for i in range(self.ic):
                    with m.If(self.param.data.valid & (self.param.data.second == g) & (self.param.data.lane == i)):
                        m.d.sync += [source[g][i].eq(new.slot - 1), filled[g][i].eq(1)]
        return params, source, filled

    def _stages(self, m, new, params, source, filled):
        """What the stages of the pipeline take from a command: each from when its first visit comes there."""
        command, first = new.command, latency.RESIDUAL      # where the requantizer begins

        def held(value, stage):
            kept = Signal.like(value)
            with m.If(new.changes[stage]):
                m.d.sync += kept.eq(value)
            return kept
        clips, writes = first + latency.REQUANT, self.latency - 1
        return SimpleNamespace(
            lanes=[held(p.lane, latency.GATHER) for p in params], mults=[held(p.mult, first) for p in params],
            res_mult=held(Mux(command.residual, command.res_mult, 0), first),
            biases=[held(p.bias, first + latency.ADDED) for p in params],
            joins=[held(p.join, first + latency.ADDED) for p in params],
            shift=held(command.shift, first + latency.SCALE), lo=held(command.lo, clips - 1),
            hi=held(command.hi, clips - 1), table=held(command.table, clips) if self.tables else None,
            mem_out=held(command.mem_out, writes),
            source=[[held(s, writes) for s in group] for group in source],
            filled=[held(group, writes) for group in filled])

    def _beat(self, m, job, walk, pixel):
        """Whether a pixel of the lanes is visited and inside of the output."""
        beat = Signal(name=f"beat{pixel}")
        among = (pixel >= walk.pixel) & (pixel < walk.pixel + walk.count) if self.out_pixels > 1 else 1
        inside = walk.inside & (walk.x + self._ahead(walk, pixel) < job.cols)
        m.d.comb += beat.eq(walk.visit & inside & among & ~self.clear)
        return beat

    def _ahead(self, walk, pixel):
        """How many pixels a pixel of the lanes comes after the first that is visited."""
        return (pixel - walk.pixel)[:len(walk.pixel)] if self.out_pixels > 1 else 0

    def _place(self, walk, locator, pixel):
        """Of a pixel of the lanes that is visited, in its channel group."""
        place = locator.place[self._ahead(walk, pixel)] if self.out_pixels > 1 else locator.place[0]
        return place.bank, (place.addr + walk.second_group)[:len(place.addr)]

    def _accumulators(self, m, job, walk, pixel):
        """Stage 0: accumulators of a pixel of the lanes, pixel digits joined."""
        accs, lanes = [], self.row.payload
        for s in range(self.slots):
            acc = Signal(signed(self.joined_width), name=f"acc{pixel}_{s}")
            halves = [lanes[first + pixel][s] for first in range(0, self.lanes, self.out_pixels)]
            m.d.sync += acc.eq(Mux(walk.half, halves[-1], halves[0]))
            if pixel < latency.wide_pixels(self):
                with m.If(job.wide):
                    m.d.sync += acc.eq(lanes[2 * pixel][s] + (lanes[2 * pixel + 1][s] << self.act_digit_bits))
            accs.append(acc)
        return accs

    def _gather(self, m, job, walk, res, pixel, beat):
        """The residual of a pixel."""
        place, (bank, addr) = self.gather.place[pixel], self._place(walk, res, pixel)
        m.d.comb += [self.gather.en[pixel].eq(beat & job.residual), place.mem.eq(job.mem_res), place.bank.eq(bank),
                     place.addr.eq(addr)]

    def _requantize(self, m, stages, accs, pixel, platform):
        """Requantizers and tables; an accumulator waits for its residual. Returns the code of each slot."""
        codes, lane_bits = [], max(1, (self.ic - 1).bit_length())
        units = [Requant.of(self, acc_bits=self.joined_width, digit="whole" if s >= self.dsp_filters else PAIR[s % 2])
                 for s in range(self.slots)]
        for s, unit in enumerate(units):
            add_shared(m, f"requant{pixel}_{s}", unit, platform)
            if unit.digit == "low":
                m.d.comb += [unit.join.eq(stages.joins[s]), unit.high.eq(units[s + 1].product)]
            elif unit.digit == "high":
                m.d.comb += unit.join.eq(stages.joins[s - 1])
            code = Signal(8, name=f"res_code{pixel}_{s}")
            m.d.sync += code.eq(Array(self.gather.codes[pixel])[stages.lanes[s][:lane_bits]])
            m.d.comb += [unit.acc.eq(delay(m, accs[s], latency.RESIDUAL - 1)), unit.res.eq(code),
                         unit.mult.eq(stages.mults[s]), unit.res_mult.eq(stages.res_mult),
                         unit.bias.eq(stages.biases[s]), unit.shift.eq(stages.shift), unit.lo.eq(stages.lo),
                         unit.hi.eq(stages.hi)]
            codes.append(unit.code)
            if self.tables:
                levels = CodeTable(tables=self.tables)
                add_shared(m, f"table{pixel}_{s}", levels, platform)
                m.d.comb += [levels.code.eq(unit.code), levels.choice.eq(stages.table)]
                connect(m, flipped(self.tables_write), levels.write)
                codes[-1] = levels.out
        return codes

    def _write(self, m, stages, walk, out, pixel, beat, codes):
        """Crossbar from slots to lanes, then the write."""
        source, filled = stages.source, stages.filled
        second, word = walk.second_group, self.write.word[pixel]
        late = delay(m, Cat(beat, second, *self._place(walk, out, pixel)), self.latency - 1)
        group = late[1]
        m.d.sync += [self.write.en[pixel].eq(late[0]), word.place.mem.eq(stages.mem_out),
                     Cat(word.place.bank, word.place.addr).eq(late[2:]),
                     word.en.eq(Mux(group, filled[1], filled[0]))]
        for i in range(self.ic):
            m.d.sync += word.data[i].eq(Array(codes)[Mux(group, source[1][i], source[0][i])])
