"""Processing element on LUTs for power-of-two weights: 1 filter slot x 2 pixels x ``ic`` channels per cycle.

A weight code is sign (bit 3) and exponent (bits 2..0, 7 is zero). Negative products enter the sum in one's complement:
the result is ``sum(w*a) - (number of negative weights)``, and the compiler adds the constant to the bias.
"""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal

from spec import latency
from spec.config import LUT_FORMS
from spec.systems import EXPONENT_MAX, SIGN

from ..prim import Parameter, add_tree
from .pe import Element

__all__ = ["LutPE"]


class LutPE(Element):
    """One filter of power-of-two codes: an :class:`Element` on LUTs.

    Parameters
    ----------
    lut_form : "shift_add" shifts the activation in two stages of one LUT per bit; "product_lookup" selects one of the
        products of the activation with all levels, formed once for each pixel (Li et al., IOS-PoT).
    """
    SLOTS = 1

    lut_form = Parameter(choices=LUT_FORMS)

    @property
    def own_latency(self) -> int:
        return latency.lut_totals(self)

    def elaborate(self, platform):
        m = Module()
        self.hop(m)
        magnitude = {"shift_add": _shift, "product_lookup": _look_up}[self.lut_form]
        width = self.act_digit_bits + EXPONENT_MAX
        acts, totals = self.operands(), []
        for pixel in range(2):
            terms = []
            for i in range(self.ic):
                code = self.digits(0, i)
                # One's complement with the top bit inverted: an unsigned value, 2^width too large.
                term = Signal(width + 1, name=f"term{pixel}_{i}", reset_less=True)
                product = magnitude(m, code, acts[pixel][i], width, f"{pixel}_{i}")
                m.d.sync += term.eq(Cat(product ^ code[SIGN].replicate(width), ~code[SIGN]))
                terms.append(term)
            totals.append(add_tree(m, self, terms, f"tree{pixel}", platform))
        self.finish(m, totals, self.ic << width)
        return m


def _shift(m, code, act, width, name):
    fine = Signal(len(act) + 3, name=f"fine{name}")
    product = Signal(width, name=f"product{name}")
    m.d.comb += [fine.eq(act << code[:2]),
                 product.eq(Mux(code[2], Mux(code[:2] == 3, 0, fine << 4), fine))]
    return product


def _look_up(m, code, act, width, name):
    product = Signal(width, name=f"product{name}")
    products = [act << e for e in range(EXPONENT_MAX + 1)] + [Const(0)]
    m.d.comb += product.eq(Array(products)[code[:SIGN]])
    return product
