"""Register slices: what leaves the engine leaves from a register, at one payload each cycle (IHI 0022, A3.2.1)."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Skid", "Slice", "Stage"]


class _Through(wiring.Component):
    """A stream ``i`` to a stream ``o`` of the same ``shape``."""

    def __init__(self, shape):
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    @property
    def shape(self):
        return self._shape


class Slice(_Through):
    """Stream whose ``o.valid`` and ``o.payload`` are registers. Latency: 1 cycle; one payload each cycle.

    Parameters
    ----------
    shape : of a payload.

    Members
    -------
    i, o : the stream in and out.
    """

    def elaborate(self, platform):
        m = Module()
        valid, payload = Signal(), Signal(self._shape, reset_less=True)
        m.d.comb += [self.i.ready.eq(~valid | self.o.ready), self.o.valid.eq(valid), self.o.payload.eq(payload)]
        with m.If(self.i.ready):
            m.d.sync += [valid.eq(self.i.valid), payload.eq(self.i.payload)]
        return m


class Skid(_Through):
    """Stream whose ``i.ready`` is a register: what comes while ``o`` waits is kept beside.

    No latency; one payload each cycle.

    Parameters
    ----------
    shape : of a payload.

    Members
    -------
    i, o : the stream in and out.
    """

    def elaborate(self, platform):
        m = Module()
        empty, kept = Signal(init=1), Signal(self._shape, reset_less=True)
        m.d.comb += [self.i.ready.eq(empty), self.o.valid.eq(self.i.valid | ~empty),
                     self.o.payload.eq(Mux(empty, self.i.payload, kept))]
        m.d.sync += empty.eq(self.o.ready | (empty & ~self.i.valid))
        with m.If(empty):
            m.d.sync += kept.eq(self.i.payload)
        return m


class Stage(_Through):
    """Stream whose ``i.ready``, ``o.valid`` and ``o.payload`` are registers: a :class:`Slice` behind a :class:`Skid`.

    Latency: 1 cycle; one payload each cycle.

    Parameters
    ----------
    shape : of a payload.

    Members
    -------
    i, o : the stream in and out.
    """

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
