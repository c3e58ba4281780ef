"""Load unit: moves weights, parameters, taps and activations from DRAM into the on-chip memories."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out

from spec.commands import LOADS_AHEAD, PARAM_BYTES, Error, Opcode
from spec.config import DSP_DEVICES
from spec.devices import MULTIPLIERS
from spec.kwords import word_bits
from spec.latency import PARTS
from spec.memories import RECORD_BITS, TABLE_CODES

from ..prim import (
    COMMAND, VIEW, Parameter, Queue, ResetInserter, SerialMultiplier, Slice, Stage, error_layout, join_streams,
    loaded, request_layout, view_of, write_layout)
from .decode import WeightDecoder
from .group import GroupBlock
from .image import IMAGE, ImageReader, image_of
from .rows import RowReader

__all__ = ["Load"]


def _job_layout(coded, port_bytes):
    """What the data side keeps of a command; ``coded``: weights may be."""
    coded = {"beats": 32, "codes": 48} if coded else {}
    return data.StructLayout({
        "opcode": 8, "give": 8, "dst": 16, "count": 16, "rows": 16, "cols": 16, "view": VIEW, "mem": 1, "image": IMAGE,
        "low": range(port_bytes), "stride": range(port_bytes), **coded})


class _Words:
    """Counts k-words or records: ``at`` is the address of the next one, ``last`` the last one, ``over`` none.

    All are registers.
    """

    def __init__(self):
        self.at, self.last, self.over, self._left = Signal(16), Signal(), Signal(), Signal(16)

    def begin(self, m, job):
        m.d.sync += [self.at.eq(job.dst), self._left.eq(job.count), self.last.eq(job.count == 1),
                     self.over.eq(job.count == 0)]

    def step(self, m):
        m.d.sync += [self.at.eq(self.at + 1), self._left.eq(self._left - 1), self.last.eq(self._left == 2),
                     self.over.eq(self.last)]


class Load(GroupBlock):
    """Runs the five load commands (docs/architecture.md, Load and store).

    The issue side sends the read requests of a command while the data side still takes data of up to three commands
    before it. Weights come over all ports (coded ones through the decoder, if there is one), records over one port,
    the rows of activations in turn over ``act_lanes`` ports, the last ones (port 0 also fetches commands), those of an
    image over two of them. Throughput: one wide beat, one record, one beat of each lane or one window of an image each
    cycle, a few cycles for a record of a table, which is written in parts; one to three cycles between commands. All
    write outputs come from registers.

    Parameters
    ----------
    slots, dsp_device, weight_depth, param_depth, tap_depth, tables, decode_lanes, decode_width, decode_steps, ports,
    record_port, addr_bits, beat_bits, port_bytes, act_lanes, image_lanes, weight_beats : as in
        :class:`spec.config.EngineConfig`.

    Members
    -------
    cmd : commands, in order; taken when their requests are under way.
    base : byte address of the DRAM window.
    req, data : to and from each read port.
    memories : weights, parameters, taps and tables (:func:`rtl.prim.loaded`).
    act : one channel group of one pixel.
    give : semaphores of a command, one cycle after its last write, of activations two.
    idle : no command here. Low from the cycle after a command is offered until its ``give`` is over.
    error : the command is none of the load unit.
    progress : a request or a beat moved in the cycle before.
    moving : a beat was taken in this cycle.
    clear : forget everything.
    """

    slots = Parameter()
    dsp_device = Parameter(choices=DSP_DEVICES)
    weight_depth = Parameter()
    param_depth = Parameter()
    tap_depth = Parameter()
    tables = Parameter(0, high=15)
    decode_lanes = Parameter(0)
    decode_width = Parameter(0, high=32)
    decode_steps = Parameter(0)
    ports = Parameter()
    record_port = Parameter(0)
    addr_bits = Parameter(32, high=64)
    beat_bits = Parameter()
    port_bytes = Parameter(choices=(4, 8, 16, 32))
    act_lanes = Parameter()
    image_lanes = Parameter(1, high=2)
    weight_beats = Parameter()

    def members(self) -> dict[str, Member]:
        return {
            "cmd": In(stream.Signature(COMMAND)), "base": In(self.addr_bits),
            "req": Out(stream.Signature(request_layout(self))).array(self.ports),
            "data": In(stream.Signature(self.port_bits)).array(self.ports),
            "memories": Out(loaded(self)),
            "act": Out(stream.Signature(write_layout(self))),
            "give": Out(8), "idle": Out(1), "error": Out(error_layout()), "progress": Out(1), "moving": Out(1),
            "clear": In(1)}

    def elaborate(self, platform):
        m = Module()
        # The job at hand is in a register, the others wait.
        layout = _job_layout(self.decode_lanes, self.port_bytes)
        m.submodules.jobs = jobs = Queue(layout, LOADS_AHEAD - 1)
        job, there, done = Signal(layout, reset_less=True), Signal(), Signal()
        weights, act = Signal(reset_less=True), Signal(reset_less=True)
        m.d.comb += jobs.o.ready.eq(~there | done)
        with m.If(jobs.o.ready):
            m.d.sync += [job.eq(jobs.o.payload), there.eq(jobs.o.valid),
                         weights.eq(jobs.o.payload.opcode == Opcode.LOAD_WEIGHTS),
                         act.eq(jobs.o.payload.opcode == Opcode.LOAD_ACT)]
        issuing = self._issue(m, jobs)
        self._take(m, job, there & weights, there & act, there, done)
        m.d.comb += self.idle.eq(~issuing & ~there & (jobs.level == 0) & (self.give == 0))
        m.d.sync += self.progress.eq(Cat(*(r.valid & r.ready for r in self.req), self.moving).any())
        return ResetInserter(self.clear)(m)

    def _issue(self, m, jobs):
        """Reads ``cmd`` where it is, sends its requests, then takes it. Returns whether it has work.

        What follows from ``cmd`` alone is in registers, which are right from the cycle after it comes on.
        """
        cmd = self.cmd.payload
        m.submodules.multiply = multiply = SerialMultiplier(x_bits=8, y_bits=16)
        weights, act, records, image = self._kinds(m)
        at, lane, port = Signal(self.addr_bits), Signal(range(self.act_lanes)), Signal(range(self.ports))
        rows, left, none, final = Signal(17), Signal(17), Signal(), Signal()
        m.d.sync += [none.eq(rows == 0), rows.eq(Mux(cmd.image, (cmd.rows << cmd.pair) - Cat(
            cmd.above ^ cmd.below, cmd.above & cmd.below), cmd.rows))]
        chosen, free = Signal(), Signal()
        self._requests(m, at, image, self._beats(m, weights, records, multiply), port, chosen, free)
        self._job(m, jobs.i.payload, multiply)

        with m.FSM(name="issue") as fsm:
            with m.State("IDLE"):
                with m.If(self.cmd.valid & jobs.i.ready):
                    m.next = "LOOK"
            with m.State("LOOK"):
                first = image & cmd.above if self.image_lanes == 2 else 0       # a row's lane is that of its half
                m.d.sync += [at.eq(self.base + cmd.dram), lane.eq(first), port.eq(
                    Mux(act, self.ports - 1 - first, Mux(records, self.record_port, 0)))]
                with m.If(weights | act | records):
                    m.d.comb += [jobs.i.valid.eq(1), multiply.start.eq(act)]
                    m.next = "SIZE"
                with m.Else():
                    m.next = "REFUSE"
            with m.State("SIZE"):
                m.d.sync += [left.eq(Mux(act, rows, self.ports)),
                             final.eq(Mux(act, rows == 1, records | (self.ports == 1)))]
                with m.If(~act | multiply.done):
                    m.next = "SEND"
                    with m.If(act & none):      # all rows of the image lie outside
                        m.next = "TAKE"
            with m.State("SEND"):
                with m.If(free):
                    m.d.comb += chosen.eq(1)
                    m.d.sync += [at.eq(at + cmd.stride), left.eq(left - 1), final.eq(left == 2)]
                    with m.If(weights):
                        m.d.sync += port.eq(port + 1)
                    with m.Elif(lane == Mux(image, self.image_lanes, self.act_lanes) - 1):
                        m.d.sync += [port.eq(self.ports - 1), lane.eq(0)]
                    with m.Else():
                        m.d.sync += [port.eq(port - 1), lane.eq(lane + 1)]
                    with m.If(final):
                        m.next = "TAKE"
            with m.State("TAKE"):
                m.d.comb += self.cmd.ready.eq(1)
                m.next = "IDLE"
            with m.State("REFUSE"):
                m.d.comb += [self.error.valid.eq(1), self.error.code.eq(Error.OPCODE), self.error.tag.eq(cmd.tag)]
        return self.cmd.valid | ~fsm.ongoing("IDLE") | Cat(r.valid for r in self.req).any()

    def _kinds(self, m):
        """Registers: what the command loads."""
        weights, act, records, image, cmd = Signal(), Signal(), Signal(), Signal(), self.cmd.payload
        m.d.sync += [
            weights.eq(cmd.opcode == Opcode.LOAD_WEIGHTS), act.eq(cmd.opcode == Opcode.LOAD_ACT),
            records.eq(Cat(cmd.opcode == o for o in (Opcode.LOAD_PARAMS, Opcode.LOAD_TAPS, Opcode.LOAD_TABLES)).any()),
            image.eq((cmd.opcode == Opcode.LOAD_ACT) & cmd.image)]
        return weights, act, records, image

    def _beats(self, m, weights, records, multiply):
        """Register: beats of each request, but for those of an image; it is right when the multiplier is done."""
        cmd, beats = self.cmd.payload, Signal(self.beat_bits)
        with m.If(weights):
            m.d.sync += beats.eq(cmd.count * self.weight_beats)
            if self.decode_lanes:
                with m.If(cmd.beats != 0):
                    m.d.sync += beats.eq(cmd.beats)
        with m.Elif(records):
            m.d.sync += beats.eq((cmd.count * PARAM_BYTES + (self.port_bytes - 1)) // self.port_bytes)
        with m.Else():
            m.d.sync += beats.eq(multiply.product * self.group_beats)
        return beats

    def _requests(self, m, at, image, beats, port, chosen, free):
        """One request waits in front of each port, so the ports need not take theirs together.

        ``free``: there is room in front of ``port``; ``chosen`` puts one from ``at`` on there.
        """
        # Rows of an image lie at any byte: all beats that hold one of theirs.
        inner = (self.port_bytes - 1).bit_length()
        bytes_ = Signal(range(self.port_bytes + (1 << len(self.cmd.payload.bytes))))
        m.d.sync += bytes_.eq(self.cmd.payload.bytes + (self.port_bytes - 1))
        count = Mux(image, (at[:inner] + bytes_) >> inner, beats)
        for n, req in enumerate(self.req):
            with m.If(port == n):
                m.d.comb += free.eq(~req.valid)
            with m.If(chosen & (port == n)):
                m.d.sync += [req.payload.addr.eq(Cat(Const(0, inner), at[inner:])), req.payload.beats.eq(count),
                             req.valid.eq(1)]
            with m.Elif(req.ready):
                m.d.sync += req.valid.eq(0)

    def _job(self, m, job, multiply):
        """What the data side needs of the command, and the factors of an activation row's groups."""
        cmd = self.cmd.payload
        same: tuple[str, ...] = ("opcode", "give", "dst", "count", "rows", "cols")
        same += ("beats", "codes") if self.decode_lanes else ()
        m.d.comb += [getattr(job, n).eq(cmd[n]) for n in same]
        m.d.comb += [job.view.eq(view_of(cmd, "out")), job.mem.eq(cmd.mem_out), multiply.x.eq(cmd.out_groups),
                     multiply.y.eq(cmd.cols), job.image.eq(image_of(cmd)), job.low.eq(cmd.dram),
                     job.stride.eq(cmd.stride)]

    def _beats_in(self, m):
        """The beats of each port, behind a stage; those of a port that brings weights alone are taken from a register,
        with all others."""
        beats, alone = [], len(self.data) - max(self.act_lanes, self.image_lanes)
        for number, port in enumerate(self.data):
            m.submodules[f"stage{number}"] = stage = (Slice if number < alone else Stage)(self.port_bits)
            join_streams(m, port, stage.i)
            beats.append(stage.o)
        m.d.comb += self.moving.eq(Cat(beat.valid & beat.ready for beat in beats).any())
        return beats

    def _take(self, m, job, weights, act, there, done):
        """Takes the data of a ``job`` of ``weights``, of activations or of records until it is ``done``."""
        data = self._beats_in(m)
        to = self.memories
        m.d.sync += [self.give.eq(0), *(port.en.eq(0) for port in (to.weights, to.params, to.taps, to.tables))]
        k_word, record = Signal(word_bits(self.slots, self.ic), reset_less=True), Signal(RECORD_BITS, reset_less=True)
        m.d.comb += [to.weights.data.eq(k_word), *(port.data.eq(record) for port in (to.params, to.taps))]
        begin, coming, beats_left, words = Signal(), Signal(), Signal(32), _Words()
        with m.FSM(name="take"):
            with m.State("IDLE"):
                m.d.comb += begin.eq(act)
                words.begin(m, job)
                with m.If(weights):
                    m.next = "WEIGHTS"
                    if self.decode_lanes:
                        m.d.sync += beats_left.eq(job.beats)
                        with m.If(job.beats != 0):
                            m.next = "CODED"
                with m.Elif(act):
                    m.next = "ACTIVATIONS"
                with m.Elif(there):
                    m.next = "RECORDS"
            with m.State("WEIGHTS"):
                with m.If(self._weights(m, data, words, k_word) & words.last):
                    m.next = "FINISH"
            if self.decode_lanes:
                with m.State("CODED"):
                    self._coded(m, job, data, words, k_word, beats_left)
                    with m.If(words.over & (beats_left == 0)):
                        m.next = "FINISH"
            with m.State("RECORDS"):
                with m.If(self._records(m, job, data, words, record)):
                    m.next = "FINISH"
            with m.State("ACTIVATIONS"):
                with m.If(~coming):
                    m.d.comb += done.eq(1)
                    m.next = "IDLE"
            with m.State("FINISH"):     # the last write happens in this cycle
                m.d.comb += done.eq(1)
                m.next = "IDLE"
        with m.If(done):
            m.d.sync += self.give.eq(job.give)
        m.d.comb += coming.eq(self._activations(m, job, data, begin, coming))

    def _collect(self, m, name, words, taken, count, target):
        """Puts ``count`` beats, each of all ``words`` joined, together in ``target``; returns when the last is
        ``taken``."""
        beat, width, last = Signal(range(count), name=f"{name}_beat"), sum(len(w.p) for w in words), Signal()
        m.d.comb += last.eq(beat == count - 1)
        with m.If(taken):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
            for n in range(count):
                with m.If(beat == n):
                    m.d.sync += target[n * width:(n + 1) * width].eq(Cat(w.p for w in words))
        return taken & last

    def _weights(self, m, data, words, k_word):
        here = Cat(d.valid for d in data).all()
        m.d.comb += [d.ready.eq(here) for d in data]
        whole = self._collect(m, "weight", data, here, self.weight_beats, k_word)
        with m.If(whole):
            self._word(m, words)
        return whole

    def _word(self, m, words):
        """A k-word is complete."""
        port = self.memories.weights
        m.d.sync += [port.en.eq(1), port.addr.eq(words.at)]
        words.step(m)

    def _coded(self, m, job, data, words, k_word, beats_left):
        """Weights through the decoder; ``beats_left`` counts what is still to be taken.

        Streams of damaged weights that end early go on with anything, and what is left over is thrown away: neither may
        hold the engine.
        """
        m.submodules.decoder = decoder = WeightDecoder.of(self)
        come = Cat(d.valid for d in data).all() & (beats_left != 0)
        m.d.comb += [decoder.codes.eq(job.codes), decoder.active.eq(1),
                     decoder.data.valid.eq(come | (beats_left == 0)), decoder.out.ready.eq(~words.over),
                     decoder.data.payload.eq(Cat(d.payload for d in data))]
        taken = Signal()
        m.d.comb += [taken.eq(come & (decoder.data.ready | words.over)), *(d.ready.eq(taken) for d in data)]
        with m.If(taken):
            m.d.sync += beats_left.eq(beats_left - 1)
        step = decoder.out.valid & ~words.over
        with m.If(self._collect(m, "coded", [decoder.out], step, self.decode_steps, k_word)):
            self._word(m, words)

    def _records(self, m, job, data, words, record):
        """Returns whether the last one is here."""
        port, to = data[self.record_port], self.memories
        # A record of a table leaves in parts: until then the next one waits.
        parts, first = Signal(range(PARTS + 1)), Signal.like(to.tables.addr)
        tables = job.opcode == Opcode.LOAD_TABLES
        if self.port_bits <= RECORD_BITS:
            m.d.comb += port.ready.eq(parts == 0)
            whole = self._collect(m, "record", [port], port.valid & (parts == 0), RECORD_BITS // self.port_bits, record)
        else:
            # Several records in a beat: the beat is taken with its last record, or with the last of the command.
            per = self.port_bits // RECORD_BITS
            part, whole = Signal(range(per)), port.valid & (parts == 0)
            m.d.comb += port.ready.eq(((part == per - 1) | words.last) & (parts == 0))
            with m.If(whole):
                m.d.sync += [part.eq(Mux(port.ready, 0, part + 1)),
                             record.eq(port.payload.word_select(part, RECORD_BITS))]
        with m.If(whole):
            words.step(m)
            for port, opcode in ((to.taps, Opcode.LOAD_TAPS), (to.params, Opcode.LOAD_PARAMS)):
                m.d.sync += [port.en.eq(job.opcode == opcode), port.addr.eq(words.at)]
            with m.If(tables):
                m.d.sync += [parts.eq(PARTS), first.eq(words.at * PARTS)]
        with m.If(parts != 0):
            done = (PARTS - parts)[:PARTS.bit_length() - 1]
            m.d.sync += [parts.eq(parts - 1), to.tables.en.eq(1), to.tables.addr.eq(first + done),
                         to.tables.data.eq(record.word_select(done, 8 * TABLE_CODES))]
        return Mux(tables, (parts == 1) & words.over, whole & words.last)

    def _activations(self, m, job, data, begin, coming):
        """Takes rows over all lanes from the cycle after ``begin`` on; returns whether some still come."""
        act = self.act
        kind = Stage if MULTIPLIERS[self.dsp_device].slow else Slice
        m.submodules.written = written = kind(act.payload.shape())
        join_streams(m, written.o, act)
        before: Value = Const(0)
        readers: list[ImageReader | RowReader] = [ImageReader.of(self)]
        readers += [RowReader.of(self, first=number) for number in range(self.act_lanes)]
        for number, reader in enumerate(readers):
            m.submodules[f"reader{number}"] = reader
            mine, open = job.image.image == (number == 0), Signal(name=f"open{number}")
            m.d.sync += open.eq(mine & (begin | open & coming))
            m.d.comb += [reader.begin.eq(begin & mine), reader.rows.eq(job.rows), reader.cols.eq(job.cols),
                         reader.out.ready.eq(written.i.ready & ~before)]
            if number:
                m.d.comb += [reader.view.eq(job.view), reader.mem.eq(job.mem)]
            streams = reader.data if number == 0 else [reader.data]
            for lane, taken in enumerate(streams, max(number - 1, 0)):
                port = data[-1 - lane]
                m.d.comb += [taken.payload.eq(port.payload), taken.valid.eq(port.valid & open)]
                with m.If(open):
                    m.d.comb += port.ready.eq(taken.ready)
            with m.If(reader.out.valid & ~before):
                m.d.comb += [written.i.valid.eq(1), written.i.payload.eq(reader.out.payload)]
            before = before | reader.out.valid
        image, first = readers[:2]
        m.d.comb += [image.image.eq(job.image), image.low.eq(job.low), image.stride.eq(job.stride),
                     first.walk.eq(image.walk), image.place.eq(first.place)]
        busy = Mux(job.image.image, readers[0].busy, Cat(reader.busy for reader in readers[1:]).any())
        return busy | act.valid
