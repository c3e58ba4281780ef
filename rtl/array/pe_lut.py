"""Processing element on LUTs for power-of-two weights: 1 filter slot x 2 pixels x ``ic`` channels per cycle.

A weight code is sign (bit 3) and exponent (bits 2..0, 7 is zero). Negative products enter the sum in one's complement: the
result is ``sum(w*a) - (number of negative weights)``, and the compiler adds the constant to the bias.
"""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring

from spec.numerics import POT_EXP_MAX

from ..prim import add_tree, tree_levels
from .pe import finish, hop, pe_members

__all__ = ["LutPE"]


class LutPE(wiring.Component):
    """One filter by two pixels (:func:`pe_members`).

    ``lut_form`` "shift_add" shifts the activation in two stages of one LUT per bit. "product_lookup" selects one of the products
    of the activation with all levels, formed once for each pixel (Li et al., IOS-PoT).
    """

    def __init__(self, config):
        self.config = config
        super().__init__(pe_members(config, 1))

    def elaborate(self, platform):
        m = Module()
        c = self.config
        hop(m, self)
        magnitude = {"shift_add": _shift, "product_lookup": _look_up}[c.lut_form]
        width = c.act_digit_bits + POT_EXP_MAX
        totals = []
        for pixel in range(2):
            terms = []
            for i in range(c.ic):
                code = self.weights_out[4 * i:4 * i + 4]
                # One's complement with the top bit inverted: an unsigned value, 2^width too large.
                term = Signal(width + 1, name=f"term{pixel}_{i}", reset_less=True)
                product = magnitude(m, code, self.acts_out[pixel][i], width, f"{pixel}_{i}")
                m.d.sync += term.eq(Cat(product ^ code[3].replicate(width), ~code[3]))
                terms.append(term)
            totals.append(add_tree(m, c, terms, f"tree{pixel}", platform))
        finish(m, c, self, totals, c.ic << width, 1 + tree_levels(c.ic))
        return m


def _shift(m, code, act, width, name):
    fine = Signal(len(act) + 3, name=f"fine{name}")
    product = Signal(width, name=f"product{name}")
    m.d.comb += [fine.eq(act << code[:2]),
                 product.eq(Mux(code[2], Mux(code[:2] == 3, 0, fine << 4), fine))]
    return product


def _look_up(m, code, act, width, name):
    product = Signal(width, name=f"product{name}")
    products = [act << e for e in range(POT_EXP_MAX + 1)] + [Const(0)]
    m.d.comb += product.eq(Array(products)[code[:3]])
    return product
