"""A stream between registers: neither side sees what the other's follows from."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Stage"]


class Stage(wiring.Component):
    """Stream ``i`` to ``o``: ``i.ready``, ``o.valid`` and ``o.payload`` are registers.

    What comes while ``o`` waits is kept beside. Latency: 1 cycle; one payload each cycle.

    Parameters
    ----------
    shape : of a payload.

    Members
    -------
    i, o : the stream in and out.
    """

    def __init__(self, shape):
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        empty, kept = Signal(init=1), Signal(self._shape, reset_less=True)
        valid, payload = Signal(), Signal(self._shape, reset_less=True)
        m.d.comb += [self.i.ready.eq(empty), self.o.valid.eq(valid), self.o.payload.eq(payload)]
        with m.If(~valid | self.o.ready):
            m.d.sync += [valid.eq(self.i.valid | ~empty), payload.eq(Mux(empty, self.i.payload, kept)), empty.eq(1)]
        with m.Elif(self.i.valid):
            m.d.sync += empty.eq(0)
        with m.If(empty):
            m.d.sync += kept.eq(self.i.payload)
        return m
