"""The integer parameters of a layer's requantizer: one shift for all filters, a whole multiplier and a bias for
each."""

from typing import NamedTuple

import numpy as np

from spec.commands import SUM_BITS
from spec.operators.windows import BIAS_BITS, MULT_BITS, SHIFT_MAX
from spec.sums import CODE_MAX

__all__ = ["Requantizer", "requantizer", "largest_shift"]


class Requantizer(NamedTuple):
    """``shift``, ``mult`` (F,) and ``res_mult`` as in :class:`spec.network.Conv`; ``bias`` (F,) in output codes.

    ``mult`` is 0 for a filter whose output is the same whatever it reads.
    """

    shift: int
    mult: np.ndarray
    res_mult: int
    bias: np.ndarray


def requantizer(factor: np.ndarray, bias: np.ndarray, reach: np.ndarray, *, extra: float = 0.0, other: float = 0.0,
                low: int, high: int) -> Requantizer:
    """The :class:`Requantizer` of a layer.

    Parameters
    ----------
    factor : (F,), output codes of one unit of the accumulator. extra : output codes of one code of the residual, 0
        without one.
    bias : (F,), output codes.
    reach, other : bounds of what the accumulator, (F,), and the residual can bring to either side, in output codes.
    low, high : smallest and largest output code, less the zero point.

    A filter's bias counts as far as it can still reach ``low`` to ``high``, and the multiplier of a filter that cannot
    leave one of them does not count at all: neither costs the others precision. No sum of what it adds up needs more
    than :data:`spec.commands.SUM_BITS` bits.
    """
    dead = (bias + reach + other <= low) | (bias - reach - other >= high)
    reach = np.where(dead, 0.0, reach)      # its multiplier is 0
    bias = np.clip(bias, low - 1 - reach - other, high + 1 + reach + other)
    most = (np.abs(bias) + reach).max() + CODE_MAX * extra - low + 1
    shift = largest_shift(max(factor[~dead].max(initial=0.0), extra),
                          max(np.abs(bias).max(), most * 2.0 ** (BIAS_BITS - SUM_BITS - 1)))
    # With the least shift one step of the accumulator may be more than all codes.
    top, far = (1 << MULT_BITS) - 1, (1 << BIAS_BITS - 2) * 2.0**-shift
    mult = np.where(dead, 0, np.clip(np.round(factor * 2.0**shift), 1, top)).astype(np.int64)
    return Requantizer(shift, mult, min(round(extra * 2.0**shift), top), np.clip(bias, -far, far))


def largest_shift(factor: float, bias: float = 0.0) -> int:
    """Largest shift at which the multiplier has at most 16 bits and the bias fits."""
    shift = SHIFT_MAX
    while shift > 1 and (factor * 2.0**shift >= (1 << MULT_BITS) - 1 or bias * 2.0**shift >= 1 << BIAS_BITS - 2):
        shift -= 1
    return shift
