"""The only place where FIFOs are made: as streams, so that an entry without room waits and is not lost."""

from amaranth.hdl import Assert, Elaboratable, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from spec.errors import AlloyError
from spec.latency import BUFFERED, QUEUE
from spec.memories import Shape

from .ram import ram
from .small import change

__all__ = ["Queue"]


class Queue(wiring.Component):
    """First in, first out.

    Latency: :data:`spec.latency.QUEUE`, :data:`spec.latency.BUFFERED` with ``buffered``; one entry each cycle.

    Parameters
    ----------
    shape : of an entry.
    depth : entries that it holds at least, at any time and at any pace.
    buffered : entries leave from a register, as block RAM needs.
    block : and they are in block RAM, however few they are: wide entries would take many LUTs.
    late : of an entry in block RAM, from its lowest bits on, (bits, cycles after ``i.valid`` in which they come) of
        each part, later ones later; the entry is there when its last part is. None: all of it comes at once.
    reserved : who writes has reserved a place before and never waits: ``i`` has no ``ready`` to look at. In Amaranth's
        simulator an entry without a place is an error; synthesis has nothing of that.

    Members
    -------
    i, o : entries in and out.
    level : entries inside.

    Raises
    ------
    AlloyError : a depth below 1.
    """

    def __init__(self, shape, depth, *, buffered=False, reserved=False, block=False, late=None):
        if depth < 1:
            raise AlloyError(f"no queue holds {depth} entries: give 1 or more")
        self._shape, self._depth, self._buffered, self._reserved = shape, depth, buffered or block, reserved
        self._block, self._late = block, late
        super().__init__({"i": In(stream.Signature(shape, always_ready=reserved)), "o": Out(stream.Signature(shape)),
                          "level": Out(range(depth + 2))})

    @property
    def shape(self) -> ShapeLike:
        return self._shape

    @property
    def depth(self) -> int:
        return self._depth

    @property
    def buffered(self) -> bool:
        return self._buffered

    @property
    def reserved(self) -> bool:
        return self._reserved

    @property
    def latency(self) -> int:
        return BUFFERED if self._buffered else QUEUE

    def elaborate(self, platform):
        m = Module()
        width = len(Value.cast(self.i.payload))
        # The last register of a buffered FIFO fills a cycle late: until then there is one place less than its depth.
        if self._block:
            entries = _BlockFIFO(width=width, depth=self._depth + 1, late=self._late or [(width, 0)])
        elif self._buffered:
            entries = fifo.SyncFIFOBuffered(width=width, depth=self._depth + 1)
        else:
            entries = fifo.SyncFIFO(width=width, depth=self._depth)
        m.submodules.entries = entries
        m.d.comb += [
            entries.w_data.eq(self.i.payload), entries.w_en.eq(self.i.valid), entries.r_en.eq(self.o.ready),
            Value.cast(self.o.payload).eq(entries.r_data), self.o.valid.eq(entries.r_rdy), self.level.eq(entries.level)]
        if not self._reserved:
            m.d.comb += self.i.ready.eq(entries.w_rdy)
        elif platform is None:
            m.d.sync += Assert(~self.i.valid | entries.w_rdy, "an entry came for which no place was reserved")
        return m


class _BlockFIFO(Elaboratable, fifo.FIFOInterface):
    """As ``SyncFIFOBuffered``, with its memory, which is all but one of its ``depth`` entries, in block RAM: one memory
    for each of the parts of an entry that come ``late``."""

    def __init__(self, *, width, depth, late):
        super().__init__(width=width, depth=depth)
        self.level, self._late = Signal(range(depth + 1)), late

    def elaborate(self, platform):
        m = Module()
        last, low = self.depth - 2, 0
        count, held = Signal(range(self.depth)), Signal(range(self.depth))      # of whole entries, and of those begun
        begun, at, taken, out = Signal(), Signal(range(last + 1)), Signal(), Signal(range(last + 1))
        whole, place = begun, at            # that of the part at hand
        for number, (bits, later) in enumerate(self._late):
            m.submodules[f"storage{number}"] = storage = ram(Shape(last + 1, bits, "block"))
            for _ in range(later - (self._late[number - 1][1] if number else 0)):
                after, there = Signal(), Signal.like(at, reset_less=True)
                m.d.sync += [after.eq(whole), there.eq(place)]
                whole, place = after, there
            write, read = storage.write_port(), storage.read_port()
            m.d.comb += [write.en.eq(whole), write.addr.eq(place), write.data.eq(self.w_data[low:low + bits]),
                         read.en.eq(taken), read.addr.eq(out), self.r_data[low:low + bits].eq(read.data)]
            low += bits
        m.d.comb += [
            self.w_rdy.eq(held != self.depth - 1), begun.eq(self.w_en & self.w_rdy),
            taken.eq((count != 0) & (~self.r_rdy | self.r_en)), self.level.eq(held + self.r_rdy)]
        m.d.sync += [count.eq(count + change(whole, taken)), held.eq(held + change(begun, taken))]
        for moves, pointer in ((begun, at), (taken, out)):
            with m.If(moves):
                m.d.sync += pointer.eq(Mux(pointer == last, 0, pointer + 1))
        with m.If(taken | self.r_en):
            m.d.sync += self.r_rdy.eq(taken)
        return m
