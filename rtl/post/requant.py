"""Requantizer of one filter slot."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib.wiring import In, Member, Out

from spec.commands import SUM_BITS
from spec.config import DSP_DEVICES
from spec.latency import REQUANT

from ..prim import Block, Parameter, Scaled, scaled_sum

__all__ = ["Requant"]

MULT_BITS = 16          # of a multiplier, unsigned
CODE_BITS = 8


class Requant(Block):
    """``code = clip((acc*mult + res*res_mult + bias) >> shift, lo, hi)``.

    A filter of two slots is a ``low`` and a ``high`` one that ``join``: the low one adds ``2**DIGIT_BITS`` times the
    ``product`` of the high one, whose code means nothing. Digits are joined behind the multipliers, so that their sum
    need not fit a port of the DSP slice. Latency: :data:`spec.latency.REQUANT`; one value each cycle.

    Parameters
    ----------
    acc_bits : of ``acc``, a port of the DSP slice.
    digit : ``low`` or ``high`` slot of a pair, or ``whole``, which has no other.
    dsp_device, portable_dsp : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    acc, res : signed accumulator, code of the residual.
    mult, res_mult : come with ``acc``.
    bias, join : come :data:`spec.latency.ADDED` cycles later. The bias holds the rounding half and all zero points
        (:mod:`spec.commands`).
    shift, lo, hi : come :data:`spec.latency.SCALE` cycles after ``acc``, and with the code: a cycle before it is there.
    code : the result.
    product, high : from the high slot to the low one, whose ``acc`` come together.
    """
    acc_bits = Parameter(2)
    digit = Parameter(choices=("whole", "low", "high"))
    dsp_device = Parameter(choices=DSP_DEVICES)
    portable_dsp = Parameter(choices=(False, True))

    @property
    def latency(self) -> int:
        return REQUANT

    def members(self) -> dict[str, Member]:
        product = signed(self.acc_bits + MULT_BITS)
        pair = {"whole": {}, "low": {"join": In(1), "high": In(product)},
                "high": {"join": In(1), "product": Out(product)}}
        return {"acc": In(signed(self.acc_bits)), "res": In(CODE_BITS), "mult": In(MULT_BITS), "res_mult": In(16),
                "bias": In(signed(SUM_BITS)), "shift": In(6), "lo": In(CODE_BITS), "hi": In(CODE_BITS),
                "code": Out(CODE_BITS), **pair[self.digit]}

    def elaborate(self, platform):
        m = Module()
        no, low, high = Const(0, 1), self.digit == "low", self.digit == "high"
        total, product = scaled_sum(m, self, Scaled(
            acc=self.acc, mult=self.mult, bias=self.bias, res=self.res, res_mult=self.res_mult,
            high=self.high if low else no, takes=self.join if low else no, gives=self.join if high else no), platform)
        if high:
            m.d.comb += self.product.eq(product)
        self._clip(m, total)
        return m

    def _clip(self, m, total):
        """Shift by whole bytes, then by bits. A number below 0 becomes ``lo``, so that no sign is shifted; of one that
        is too large it is enough to know that a 1 is left of the code."""
        bits, reach = total[:-1], 2 * CODE_BITS - 1       # a byte, and what can still be shifted into it
        left = [bits[at:at + CODE_BITS].any() for at in range(reach, len(bits), CODE_BITS)]
        below, beyond, coarse = (Signal(width, reset_less=True) for width in (1, 1, reach))
        m.d.sync += [below.eq(total[-1]), beyond.eq((Cat(left) >> self.shift[3:]).any()),
                     coarse.eq(bits >> (self.shift[3:] << 3))]
        negative, more, fine, bits_left = (Signal(width, reset_less=True) for width in (1, 1, CODE_BITS, 3))
        shifted = Signal(reach)
        m.d.sync += bits_left.eq(self.shift[:3])
        m.d.comb += shifted.eq(coarse >> bits_left)
        m.d.sync += [negative.eq(below), more.eq(beyond | shifted[CODE_BITS:].any()), fine.eq(shifted)]
        m.d.sync += self.code.eq(Mux(negative | (~more & (fine < self.lo)), self.lo,
                                     Mux(more | (fine > self.hi), self.hi, fine)))
