"""Store unit: writes a region of an activation memory to DRAM."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spec.commands import Error, Opcode

from ..prim import (
    COMMAND, Locator, Queue, ResetInserter, SerialMultiplier, beat_count_width, error_layout, place_layout,
    request_layout, view_of)

__all__ = ["Store"]

DEPTH = 16          # channel groups that are asked for, waiting or being sent


class Store(wiring.Component):
    """Runs STORE_ACT (docs/architecture.md, Load and store), one command at a time.

    Throughput: one beat each cycle as long as a gather takes at most 12 cycles. Padding of a group is written as zeros.

    Members
    -------
    cmd : commands; taken when they are done.
    base : byte address of the DRAM window.
    gather : where to read one channel group.
    g_valid, g_data : the codes, in the order asked, at any time after; there is room for everything asked.
    req, data, done : to and from the write port.
    post : semaphores of a command, when the last write response has arrived.
    idle : no command here; low until ``post`` is over.
    error : the command is no STORE_ACT.
    progress : something moved.
    moving : a beat was sent in this cycle.
    clear : forget everything.
    """

    def __init__(self, config):
        self._config = c = config
        super().__init__({
            "cmd": In(stream.Signature(COMMAND)), "base": In(c.addr_bits),
            "gather": Out(stream.Signature(place_layout(c))), "g_valid": In(1), "g_data": In(8 * c.ic),
            "req": Out(stream.Signature(request_layout(c))),
            "data": Out(stream.Signature(data.StructLayout({"data": c.port_bits, "strb": c.port_bytes}))),
            "done": In(1),
            "post": Out(8), "idle": Out(1), "error": Out(error_layout()), "progress": Out(1), "moving": Out(1),
            "clear": In(1)})

    @property
    def config(self):
        return self._config

    def elaborate(self, platform):
        m = Module()
        c, cmd = self._config, self.cmd.payload
        m.submodules.multiply = multiply = SerialMultiplier(x_bits=8, y_bits=16)
        m.submodules.locator = locator = Locator(pixels=c.pixels, act_depth=c.act_depth)
        begin, run = Signal(), Signal()
        room = Signal(range(DEPTH + 1), init=DEPTH)
        gathered, requested = self._gather(m, locator, room, begin, run), self._request(m, multiply, begin, run)
        self._send(m, room)
        m.d.comb += [multiply.x.eq(cmd.out_groups), multiply.y.eq(cmd.cols), multiply.start.eq(begin),
                     locator.view.eq(view_of(cmd, "out")), locator.load.eq(begin)]

        m.d.sync += self.post.eq(0)
        with m.FSM(name="store"):
            with m.State("IDLE"):
                with m.If(self.cmd.valid):
                    with m.If(cmd.opcode == Opcode.STORE_ACT):
                        m.d.comb += begin.eq(1)
                        m.next = "SIZE"
                    with m.Else():
                        m.next = "REFUSE"
            with m.State("SIZE"):
                with m.If(multiply.done):
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += run.eq(1)
                with m.If(gathered & requested):
                    m.d.comb += self.cmd.ready.eq(1)
                    m.d.sync += self.post.eq(cmd.post)
                    m.next = "IDLE"
            with m.State("REFUSE"):
                m.d.comb += [self.error.valid.eq(1), self.error.code.eq(Error.OPCODE), self.error.tag.eq(cmd.tag)]
        m.d.comb += [
            self.idle.eq(~self.cmd.valid & (self.post == 0)),
            self.moving.eq(self.data.valid & self.data.ready),
            self.progress.eq(self.moving | self.done | (self.req.valid & self.req.ready) | self.g_valid)]
        return ResetInserter(self.clear)(m)

    def _gather(self, m, locator, room, begin, run):
        """Asks for every group of every pixel while there is room; returns whether all are asked for."""
        cmd, place = self.cmd.payload, self.gather.payload
        cols, rows, group, finished = Signal(16), Signal(16), Signal(8), Signal()
        m.d.comb += [self.gather.valid.eq(run & ~finished & (room != 0)), place.mem.eq(cmd.mem_out),
                     place.bank.eq(locator.bank), place.addr.eq(locator.addr + group)]
        with m.If(begin):
            m.d.sync += [cols.eq(cmd.cols), rows.eq(cmd.rows), group.eq(0), finished.eq(0)]
        with m.Elif(self.gather.valid & self.gather.ready):
            m.d.sync += group.eq(group + 1)
            with m.If(group == cmd.out_groups - 1):
                m.d.sync += [group.eq(0), cols.eq(cols - 1)]
                with m.If(cols == 1):
                    m.d.comb += locator.next_row.eq(1)
                    m.d.sync += [cols.eq(cmd.cols), rows.eq(rows - 1), finished.eq(rows == 1)]
                with m.Else():
                    m.d.comb += locator.step.eq(1)
        return finished

    def _request(self, m, multiply, begin, run):
        """One request for each row; returns whether all have been answered."""
        c, cmd, req = self._config, self.cmd.payload, self.req
        rows, waiting, moved = Signal(16), Signal(16), Signal()
        at, beats = Signal(c.addr_bits), Signal(beat_count_width(c))
        m.d.sync += beats.eq(multiply.product * (c.act_group_bytes // c.port_bytes))
        m.d.comb += [req.valid.eq(run & (rows != 0)), req.payload.addr.eq(at), req.payload.beats.eq(beats),
                     moved.eq(req.valid & req.ready)]
        with m.If(begin):
            m.d.sync += [rows.eq(cmd.rows), at.eq(self.base + cmd.dram)]
        with m.Elif(moved):
            m.d.sync += [rows.eq(rows - 1), at.eq(at + cmd.stride)]
        m.d.sync += waiting.eq(waiting + moved - self.done)
        return (rows == 0) & (waiting == 0)

    def _send(self, m, room):
        """Cuts the groups that have arrived into beats."""
        c = self._config
        count = c.act_group_bytes // c.port_bytes
        m.submodules.arrived = arrived = Queue(8 * c.ic, DEPTH, reserved=True)
        beat, last, moved = Signal(range(count)), Signal(), Signal()
        padded = Cat(arrived.o.payload, Const(0, 8 * (c.act_group_bytes - c.ic)))
        m.d.comb += [
            arrived.i.payload.eq(self.g_data), arrived.i.valid.eq(self.g_valid),
            self.data.valid.eq(arrived.o.valid), self.data.payload.data.eq(padded.word_select(beat, c.port_bits)),
            self.data.payload.strb.eq(~0), moved.eq(self.data.valid & self.data.ready), last.eq(beat == count - 1),
            arrived.o.ready.eq(self.data.ready & last)]
        with m.If(moved):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        m.d.sync += room.eq(room - (self.gather.valid & self.gather.ready) + (moved & last))
