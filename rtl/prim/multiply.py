"""Multiplier of a few LUTs for products that are needed once per command."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Member, Out

from .block import Block, Parameter

__all__ = ["SerialMultiplier"]


class SerialMultiplier(Block):
    """``product = x * y``, unsigned.

    Latency: ``done`` rises one cycle after ``start`` and one more for each bit of ``x`` up to its highest that is 1,
    and stays until the next ``start``, which begins anew at any time. One product at a time.

    Parameters
    ----------
    x_bits, y_bits : of the factors.

    Members
    -------
    x, y : the factors, taken with ``start``.
    start, done, product : as above; ``product`` counts while ``done`` is high.
    """
    x_bits = Parameter()
    y_bits = Parameter()

    def members(self) -> dict[str, Member]:
        return {"x": In(self.x_bits), "y": In(self.y_bits), "start": In(1), "done": Out(1),
                "product": Out(self.x_bits + self.y_bits)}

    def elaborate(self, platform):
        m = Module()
        x, y = Signal(self.x_bits), Signal(self.x_bits + self.y_bits)
        m.d.comb += self.done.eq(x == 0)
        with m.If(self.start):
            m.d.sync += [x.eq(self.x), y.eq(self.y), self.product.eq(0)]
        with m.Else():
            m.d.sync += [x.eq(x >> 1), y.eq(y << 1)]
            with m.If(x[0]):
                m.d.sync += self.product.eq(self.product + y)
        return m
