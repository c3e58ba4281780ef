"""Integer arithmetic of Alloy: the only place where anything is rounded, clipped or re-coded.

All functions take and return NumPy ``int64`` arrays of any shape unless they say otherwise.
"""

from enum import IntEnum

import numpy as np

from .errors import AlloyError

__all__ = ["Scheme", "FIXED8_MAX", "POT_EXP_MAX", "DIGIT_BITS", "levels", "check_weights", "nearest_level",
           "split_weight", "pot_code", "pot_value", "round_shift", "requantize"]

DIGIT_BITS = 4          # width of one weight digit (one filter slot of the array)
FIXED8_MAX = 119        # 16*7 + 7: the largest weight that splits into hi in -7..7 and lo in -8..7
POT_EXP_MAX = 6         # power-of-two weights are 0, +-2^0 .. +-2^6


class Scheme(IntEnum):
    """Number system of one filter (output channel)."""
    FIXED2 = 2
    FIXED3 = 3
    FIXED4 = 4
    FIXED5 = 5
    FIXED6 = 6
    FIXED7 = 7
    FIXED8 = 8
    POT4 = 16
    CODEBOOK = 17

    @property
    def fixed_bits(self):
        """Bits of a fixed-point scheme, or None for the others."""
        return int(self) if self <= 8 else None


def levels(scheme, codebook=None):
    """Sorted integer weights that ``scheme`` can represent.

    Parameters
    ----------
    scheme : Scheme
    codebook : sequence of int, optional
        The layer's levels (at most 16, each in -119..119); required by ``Scheme.CODEBOOK`` alone.
    """
    scheme = Scheme(scheme)
    if scheme is Scheme.POT4:
        powers = 1 << np.arange(POT_EXP_MAX + 1, dtype=np.int64)
        return np.concatenate([-powers[::-1], [0], powers])
    if scheme is Scheme.CODEBOOK:
        if codebook is None or not 1 <= len(codebook) <= 16:
            raise AlloyError("a code-book filter needs a code book of 1 to 16 levels: give the layer one")
        values = np.unique(np.asarray(codebook, np.int64))
        if np.abs(values).max() > FIXED8_MAX:
            raise AlloyError(f"code book level {values[np.abs(values).argmax()]} is outside "
                             f"-{FIXED8_MAX}..{FIXED8_MAX}: rescale the code book")
        return values
    top = min((1 << (scheme.fixed_bits - 1)) - 1, FIXED8_MAX)
    return np.arange(-top, top + 1, dtype=np.int64)


def nearest_level(values, scheme, codebook=None):
    """Nearest representable integer weight of real ``values``; a tie goes to the larger level."""
    table = levels(scheme, codebook)
    bounds = (table[1:] + table[:-1]) / 2
    return table[np.searchsorted(bounds, np.asarray(values, np.float64), side="right")]


def check_weights(weights, scheme, codebook=None):
    """True if every integer weight of one filter is a level of its scheme."""
    return bool(np.isin(np.asarray(weights, np.int64), levels(scheme, codebook)).all())


def split_weight(weight):
    """Split ``weight`` in -119..119 into digits ``(hi, lo)``: hi in -7..7, lo in -8..7."""
    weight = np.asarray(weight, np.int64)
    lo = ((weight + 8) & 15) - 8
    return (weight - lo) >> DIGIT_BITS, lo


def pot_code(weight):
    """4-bit code of a power-of-two weight: bit 3 is the sign, bits 2..0 the exponent, 7 is zero."""
    weight = np.asarray(weight, np.int64)
    magnitude = np.abs(weight)
    exponent = np.where(magnitude == 0, 7, np.log2(np.maximum(magnitude, 1)).astype(np.int64))
    return np.where(weight < 0, 8, 0) | exponent


def pot_value(code):
    """Inverse of :func:`pot_code`."""
    code = np.asarray(code, np.int64)
    magnitude = np.where((code & 7) == 7, 0, 1 << (code & 7))
    return np.where(code & 8, -magnitude, magnitude)


def round_shift(value, shift):
    """``value / 2**shift`` rounded half up (towards positive infinity), ``shift >= 1``."""
    return (np.asarray(value, np.int64) + (np.int64(1) << (shift - 1))) >> shift


def requantize(acc, mult, bias, shift, *, lo, hi, out_zero=0, res=0, res_mult=0, table=None):
    """Requantize accumulators to activation codes.

    Computes ``clip(round_shift(acc*mult + res*res_mult + bias, shift) + out_zero, lo, hi)``, and ``table[...]`` of it if there is a table.

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
