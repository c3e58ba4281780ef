"""Processing element on packed multipliers: 2 filter slots x 2 pixels x ``ic`` channels per cycle."""

from amaranth.hdl import Module
from amaranth.lib import wiring

from spec.packing import solve

from ..prim import CHAIN_LATENCY, add_tree, packed_chain, tree_levels
from .pe import finish, hop, pe_members

__all__ = ["DspPE"]


class DspPE(wiring.Component):
    """Two filters by two pixels (:func:`pe_members`); the products of a chain of channels are added in the DSP cascade."""

    def __init__(self, config):
        self.config = config
        super().__init__(pe_members(config, 2))

    def elaborate(self, platform):
        m = Module()
        c = self.config
        packing = solve(c.dsp_device, c.act_digit_bits)
        f = packing.field
        hop(m, self)
        digit = [[self.weights_out[4 * (slot * c.ic + i):][:4].as_signed() for i in range(c.ic)] for slot in range(2)]
        act = [[self.acts_out[pixel][i] for i in range(c.ic)] for pixel in range(2)]
        sums = [[] for _ in range(4)]       # chain sums of each result
        for start in range(0, c.ic, packing.chain):
            channels = range(start, min(start + packing.chain, c.ic))
            if packing.products == 4:
                operands = [(digit[0][i], digit[1][i], act[0][i], act[1][i]) for i in channels]
                total = packed_chain(m, c, packing, operands, platform)
                for k in range(4):
                    sums[k].append(total[k * f:(k + 1) * f])
            else:
                for slot in range(2):
                    operands = [(act[0][i], act[1][i], digit[slot][i], None) for i in channels]
                    total = packed_chain(m, c, packing, operands, platform)
                    for pixel in range(2):
                        sums[2 * slot + pixel].append(total[pixel * f:(pixel + 1) * f])
        totals = [add_tree(m, c, s, f"tree{k}", platform) for k, s in enumerate(sums)]
        finish(m, c, self, totals, len(sums[0]) << f - 1, CHAIN_LATENCY + tree_levels(len(sums[0])))
        return m
