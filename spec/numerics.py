"""Integer arithmetic of Alloy: the only place where anything is rounded, clipped or re-coded.

All functions take and return NumPy ``int64`` arrays of any shape unless they say otherwise.
"""

from enum import IntEnum

import numpy as np

from .systems import SYSTEMS, Book, System

__all__ = ["Scheme", "levels", "check_weights", "nearest_level", "round_shift", "requantize"]


class Scheme(IntEnum):
    """Number system of one filter (output channel)."""
    FIXED2 = 2
    FIXED3 = 3
    FIXED4 = 4
    FIXED5 = 5
    FIXED6 = 6
    FIXED7 = 7
    FIXED8 = 8
    FIXED9 = 9
    POT4 = 16
    CODEBOOK = 17

    @property
    def system(self) -> System:
        """All about it."""
        return SYSTEMS[self]


def levels(scheme: int, codebook: Book = None) -> np.ndarray:
    """Sorted integer weights of a number system: :meth:`spec.systems.System.levels`."""
    return Scheme(scheme).system.levels(codebook)


def nearest_level(values: np.ndarray, scheme: int, codebook: Book = None) -> np.ndarray:
    """Nearest integer weight of a number system: :meth:`spec.systems.System.nearest`."""
    return Scheme(scheme).system.nearest(values, codebook)


def check_weights(weights: np.ndarray, scheme: int, codebook: Book = None) -> bool:
    """Whether all weights are levels of a number system: :meth:`spec.systems.System.holds`."""
    return Scheme(scheme).system.holds(weights, codebook)


def round_shift(value: np.ndarray, shift: int) -> np.ndarray:
    """``value / 2**shift`` rounded half up (towards positive infinity), ``shift >= 1``."""
    return (np.asarray(value, np.int64) + (np.int64(1) << (shift - 1))) >> shift


def requantize(acc: np.ndarray, mult: np.ndarray | int, bias: np.ndarray | int, shift: int, *, lo: int, hi: int,
               out_zero: int = 0, res: np.ndarray | int = 0, res_mult: int = 0,
               table: np.ndarray | None = None) -> np.ndarray:
    """Requantize accumulators to activation codes.

    Computes ``clip(round_shift(acc*mult + res*res_mult + bias, shift) + out_zero, lo, hi)``, and ``table[...]`` of it
    if there is a table.

    Parameters
    ----------
    acc : int64 array, the exact sum of weight times (activation code - input zero point).
    mult, bias : int64, broadcast against ``acc`` (per filter).
    shift : int, 1..47.
    res : int64 array, residual code minus its zero point.
    table : array (256,) of codes, for levels that are not uniform or any other function of the code.
    """
    wide = np.asarray(acc, np.int64) * mult
    if res_mult:
        wide = wide + np.asarray(res, np.int64) * res_mult
    wide = wide + (bias + (np.int64(1) << shift - 1))
    wide >>= shift      # :func:`round_shift`, in place
    wide += out_zero
    codes = np.clip(wide, lo, hi)
    return codes if table is None or not len(table) else np.asarray(table, np.int64)[codes]
