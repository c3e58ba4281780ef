"""Proof that no accumulator and no requantizer of a layer can overflow, from the weights and the range of the codes."""

from typing import TYPE_CHECKING

import numpy as np

from spec.commands import SUM_BITS
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.systems import DIGIT_BITS

if TYPE_CHECKING:
    from ..operations import Convolution

__all__ = ["prove"]

CODE_MAX = 255      # of a residual


def prove(op: "Convolution", channel: int, digits: list[np.ndarray], ones: int, mult: int, bias: int,
          config: EngineConfig) -> None:
    """Check one filter; ``digits`` are its slots' weights (low digit first), ``ones`` its one's-complement terms.

    Raises :class:`AlloyError` naming layer and filter, with the width that would do.
    """
    where, whole = f"layer {op.name} filter {channel}", (1 << op.input.bits) - 1
    top = min(whole, (1 << config.act_digit_bits) - 1)
    sums = [(int(digit[digit < 0].sum()), int(digit[digit > 0].sum())) for digit in digits]
    worst, fits = _reach([(down * top - ones, up * top) for down, up in sums], config.acc_width)
    if not fits:
        raise AlloyError(f"{where} can reach {worst}, more than the {config.acc_width}-bit accumulator holds: raise "
                         f"acc_width to {worst.bit_length() + 1} or use smaller weights")
    # Two pixel digits together are the code; each has its one's-complement terms.
    terms = ones * (1 + (1 << config.act_digit_bits)) if op.input.bits > config.act_digit_bits else ones
    joined = [(down * whole - terms, up * whole) for down, up in sums]
    worst, fits = _reach(joined, config.joined_width)
    if not fits:
        raise AlloyError(f"{where} can reach {worst} after its pixel digits are joined, more than the requantizer of "
                         f"{config.dsp_device} takes: use smaller weights or fewer activation bits")
    low, high = (sum(side << DIGIT_BITS * i for i, side in enumerate(sides)) for sides in zip(*joined, strict=True))
    if not _reach([(low * mult + bias, high * mult + bias + op.res_mult * CODE_MAX)], SUM_BITS)[1]:
        raise AlloyError(f"{where} overflows the {SUM_BITS}-bit requantizer: use a smaller multiplier")


def _reach(ranges: list[tuple[int, int]], bits: int) -> tuple[int, bool]:
    """The largest magnitude of these ranges, and whether they all fit ``bits`` bits, signed."""
    low, high, limit = min(low for low, _ in ranges), max(high for _, high in ranges), 1 << bits - 1
    return max(-low, high), -limit <= low and high < limit
