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
    COMMAND, PARAM, Parameter, ResetInserter, WithFilters, act_write_port, add_shared, check_out_pixels, delay,
    gather_port, lanes_layout, param_port, table_port)
from .requant import Requant
from .walk import Walk

__all__ = ["Post"]

PAIR = ("low", "high")      # DSP slots


class Post(WithFilters):
    """Executes the post side of CONV commands, one at a time.

    Parameters are fetched in ``slots + 1`` cycles, while the command before is still worked on; then one channel group
    of up to ``out_pixels`` pixels of a row is visited in each cycle; its write comes ``latency`` cycles after that.
    The visits of the next command follow a cycle later: what a stage of the pipeline takes from its command changes as
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
    param : parameters, read in :func:`spec.latency.record` cycles.
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
        m.submodules.walk = walk = Walk.of(self)
        new = self._next(m, walk)
        take, fed = self._control(m, new, walk)
        self._done(m, new, walk, take, fed)
        stages = self._stages(m, new, *self._parameters(m, new))
        visit, beats = walk.visit.payload, Signal(self.out_pixels)
        m.d.comb += beats.eq(Mux(take & ~self.clear, visit.pixels, 0))
        chosen = self._choose(m, stages, visit, beats)
        for pixel, beat in enumerate(beats):
            accs = self._accumulators(m, visit, pixel)
            self._gather(m, visit, pixel, beat)
            codes = self._requantize(m, stages, accs, pixel, platform)
            self._write(m, stages, visit, pixel, beat, codes, chosen)
        return ResetInserter(self.clear)(m)

    def _next(self, m, walk):
        """The next command, and which of its parameters arrives; it waits until the one before it has changed all
        stages."""
        until = latency.record(self)
        command, slot = Signal(COMMAND, reset_less=True), Signal(range(self.slots + 1 + until), reset_less=True)
        held, fetching = Signal(), Signal()
        start, ready, last, waits, changing = (Signal() for _ in range(5))
        changes = [delay(m, walk.change, n) for n in range(self.latency - 1)]
        m.d.comb += [self.cmd.ready.eq(~held & ~waits & ~changing), ready.eq(held & (~fetching | last)),
                     self.param.en.eq(fetching), self.param.addr.eq(command.param_base + slot)]
        with m.If(fetching):
            m.d.sync += [slot.eq(slot + 1), last.eq(slot == self.slots + until - 2), fetching.eq(~last)]
        loading = fetching
        for before in range(until):
            loading &= slot != before
        with m.If(changes[-1]):
            m.d.sync += changing.eq(0)
        with m.If(walk.change):
            m.d.sync += [waits.eq(0), changing.eq(1)]
        with m.If(start):
            m.d.sync += [held.eq(0), waits.eq(command.acc_last)]
        with m.If(self.cmd.ready):
            m.d.sync += [command.eq(self.cmd.payload), held.eq(self.cmd.valid), slot.eq(0), last.eq(0),
                         fetching.eq(self.cmd.valid & self.cmd.payload.acc_last)]
        return SimpleNamespace(command=command, held=held, slot=slot, loading=loading, ready=ready,
                               start=start, changes=changes, idle=Signal())

    def _control(self, m, new, walk):
        """Walk over a command, or wait until it is fed; go on with the next one. Returns whether a visit is taken, and
        whether a part has been fed."""
        take, fed = Signal(), Signal()
        m.d.comb += [walk.command.eq(new.command), walk.load.eq(new.start & new.command.acc_last),
                     walk.visit.ready.eq(self.row.valid), take.eq(walk.visit.valid & self.row.valid),
                     self.row.ready.eq(walk.visit.valid & walk.visit.payload.leaves | self.clear)]

        with m.FSM(name="post") as fsm:
            with m.State("IDLE"):
                with m.If(new.ready):
                    m.d.comb += new.start.eq(1)
                    m.next = "PART"
                    with m.If(new.command.acc_last):
                        m.next = "ROWS"
            with m.State("PART"):
                m.d.comb += fed.eq(self.fed & walk.none)
                with m.If(fed):
                    m.next = "IDLE"
            with m.State("ROWS"):
                with m.If(walk.last):
                    m.next = "IDLE"
            m.d.comb += new.idle.eq(fsm.ongoing("IDLE") & walk.none & ~new.held)
        return take, fed

    def _done(self, m, new, walk, take, fed):
        """What comes after the last visit, once the pipeline has let it through."""
        command, left = new.command, Signal(range(self.done_latency + 1))
        gathered = Cat(command.residual & (command.mem_res == mem) for mem in range(2))
        begun, about = Signal(26, reset_less=True), Signal(26, reset_less=True)
        with m.If(new.start):
            m.d.sync += begun.eq(Cat(command.give, command.tag, gathered))
        with m.If(walk.change):
            m.d.sync += about.eq(begun)
        m.d.comb += self.through.eq(take & walk.visit.payload.last | fed)
        line = delay(m, Mux(fed | walk.change, begun, about), self.done_latency, plain=True)
        m.d.comb += [self.done.eq(delay(m, self.through, self.done_latency)), self.give.eq(Mux(self.done, line[:8], 0)),
                     self.tag.eq(line[8:24]), self.gathered.eq(line[24:]), self.idle.eq(new.idle & (left == 0))]
        with m.If(self.through):
            m.d.sync += left.eq(self.done_latency)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)

    def _parameters(self, m, new):
        """Parameters of the next command's slots, and for each output channel lane of both groups the slot that fills
        it."""
        until = latency.record(self)
        params = [Signal(PARAM, name=f"param{s}", reset_less=True) for s in range(self.slots)]
        source = [[Signal(range(self.slots), name=f"source{g}_{i}", reset_less=True) for i in range(self.ic)]
                  for g in range(2)]
        filled = [Signal(self.ic, name=f"filled{g}") for g in range(2)]
        with m.If(self.cmd.ready):
            m.d.sync += [f.eq(0) for f in filled]
        with m.If(new.loading):
            for s in range(self.slots):
                with m.If(new.slot == s + until):
                    m.d.sync += params[s].eq(self.param.data)
            for g in range(2):
                for i in range(self.ic):
                    with m.If(self.param.data.valid & (self.param.data.second == g) & (self.param.data.lane == i)):
                        m.d.sync += [source[g][i].eq(new.slot - until), filled[g][i].eq(1)]
        return params, source, filled

    def _stages(self, m, new, params, source, filled):
        """What the stages of the pipeline take from a command: each from when its first visit comes there."""
        command, first = new.command, latency.RESIDUAL      # where the requantizer begins

        def held(value, stage):
            kept = Signal.like(value, reset_less=True)
            with m.If(new.changes[stage - 1]):      # so that it is right a cycle later, as the first visit is there
                m.d.sync += kept.eq(value)
            return kept
        clips, writes = first + latency.REQUANT, self.latency - 1
        return SimpleNamespace(
            lanes=[held(p.lane, first - 1) for p in params], mults=[held(p.mult, first) for p in params],
            res_mult=held(Mux(command.residual, command.res_mult, 0), first),
            biases=[held(p.bias, first + latency.ADDED) for p in params],
            joins=[held(p.join, first + latency.ADDED) for p in params],
            shift=held(command.shift, first + latency.SCALE), lo=held(command.lo, clips - 1),
            hi=held(command.hi, clips - 1), table=held(command.table, clips) if self.tables else None,
            mem_out=held(command.mem_out, writes),
            source=[[held(s, writes - 1) for s in group] for group in source],
            filled=[held(group, writes) for group in filled])

    def _accumulators(self, m, visit, pixel):
        """Stage 0: accumulators of a pixel of the lanes, pixel digits joined."""
        accs, lanes = [], self.row.payload
        for s in range(self.slots):
            acc = Signal(signed(self.joined_width), name=f"acc{pixel}_{s}", reset_less=True)
            halves = [lanes[first + pixel][s] for first in range(0, self.lanes, self.out_pixels)]
            m.d.sync += acc.eq(Mux(visit.half, halves[-1], halves[0]))
            if pixel < latency.wide_pixels(self):
                with m.If(visit.wide):
                    m.d.sync += acc.eq(lanes[2 * pixel][s] + (lanes[2 * pixel + 1][s] << self.act_digit_bits))
            accs.append(acc)
        return accs

    def _place(self, visit, places, pixel):
        """Of a pixel of the lanes that is visited, in its channel group."""
        place = places[pixel]
        return place.bank, (place.addr + visit.second)[:len(place.addr)]

    def _gather(self, m, visit, pixel, beat):
        """The residual of a pixel."""
        place, (bank, addr) = self.gather.place[pixel], self._place(visit, visit.res, pixel)
        m.d.sync += [self.gather.en[pixel].eq(beat & visit.residual), place.mem.eq(visit.mem_res), place.bank.eq(bank),
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
            code = Signal(8, name=f"res_code{pixel}_{s}", reset_less=True)
            m.d.sync += code.eq(Array(self.gather.codes[pixel])[stages.lanes[s][:lane_bits]])
            m.d.comb += [unit.acc.eq(delay(m, accs[s], latency.RESIDUAL - 1, flops=True)), unit.res.eq(code),
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

    def _choose(self, m, stages, visit, beats):
        """What the gathers and the writes of all pixels have in common. Returns the slot of each lane that is
        written."""
        m.d.sync += self.gather.mems.eq(Mux(beats.any() & visit.residual, Mux(visit.mem_res, 0b10, 0b01), 0))
        there = delay(m, beats.any(), self.latency - 1)
        early, chosen = delay(m, visit.second, self.latency - 2, plain=True), []
        late = delay(m, early, 1, plain=True)
        m.d.sync += [self.write.mems.eq(Mux(there, Mux(stages.mem_out, 0b10, 0b01), 0)),
                     self.write.mask.eq(Mux(late, stages.filled[1], stages.filled[0]))]
        for lane, (first, second) in enumerate(zip(*stages.source, strict=True)):
            chosen.append(Signal.like(first, name=f"chosen{lane}", reset_less=True))
            m.d.sync += chosen[-1].eq(Mux(early, second, first))
        return chosen

    def _write(self, m, stages, visit, pixel, beat, codes, chosen):
        """Crossbar from slots to lanes, then the write."""
        word = self.write.word[pixel]
        late = delay(m, Cat(self._place(visit, visit.out, pixel)), self.latency - 1, plain=True)
        m.d.sync += [self.write.en[pixel].eq(delay(m, beat, self.latency - 1)), word.place.mem.eq(stages.mem_out),
                     Cat(word.place.bank, word.place.addr).eq(late)]
        for lane, slot in enumerate(chosen):
            m.d.comb += word.data[lane].eq(delay(m, Array(codes)[slot], 1, plain=True))
