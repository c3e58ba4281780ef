"""Requantizer of one filter slot: ``clip((acc*mult + res*res_mult + bias) >> shift, lo, hi)``."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Requant", "LATENCY", "RES_DELAY", "SUM_BITS"]

LATENCY = 7             # from ``acc`` to ``code``
RES_DELAY = 1           # ``res`` is given this many cycles after ``acc``
SUM_BITS = 48


class Requant(wiring.Component):
    """Fully pipelined, one value per cycle; parameters are constant while values are in flight.

    ``acc`` is signed, ``acc_bits`` wide (a port of the DSP slice), ``res`` an unsigned code. The bias holds the rounding
    half and all zero points (:mod:`spec.commands`).
    """

    def __init__(self, acc_bits):
        self.acc_bits = acc_bits
        super().__init__({"acc": In(signed(acc_bits)), "res": In(8), "mult": In(16), "res_mult": In(16),
                          "bias": In(signed(SUM_BITS)), "shift": In(6), "lo": In(8), "hi": In(8), "code": Out(8)})

    def elaborate(self, platform):
        m = Module()
        acc, mult = Signal(signed(self.acc_bits)), Signal(signed(17))
        res, res_mult = Signal(8), Signal(16)
        product, res_product = Signal(signed(self.acc_bits + 17)), Signal(24)
        biased, total = Signal(signed(SUM_BITS)), Signal(signed(SUM_BITS))
        m.d.sync += [
            acc.eq(self.acc), mult.eq(self.mult), product.eq(acc * mult), biased.eq(product + self.bias),
            res.eq(self.res), res_mult.eq(self.res_mult), res_product.eq(res * res_mult),
            total.eq(biased + res_product)]
        coarse = Signal(signed(SUM_BITS))
        fine = Signal(signed(SUM_BITS))
        m.d.sync += coarse.eq(total >> (self.shift[3:] << 3))
        m.d.sync += fine.eq(coarse >> self.shift[:3])
        m.d.sync += self.code.eq(Mux(fine < self.lo, self.lo, Mux(fine > self.hi, self.hi, fine[:8])))
        return m
