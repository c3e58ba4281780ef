"""The whole-number arithmetic of TFLite's reference kernels, on arrays.

A real multiplier is 31 bits and a shift (``QuantizeMultiplier``); a product is rounded twice: to 32 bits, halves up,
and by the shift, halves away from zero (``MultiplyByQuantizedMultiplier``).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ..grids.values import Grid

__all__ = ["away", "bounds", "hard_swish", "multiplier", "table_of", "times"]

TOP, FAR = (1 << 31) - 1, 1 << 20


def away(real: ArrayLike) -> np.ndarray:
    """To the nearest whole number, halves away from zero."""
    real = np.asarray(real)
    whole = np.trunc(real)
    return whole + np.sign(real) * (np.abs(real - whole) >= 0.5)


def multiplier(real: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """(31 bits, shift) of real multipliers, 64-bit numbers."""
    fraction, shift = np.frexp(np.asarray(real, np.float64))
    fixed = away(fraction * 2.0 ** 31).astype(np.int64)
    over = fixed == 1 << 31
    fixed, shift = np.where(over, fixed >> 1, fixed), shift + over
    return np.where(shift < -31, 0, fixed), np.where(shift < -31, 0, shift).astype(np.int64)


def times(x: np.ndarray, mult: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """``x * mult * 2**(shift - 31)``, int64, as ``MultiplyByQuantizedMultiplier`` rounds it."""
    x = np.clip(np.asarray(x, np.int64) << np.maximum(shift, 0), -TOP - 1, TOP)
    return _shifted(_high(x, mult, 31), np.maximum(-shift, 0))


def _high(x, y, bits):
    """``SaturatingRoundingDoublingHighMul`` of 32- or 16-bit numbers."""
    product = x * y
    half = 1 << bits - 1
    product = product + np.where(product >= 0, half, 1 - half)
    return np.where(product >= 0, product >> bits, -(-product >> bits))


def _shifted(x, shift):
    """``RoundingDivideByPOT``."""
    mask = (np.int64(1) << shift) - 1
    return (x >> shift) + ((x & mask) > (mask >> 1) + (x < 0))


def bounds(activation: int, grid: Grid) -> tuple[int, int]:
    """Least and largest code that a fused activation (``ActivationFunctionType``) leaves."""
    least, most = {0: (None, None), 1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}[activation]

    def code(real, default):
        if real is None:
            return default
        return grid.zero + int(np.clip(away(np.float32(real) / np.float32(grid.scale)), -FAR, FAR))
    low, high = max(grid.low, code(least, grid.low)), min(grid.high, code(most, grid.high))
    return min(low, grid.high), max(high, grid.low)


def table_of(function: Callable[[np.ndarray], np.ndarray], source: Grid, grid: Grid) -> np.ndarray:
    """Codes of a real function of every code of ``source``, as ``LUTPopulate`` computes them with 32-bit numbers."""
    q = np.arange(source.low, source.high + 1)
    real = np.float32(source.scale) * (q - source.zero).astype(np.float32)
    made = function(real.astype(np.float64)).astype(np.float32) * (np.float32(1) / np.float32(grid.scale))
    return np.clip(away(made).astype(np.float64) + grid.zero, grid.low, grid.high).astype(np.int64)


def hard_swish(x: np.ndarray, source: Grid, grid: Grid) -> np.ndarray:
    """``HardSwish`` of codes less their zero point; in 16 bits."""
    fine = np.float32(1 / 128) * np.float32(source.scale)
    (out, out_shift), (slope, slope_shift) = (multiplier(float(fine / np.float32(other))) for other in (
        grid.scale, np.float32(3) / np.float32(32768)))
    out, slope = (np.minimum((one + (1 << 15)) >> 16, (1 << 15) - 1) for one in (out, slope))
    wide = x << 7
    gate = _short(wide << min(max(int(slope_shift) - 1, 0), 16))
    gate = _high(gate, slope, 15)
    gate = _short(gate << 1) if slope_shift > 0 else _shifted(gate, -slope_shift)
    gate = (gate + (1 << 15)) >> 1
    product = gate * _high(wide, out, 15)
    made = np.where(product >= 0, product >> 15, -(-product >> 15))
    return _shifted(made, -out_shift) + grid.zero


def _short(x):
    return np.clip(x, -(1 << 15), (1 << 15) - 1)
