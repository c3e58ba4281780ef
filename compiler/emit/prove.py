"""Proof that no accumulator and no requantizer of a layer can overflow, from the weights and the range of the codes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from spec.commands import SUM_BITS
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.sums import CODE_MAX, reaches
from spec.systems import DIGIT_BITS

if TYPE_CHECKING:
    from ..operations import Convolution

__all__ = ["prove"]

NEAR = 0.999        # of what fits: below that, 64-bit numbers with a point tell


def prove(op: "Convolution", channels: list[int], digits: list[np.ndarray], ones: np.ndarray, mults: list[int],
          biases: list[int], config: EngineConfig) -> None:
    """Check filters of one kind of slots.

    Parameters
    ----------
    digits : weights (filters, ...) in each of their slots, the low digit first. ones : their one's-complement terms,
        (filters,). mults, biases : of each filter.

    Raises :class:`AlloyError` naming layer and filter, with the width that would do.
    """
    flat = [digit.reshape(len(digit), -1) for digit in digits]
    found = reaches(flat, ones, op.input.bits, config)
    if _all_fit(op, found, np.array(mults), np.array(biases), config):
        return
    sums, joined = (np.array(ranges).transpose(2, 0, 1).tolist()        # filter, slot, (least, largest)
                    for ranges in found)
    for channel, one, two, mult, bias in zip(channels, sums, joined, mults, biases, strict=True):
        where = f"layer {op.name} filter {channel}"
        worst, fits = _reach(one, config.acc_width)
        if not fits:
            raise AlloyError(f"{where} can reach {worst}, more than the {config.acc_width}-bit accumulator holds: "
                             f"raise acc_width to {worst.bit_length() + 1} or use smaller weights")
        worst, fits = _reach(two, config.joined_width)
        if not fits:
            raise AlloyError(f"{where} can reach {worst} after its pixel digits are joined, more than the requantizer "
                             f"of {config.dsp_device} takes: use smaller weights or fewer activation bits")
        low, high = (sum(side << DIGIT_BITS * i for i, side in enumerate(sides)) for sides in zip(*two, strict=True))
        if not _reach([(low * mult + bias, high * mult + bias + op.res_mult * CODE_MAX)], SUM_BITS)[1]:
            raise AlloyError(f"{where} overflows the {SUM_BITS}-bit requantizer: use a smaller multiplier")


def _all_fit(op, found, mults, biases, config):
    """Whether there is nothing to refuse, all filters at once, in floating point: whatever is near the edge does not
    count as fitting."""
    sums, joined = (np.array(ranges, float) for ranges in found)        # slot, (least, largest), filter
    bounds = np.tensordot(2.0 ** (DIGIT_BITS * np.arange(len(joined))), joined, 1) * mults + biases
    bounds[1] += op.res_mult * CODE_MAX
    return all(np.abs(values).max(initial=0) < NEAR * 2.0 ** (bits - 1) for values, bits in (
        (sums, config.acc_width), (joined, config.joined_width), (bounds, SUM_BITS)))


def _reach(ranges: Sequence[Sequence[int]], bits: int) -> tuple[int, bool]:
    """The largest magnitude of these ranges (least, largest), and whether they all fit ``bits`` bits, signed."""
    low, high, limit = min(low for low, _ in ranges), max(high for _, high in ranges), 1 << bits - 1
    return max(-low, high), -limit <= low and high < limit
