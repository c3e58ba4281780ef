"""Requantizers of quantized networks: the engine's whole multiplier, shift and bias for what the source computes with
real numbers.

The engine gives ``floor((acc * mult + res * res_mult + bias + 2**(shift - 1)) / 2**shift) + zero``, the source rounds a
real number. Both grow with the accumulator, so each is its *thresholds*: the least accumulator that gives a code or a
larger one. Two requantizers are equal if all thresholds are.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from spec.operators.windows import BIAS_BITS, MULT_BITS

from ..requantizer import largest_shift

__all__ = ["Fit", "MODES", "NEAR", "thresholds", "fit"]

NEAR = 12           # multipliers on either side of the nearest one that are tried
# How QONNX rounds (qonnx.custom_op.general.quant.resolve_rounding_mode).
MODES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ROUND": np.round, "HALF_EVEN": np.round, "CEIL": np.ceil, "FLOOR": np.floor,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)), "DOWN": np.fix, "ROUND_TO_ZERO": np.fix,
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - 0.5)}


class Fit(NamedTuple):
    """``mult``, ``bias`` (F,), ``shift`` and ``res_mult`` of a layer; ``off`` (F,): accumulators whose code is not the
    source's."""
    mult: np.ndarray
    bias: np.ndarray
    shift: int
    res_mult: int
    off: np.ndarray


def thresholds(reaches: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray,
               codes: int) -> np.ndarray:
    """(F, codes): for each code the least accumulator in ``low`` to ``high`` (F,) that ``reaches`` it; ``high + 1`` if
    none does. ``reaches`` takes accumulators (F, codes) and says for each whether it does."""
    below = np.broadcast_to(low[:, None] - 1, (len(low), codes)).astype(np.int64)
    above = np.broadcast_to(high[:, None] + 1, (len(low), codes)).astype(np.int64)
    while (above - below > 1).any():
        middle = (below + above) >> 1
        found = reaches(middle) & (middle > below)
        below, above = np.where(found, below, middle), np.where(found, middle, above)
    return above


def fit(wanted: np.ndarray, steps: np.ndarray, factor: np.ndarray, low: np.ndarray, high: np.ndarray,
        res: np.ndarray | None = None, res_factor: float = 0.0) -> Fit:
    """The multipliers and biases whose thresholds are the ``wanted`` ones, or as near as can be.

    Parameters
    ----------
    wanted : (F, n) thresholds of the codes ``steps`` (n,), less the zero point, beside the residual codes ``res``
        (n,), less theirs.
    factor, res_factor : (F,) and a number, codes of one unit of the accumulator and of the residual.
    low, high : (F,), accumulators that there are.
    """
    inner = (wanted > low[:, None]) & (wanted <= high[:, None])
    res = np.zeros(len(steps), np.int64) if res is None else res
    offset = np.abs(steps - factor[:, None] * wanted - res_factor * res) * inner
    largest = factor[inner.any(1)].max(initial=0.0)     # a filter of one code needs no multiplier that is right
    shift = largest_shift(max(float(largest), res_factor), float(offset.max()) + 1)
    nearest = np.round(np.minimum(factor * 2.0 ** shift, 1 << MULT_BITS)).astype(np.int64)
    res_nearest = round(res_factor * 2.0 ** shift)
    best: Fit | None = None
    for change in sorted(range(-NEAR, NEAR + 1), key=abs):
        for res_change in (0,) if not res_nearest else (0, -1, 1):
            res_mult = min(max(res_nearest + res_change, 0), (1 << MULT_BITS) - 1)
            mult = np.clip(nearest + change, 1, (1 << MULT_BITS) - 1)
            found = _fitted(wanted, (steps.astype(np.int64) << shift) - res * res_mult, mult, low, high)
            found = Fit(mult, found[0] - (1 << shift - 1), shift, res_mult, found[1])
            best = found if best is None else _better(best, found)
            if not best.off.any():
                return best
    assert best is not None
    return best


def _better(best, found):
    """Filter by filter; a residual has one multiplier for all."""
    if best.res_mult != found.res_mult:
        return found if found.off.sum() < best.off.sum() else best
    take = found.off < best.off
    return Fit(np.where(take, found.mult, best.mult), np.where(take, found.bias, best.bias), best.shift, best.res_mult,
               np.where(take, found.off, best.off))


def _fitted(wanted, target, mult, low, high):
    """(F,) what is added before the shift, rounding included, in the middle of what the thresholds allow; and (F,)
    accumulators whose code is wrong then."""
    gap, large = target - mult[:, None] * wanted, np.int64(1) << 60
    least = np.where(wanted <= high[:, None], gap, -large).max(1)
    most = np.where(wanted > low[:, None], gap + mult[:, None] - 1, large).min(1)
    only = (least == -large) | (most == large)      # one side alone decides
    start = np.where(only, np.where(least == -large, np.where(most == large, 0, most), least), (least + most) >> 1)
    start = np.clip(start, 1 - (1 << BIAS_BITS - 2), (1 << BIAS_BITS - 2) - 1)
    reach = -((start[:, None] - target) // mult[:, None])       # ceil((target - start) / mult)
    return start, np.abs(np.clip(reach, low[:, None], high[:, None] + 1) - wanted).sum(1)
