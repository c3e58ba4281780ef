"""Proof that no accumulator and no requantizer of a layer can overflow, from the weights and the range of the codes."""

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


def prove(op: "Convolution", channel: int, digits: list[np.ndarray], ones: int, mult: int, bias: int,
          config: EngineConfig) -> None:
    """Check one filter; ``digits`` are its slots' weights (low digit first), ``ones`` its one's-complement terms.

    Raises :class:`AlloyError` naming layer and filter, with the width that would do.
    """
    where = f"layer {op.name} filter {channel}"
    sums, joined = ([(int(low), int(high)) for low, high in ranges]
                    for ranges in reaches([digit.ravel() for digit in digits], ones, op.input.bits, config))
    worst, fits = _reach(sums, config.acc_width)
    if not fits:
        raise AlloyError(f"{where} can reach {worst}, more than the {config.acc_width}-bit accumulator holds: raise "
                         f"acc_width to {worst.bit_length() + 1} or use smaller weights")
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
