"""Requantizer of one filter slot: ``clip((acc*mult + res*res_mult + bias) >> shift, lo, hi)``, where a filter of two slots adds 16 times the
product of its other one: digits are joined behind the multipliers, so that their sum need not fit a port of the DSP slice."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spec.commands import SUM_BITS
from spec.numerics import DIGIT_BITS

__all__ = ["Requant", "LATENCY", "SUM_BITS"]

LATENCY = 7             # from ``acc`` to ``code``


class Requant(wiring.Component):
    """Fully pipelined, one value per cycle; parameters are constant while values are in flight.

    ``acc`` is signed, ``acc_bits`` wide (a port of the DSP slice), ``res`` an unsigned code. The bias holds the rounding
    half and all zero points (:mod:`spec.commands`). With ``joins`` there are ``join`` and ``high``, the ``product`` of the next slot.
    """

    def __init__(self, acc_bits, joins=False):
        self.acc_bits, self.joins = acc_bits, joins
        product = signed(acc_bits + 17)
        super().__init__({"acc": In(signed(acc_bits)), "res": In(8), "mult": In(16), "res_mult": In(16),
                          "bias": In(signed(SUM_BITS)), "shift": In(6), "lo": In(8), "hi": In(8), "code": Out(8),
                          "product": Out(product), **({"join": In(1), "high": In(product)} if joins else {})})

    def elaborate(self, platform):
        m = Module()
        acc, mult = Signal(signed(self.acc_bits)), Signal(signed(17))
        res, res_mult = Signal(8), Signal(16)
        biased, more, total = (Signal(signed(SUM_BITS)) for _ in range(3))
        res_product = Signal(24)
        m.d.sync += [
            acc.eq(self.acc), mult.eq(self.mult), self.product.eq(acc * mult), biased.eq(self.product + self.bias),
            res.eq(self.res), res_mult.eq(self.res_mult), res_product.eq(res * res_mult),
            more.eq(res_product + Mux(self.join, self.high << DIGIT_BITS, 0) if self.joins else res_product), total.eq(biased + more)]
        coarse = Signal(signed(SUM_BITS))
        fine = Signal(signed(SUM_BITS))
        m.d.sync += coarse.eq(total >> (self.shift[3:] << 3))
        m.d.sync += fine.eq(coarse >> self.shift[:3])
        m.d.sync += self.code.eq(Mux(fine < self.lo, self.lo, Mux(fine > self.hi, self.hi, fine[:8])))
        return m
