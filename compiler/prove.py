"""Proof that no accumulator and no requantizer of a layer can overflow, from the weights and the range of the codes."""

import numpy as np

from spec.commands import SUM_BITS
from spec.errors import AlloyError

__all__ = ["prove"]


def prove(op, channel, digits, ones, mult, bias, config):
    """Check one filter; ``digits`` are its slots' weights (list of arrays, low digit first), ``ones`` its one's-complement terms."""
    wide, whole = op.input.bits > config.act_digit_bits, (1 << op.input.bits) - 1
    top = min(whole, (1 << config.act_digit_bits) - 1)
    where = f"layer {op.name} filter {channel}"
    sums = [(int(digit[digit < 0].sum()), int(digit[digit > 0].sum())) for digit in digits]
    low, high = [down * top - ones for down, _ in sums], [up * top for _, up in sums]
    limit = 1 << config.acc_width - 1
    if min(low) < -limit or max(high) >= limit:
        worst = max(-min(low), max(high))
        raise AlloyError(f"{where} can reach {worst}, more than the {config.acc_width}-bit accumulator holds: raise acc_width to "
                         f"{int(worst).bit_length() + 1} or use smaller weights")
    if wide:    # two pixel digits, which together are the code; each has its one's-complement terms
        low, high = [down * whole - ones * (1 + (1 << config.act_digit_bits)) for down, _ in sums], [up * whole for _, up in sums]
    joined = 1 << config.joined_width - 1
    if min(low) < -joined or max(high) >= joined:
        raise AlloyError(f"{where} can reach {max(-min(low), max(high))} after its pixel digits are joined, more than the requantizer "
                         f"of {config.dsp_device} takes: use smaller weights or fewer activation bits")
    total = [sum(v << 4 * i for i, v in enumerate(side)) for side in (low, high)]
    extreme = [np.int64(t) * mult + bias for t in total] + [total[1] * mult + bias + op.res_mult * 255]
    if max(abs(int(e)) for e in extreme) >= 1 << SUM_BITS - 1 or abs(bias) >= 1 << SUM_BITS - 1:
        raise AlloyError(f"{where} overflows the {SUM_BITS}-bit requantizer: use a smaller multiplier")
