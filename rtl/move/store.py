"""Store unit: writes a region of an activation memory to DRAM."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out

from spec import memories
from spec.commands import Error, Opcode
from spec.memories import STORES_AHEAD

from ..prim import (
    COMMAND, Locator, Parameter, Queue, ResetInserter, SerialMultiplier, error_layout, join_streams,
    request_layout, store_port, view_of)
from .group import GroupBlock

__all__ = ["Store"]


class Store(GroupBlock):
    """Runs STORE_ACT (docs/architecture.md, Load and store), one command at a time.

    Throughput: one beat each cycle as long as a gather takes at most 12 cycles. Padding of a group is written as zeros.

    Parameters
    ----------
    ic, pixels, act_depth, addr_bits, port_bits, beat_bits, group_beats : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    cmd : commands; taken when they are done.
    base : byte address of the DRAM window.
    gather : one channel group; the codes come in the order asked, at any time after, and there is room for everything
        asked.
    req, data, done : to and from the write port.
    give : semaphores of a command, when the last write response has arrived.
    idle : no command here; low until ``give`` is over.
    error : the command is no STORE_ACT.
    progress : something moved.
    moving : a beat was sent in this cycle.
    clear : forget everything.
    """

    addr_bits = Parameter(32, high=64)
    beat_bits = Parameter()

    def members(self) -> dict[str, Member]:
        beat = data.StructLayout({"data": self.port_bits, "strb": self.port_bits // 8})
        return {
            "cmd": In(stream.Signature(COMMAND)), "base": In(self.addr_bits),
            "gather": Out(store_port(self)),
            "req": Out(stream.Signature(request_layout(self))), "data": Out(stream.Signature(beat)), "done": In(1),
            "give": Out(8), "idle": Out(1), "error": Out(error_layout()), "progress": Out(1), "moving": Out(1),
            "clear": In(1)}

    def elaborate(self, platform):
        m = Module()
        cmd = self.cmd.payload
        m.submodules.multiply = multiply = SerialMultiplier(x_bits=8, y_bits=16)
        m.submodules.locator = locator = Locator.of(self, count=1)
        m.submodules.asked = asked = Queue(self.gather.place.payload.shape(), 2)
        begin, sized, active = Signal(), Signal(), Signal()
        room, some = Signal(range(STORES_AHEAD + 1), init=STORES_AHEAD), Signal(init=1)    # ``some``: not 0
        join_streams(m, asked.o, self.gather.place)
        self._gather(m, locator, asked.i, some, begin, sized)
        moved, answered = self._request(m, multiply, begin, sized, active)
        self._send(m, asked.i, room, some)
        m.d.comb += [multiply.x.eq(cmd.out_groups), multiply.y.eq(cmd.cols), multiply.start.eq(begin),
                     locator.view.eq(view_of(cmd, "out")), locator.load.eq(begin)]

        m.d.sync += [self.give.eq(0), begin.eq(0)]
        with m.FSM(name="store"):
            with m.State("IDLE"):
                with m.If(self.cmd.valid):
                    with m.If(cmd.opcode == Opcode.STORE_ACT):
                        m.d.sync += begin.eq(1)
                        m.next = "BEGIN"
                    with m.Else():
                        m.next = "REFUSE"
            with m.State("BEGIN"):
                m.next = "SIZE"
            with m.State("SIZE"):
                with m.If(multiply.done):
                    m.d.comb += sized.eq(1)
                    m.next = "ACTIVE"
            with m.State("ACTIVE"):
                m.d.comb += active.eq(1)
                with m.If(answered):        # so all has been sent, and gathered before
                    m.d.comb += self.cmd.ready.eq(1)
                    m.d.sync += self.give.eq(cmd.give)
                    m.next = "IDLE"
            with m.State("REFUSE"):
                m.d.comb += [self.error.valid.eq(1), self.error.code.eq(Error.OPCODE), self.error.tag.eq(cmd.tag)]
        m.d.comb += [
            self.idle.eq(~self.cmd.valid & (self.give == 0)),
            self.moving.eq(self.data.valid & self.data.ready),
            self.progress.eq(self.moving | self.done | moved | self.gather.valid)]
        return ResetInserter(self.clear)(m)

    def _gather(self, m, locator, ask, some, begin, sized):
        """Asks for every group of every pixel while there is room."""
        cmd, place = self.cmd.payload, ask.payload
        cols, rows, group, left, asking = Signal(16), Signal(16), Signal(8), Signal(8), Signal()
        last_group, last_col = Signal(), Signal()       # of the pixel and of the row: those at hand
        m.d.comb += [ask.valid.eq(asking & some), place.mem.eq(cmd.mem_out),
                     place.bank.eq(locator.place[0].bank), place.addr.eq(locator.place[0].addr + group)]
        moved, next_pixel, next_row = Signal(), Signal(), Signal()
        m.d.comb += [moved.eq(ask.valid & ask.ready), next_pixel.eq(moved & last_group),
                     next_row.eq(next_pixel & last_col), locator.hold.eq(~next_pixel), locator.step.eq(1),
                     locator.next_row.eq(last_col)]
        with m.If(begin | next_pixel):
            m.d.sync += [group.eq(0), left.eq(cmd.out_groups), last_group.eq(cmd.out_groups == 1)]
        with m.Elif(moved):
            m.d.sync += [group.eq(group + 1), left.eq(left - 1), last_group.eq(left == 2)]
        with m.If(begin | next_row):
            m.d.sync += [cols.eq(cmd.cols), last_col.eq(cmd.cols == 1)]
        with m.Elif(next_pixel):
            m.d.sync += [cols.eq(cols - 1), last_col.eq(cols == 2)]
        with m.If(begin):
            m.d.sync += rows.eq(cmd.rows)
        with m.Elif(sized):
            m.d.sync += asking.eq(1)
        with m.Elif(next_row):
            m.d.sync += [rows.eq(rows - 1), asking.eq(rows != 1)]

    def _request(self, m, multiply, begin, sized, active):
        """One request for each row; returns, a cycle late, whether one has been taken, and whether all are answered."""
        cmd, req = self.cmd.payload, self.req
        rows, waiting, moved, answered = Signal(16), Signal(16), Signal(), Signal()
        at, beats = Signal(self.addr_bits), Signal(self.beat_bits)
        m.d.sync += [beats.eq(multiply.product * self.group_beats), moved.eq(req.valid & req.ready)]
        m.d.comb += [req.payload.addr.eq(at), req.payload.beats.eq(beats)]
        with m.If(begin):
            m.d.sync += [rows.eq(cmd.rows), at.eq(self.base + cmd.dram)]
        with m.Elif(sized):
            m.d.sync += req.valid.eq(rows != 0)
        with m.Elif(moved):
            m.d.sync += [rows.eq(rows - 1), at.eq(at + cmd.stride), req.valid.eq(rows != 1)]
        with m.Elif(req.ready):
            m.d.sync += req.valid.eq(0)
        with m.If(moved & ~self.done):
            m.d.sync += waiting.eq(waiting + 1)
        with m.Elif(self.done & ~moved):
            m.d.sync += waiting.eq(waiting - 1)
        m.d.sync += answered.eq(active & (rows == 0) & (waiting == 0))
        return moved, answered

    def _send(self, m, ask, room, some):
        """Cuts the groups that have arrived into beats."""
        count = self.group_beats
        shape = memories.stored(self)
        m.submodules.arrived = arrived = Queue(shape.width, shape.depth, reserved=True)
        beat, last, moved = Signal(range(count)), Signal(), Signal()
        padded = Cat(arrived.o.payload, Const(0, count * self.port_bits - 8 * self.ic))
        m.d.comb += [
            arrived.i.payload.eq(self.gather.codes), arrived.i.valid.eq(self.gather.valid),
            self.data.valid.eq(arrived.o.valid), self.data.payload.data.eq(padded.word_select(beat, self.port_bits)),
            self.data.payload.strb.eq(~0), moved.eq(self.data.valid & self.data.ready), last.eq(beat == count - 1),
            arrived.o.ready.eq(self.data.ready & last)]
        with m.If(moved):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        given, back = ask.valid & ask.ready, moved & last
        with m.If(given & ~back):
            m.d.sync += [room.eq(room - 1), some.eq(room != 1)]
        with m.Elif(back & ~given):
            m.d.sync += [room.eq(room + 1), some.eq(1)]
