"""Fetches the program: whole commands, in order, a few ahead of their use."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Member, Out

from spec import memories
from spec.commands import COMMAND_BYTES, FETCH_AHEAD, TOGETHER
from spec.config import PORT_BITS

from ..prim import COMMAND, Block, Parameter, Queue, ResetInserter, request_layout

__all__ = ["Fetch"]



class Fetch(Block):
    """Reads ``count`` commands from byte address ``at``.

    Commands are asked for when there is room for them here, so their data never waits in the read port that others
    share. Throughput: a command in ``8 * COMMAND_BYTES / port_bits + 1`` cycles.

    Parameters
    ----------
    addr_bits, port_bits, beat_bits : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    at, count, start : begin here; once, or after ``clear``.
    req, data : to and from the read port.
    cmd : the commands.
    progress : a request or a beat moved.
    clear : forget everything.
    """

    addr_bits = Parameter(32, high=64)
    port_bits = Parameter(choices=PORT_BITS)
    beat_bits = Parameter()

    def members(self) -> dict[str, Member]:
        return {
            "at": In(self.addr_bits), "count": In(32), "start": In(1),
            "req": Out(stream.Signature(request_layout(self))), "data": In(stream.Signature(self.port_bits)),
            "cmd": Out(stream.Signature(COMMAND)), "progress": Out(1), "clear": In(1)}

    def elaborate(self, platform):
        m = Module()
        beats = 8 * COMMAND_BYTES // self.port_bits
        m.submodules.queue = queue = Queue(self.port_bits, memories.fetched(self).depth, buffered=True, reserved=True)
        at, left, room = Signal(self.addr_bits), Signal(32), Signal(range(FETCH_AHEAD + 1), init=FETCH_AHEAD)
        word, beat, full = Signal(8 * COMMAND_BYTES, reset_less=True), Signal(range(beats)), Signal()
        asks, number, asked, last, back = Signal(), Signal(range(TOGETHER + 1)), Signal(), Signal(), Signal()
        m.d.comb += [
            self.req.valid.eq(asks), self.req.payload.addr.eq(at), self.req.payload.beats.eq(number * beats),
            asked.eq(self.req.valid & self.req.ready),
            queue.i.payload.eq(self.data.payload), queue.i.valid.eq(self.data.valid), self.data.ready.eq(1),
            queue.o.ready.eq(~full), last.eq(queue.o.valid & queue.o.ready & (beat == beats - 1)),
            self.cmd.payload.eq(word), self.cmd.valid.eq(full),
            self.progress.eq(asked | self.data.valid)]
        fresh, some, many = Signal(), Signal(), Signal()        # ``left`` is new; at least one, at least TOGETHER
        # The last request of a program may be for less: nothing is asked for behind it.
        m.d.sync += [back.eq(last), room.eq(room + Mux(asked, Mux(back, 1 - TOGETHER, -TOGETHER), back)),
                     fresh.eq(self.start | asked), some.eq(left != 0), many.eq(left >= TOGETHER)]
        with m.If(~asks & ~fresh):
            m.d.sync += [asks.eq(some & (room >= TOGETHER)), number.eq(Mux(many, TOGETHER, left))]
        with m.If(self.start):
            m.d.sync += [at.eq(self.at), left.eq(self.count)]
        with m.Elif(asked):
            m.d.sync += [asks.eq(0), at.eq(at + number * COMMAND_BYTES), left.eq(left - number)]
        with m.If(queue.o.valid & queue.o.ready):
            m.d.sync += [word.eq(Cat(word[self.port_bits:], queue.o.payload)), beat.eq(Mux(last, 0, beat + 1)),
                         full.eq(last)]
        with m.Elif(self.cmd.ready):
            m.d.sync += full.eq(0)
        return ResetInserter(self.clear)(m)
