"""Multiplier of a few LUTs for products that are needed once per command."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SerialMultiplier"]


class SerialMultiplier(wiring.Component):
    """``product = x * y``, unsigned.

    Latency: ``done`` is high from ``x_bits + 1`` cycles after ``start`` until the next ``start``, at the latest; it comes
    sooner when the high bits of ``x`` are 0. ``start`` restarts it at any time.
    """

    def __init__(self, x_bits, y_bits):
        self._x_bits, self._y_bits = x_bits, y_bits
        super().__init__({"x": In(x_bits), "y": In(y_bits), "start": In(1), "done": Out(1), "product": Out(x_bits + y_bits)})

    @property
    def x_bits(self):
        return self._x_bits

    @property
    def y_bits(self):
        return self._y_bits

    def elaborate(self, platform):
        m = Module()
        x, y = Signal(self._x_bits), Signal(self._x_bits + self._y_bits)
        m.d.comb += self.done.eq(x == 0)
        with m.If(self.start):
            m.d.sync += [x.eq(self.x), y.eq(self.y), self.product.eq(0)]
        with m.Else():
            m.d.sync += [x.eq(x >> 1), y.eq(y << 1)]
            with m.If(x[0]):
                m.d.sync += self.product.eq(self.product + y)
        return m
