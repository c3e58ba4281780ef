"""Processing element on packed multipliers: 2 filter slots x 2 pixels x ``ic`` channels per cycle."""

from amaranth.hdl import Module, Value

from spec import latency
from spec.packing import solve

from ..prim import add_tree, packed_chain
from .pe import Element

__all__ = ["DspPE"]


class DspPE(Element):
    """Two filters of two's-complement digits, the second without -8: an :class:`Element` on multipliers.

    The products of a chain of channels are added in the cascade of the slices, what the chains give in a tree.
    """
    SLOTS = 2

    @property
    def own_latency(self) -> int:
        return latency.dsp_totals(self)

    def elaborate(self, platform):
        m = Module()
        packing = solve(self.dsp_device, self.act_digit_bits)
        f = packing.field
        self.hop(m)
        digit = [[self.digits(slot, i).as_signed() for i in range(self.ic)] for slot in range(2)]
        act = self.operands()
        sums: list[list[Value]] = [[] for _ in range(4)]       # chain sums of each result
        for start in range(0, self.ic, packing.chain):
            channels = range(start, min(start + packing.chain, self.ic))
            if packing.products == 4:
                operands = [(digit[0][i], digit[1][i], act[0][i], act[1][i]) for i in channels]
                total = packed_chain(m, self, packing, operands, platform)
                for k in range(4):
                    sums[k].append(total[k * f:(k + 1) * f])
            else:
                for slot in range(2):
                    operands = [(act[0][i], act[1][i], digit[slot][i], None) for i in channels]
                    total = packed_chain(m, self, packing, operands, platform)
                    for pixel in range(2):
                        sums[2 * slot + pixel].append(total[pixel * f:(pixel + 1) * f])
        totals = [add_tree(m, self, s, f"tree{k}", platform) for k, s in enumerate(sums)]
        self.finish(m, totals, len(sums[0]) << f - 1)
        return m
