"""Bytes on a wire: eight bits, no parity, one stop bit."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from spec.errors import AlloyError

__all__ = ["Receiver", "Transmitter"]

BITS = 8
LEAST = 4               # cycles of a bit: the middle of it is found


class _Wire(wiring.Component):
    """``divisor`` cycles for each bit."""

    def __init__(self, members, *, divisor):
        if divisor < LEAST:
            raise AlloyError(f"a bit of the UART takes {divisor} cycles: choose a rate of {LEAST} cycles or more")
        self._divisor = divisor
        super().__init__(members)

    @property
    def divisor(self) -> int:
        return self._divisor


class Receiver(_Wire):
    """What ``rx`` says, a byte at a time.

    ``o`` is valid for one cycle, in the middle of the stop bit; nobody waits. A byte without a stop bit is dropped.

    Parameters
    ----------
    divisor : cycles of a bit.

    Members
    -------
    rx : the wire, of another clock.
    o : the bytes.
    """

    def __init__(self, *, divisor):
        super().__init__({"rx": In(1), "o": Out(stream.Signature(BITS, always_ready=True))}, divisor=divisor)

    def elaborate(self, platform):
        m = Module()
        wire, last = Signal(init=1), Signal(init=1)
        m.submodules["synchronizer"] = FFSynchronizer(self.rx, wire, init=1)
        timer, left, kept = Signal(range(self._divisor + self._divisor // 2)), Signal(range(BITS + 2)), Signal(BITS)
        m.d.sync += [last.eq(wire), self.o.valid.eq(0)]
        m.d.comb += self.o.payload.eq(kept)
        with m.If(left == 0):
            with m.If(last & ~wire):            # the start bit: to the middle of the first bit behind it
                m.d.sync += [left.eq(BITS + 1), timer.eq(self._divisor + self._divisor // 2 - 1)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [left.eq(left - 1), timer.eq(self._divisor - 1)]
            with m.If(left == 1):
                m.d.sync += self.o.valid.eq(wire)
            with m.Else():
                m.d.sync += kept.eq(Cat(kept[1:], wire))
        return m


class Transmitter(_Wire):
    """Bytes onto ``tx``, one behind the other.

    Parameters
    ----------
    divisor : cycles of a bit.

    Members
    -------
    i : the bytes.
    tx : the wire, 1 while there is nothing to say.
    """

    def __init__(self, *, divisor):
        super().__init__({"i": In(stream.Signature(BITS)), "tx": Out(1, init=1)}, divisor=divisor)

    def elaborate(self, platform):
        m = Module()
        frame = Signal(BITS + 2, init=-1)
        timer, left = Signal(range(self._divisor)), Signal(range(BITS + 3))
        m.d.comb += [self.i.ready.eq(left == 0), self.tx.eq(frame[0])]
        with m.If(left == 0):
            with m.If(self.i.valid):
                m.d.sync += [frame.eq(Cat(Const(0, 1), self.i.payload, Const(1, 1))), left.eq(BITS + 2),
                             timer.eq(self._divisor - 1)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [frame.eq(Cat(frame[1:], Const(1, 1))), left.eq(left - 1), timer.eq(self._divisor - 1)]
        return m
