"""The only place where FIFOs are made: as streams, so that an entry without room waits and is not lost."""

from amaranth.hdl import Assert, Module, ShapeLike, Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from spec.errors import AlloyError
from spec.latency import BUFFERED, QUEUE

__all__ = ["Queue"]


class Queue(wiring.Component):
    """First in, first out.

    Latency: :data:`spec.latency.QUEUE`, :data:`spec.latency.BUFFERED` with ``buffered``; one entry each cycle.

    Parameters
    ----------
    shape : of an entry.
    depth : entries that it holds at least, at any time and at any pace.
    buffered : entries leave from a register, as block RAM needs.
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

    def __init__(self, shape, depth, *, buffered=False, reserved=False):
        if depth < 1:
            raise AlloyError(f"no queue holds {depth} entries: give 1 or more")
        self._shape, self._depth, self._buffered, self._reserved = shape, depth, buffered, reserved
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
        if self._buffered:
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
