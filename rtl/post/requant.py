"""Requantizer of one filter slot."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib.wiring import In, Member, Out

from spec.commands import SUM_BITS
from spec.latency import REQUANT
from spec.systems import DIGIT_BITS

from ..prim import Block, Parameter

__all__ = ["Requant"]

MULT_BITS = 16          # of a multiplier, unsigned


class Requant(Block):
    """``code = clip((acc*mult + res*res_mult + bias) >> shift, lo, hi)``.

    With ``join`` a filter of two slots adds ``2**DIGIT_BITS`` times ``high``, the ``product`` of its other one: digits
    are joined behind the multipliers, so that their sum need not fit a port of the DSP slice. Latency:
    :data:`spec.latency.REQUANT`, of ``product`` two cycles; one value each cycle.

    Parameters
    ----------
    acc_bits : of ``acc``, a port of the DSP slice.
    joins : there are ``join`` and ``high``.

    Members
    -------
    acc, res : signed accumulator, code of the residual.
    mult, res_mult, bias, shift, lo, hi, join : constant while values are in flight. The bias holds the rounding half
        and all zero points (:mod:`spec.commands`).
    code, product : results.
    high : ``product`` of the next slot, whose ``acc`` came together with this one's.
    """
    acc_bits = Parameter(2)
    joins = Parameter(choices=(False, True))

    @property
    def latency(self) -> int:
        return REQUANT

    def members(self) -> dict[str, Member]:
        product = signed(self.acc_bits + MULT_BITS + 1)
        return {"acc": In(signed(self.acc_bits)), "res": In(8), "mult": In(MULT_BITS), "res_mult": In(16),
                "bias": In(signed(SUM_BITS)), "shift": In(6), "lo": In(8), "hi": In(8), "code": Out(8),
                "product": Out(product), **({"join": In(1), "high": In(product)} if self.joins else {})}

    def elaborate(self, platform):
        m = Module()
        acc, mult = Signal(signed(self.acc_bits)), Signal(signed(MULT_BITS + 1))
        res, res_mult = Signal(8), Signal(16)
        biased, more, total = (Signal(signed(SUM_BITS)) for _ in range(3))
        res_product = Signal(24)
        joined = res_product + Mux(self.join, self.high << DIGIT_BITS, 0) if self.joins else res_product
        m.d.sync += [
            acc.eq(self.acc), mult.eq(self.mult), self.product.eq(acc * mult), biased.eq(self.product + self.bias),
            res.eq(self.res), res_mult.eq(self.res_mult), res_product.eq(res * res_mult),
            more.eq(joined), total.eq(biased + more)]
        coarse = Signal(signed(SUM_BITS))
        fine = Signal(signed(SUM_BITS))
        m.d.sync += coarse.eq(total >> (self.shift[3:] << 3))
        m.d.sync += fine.eq(coarse >> self.shift[:3])
        m.d.sync += self.code.eq(Mux(fine < self.lo, self.lo, Mux(fine > self.hi, self.hi, fine[:8])))
        return m
