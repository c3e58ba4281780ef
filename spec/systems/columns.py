"""How the columns of the array hold weights: one nibble for each weight in each filter slot that a filter takes."""

from typing import Any

import numpy as np

__all__ = ["Column", "DSP", "LUT", "columns_of", "empty_word", "DIGIT_BITS", "WEIGHT_MAX", "EXPONENT_MAX", "SIGN"]

DIGIT_BITS = 4          # of one nibble
DIGIT_MAX = 7           # largest weight of one digit, and largest digit of a filter's last slot
WEIGHT_MAX = 119        # 16*7 + 7: the largest weight of two digits, hi in -7..7 and lo in -8..7
EXPONENT_MAX = 6        # power-of-two weights are 0, +-2^0 .. +-2^6
SIGN = 3                # bit of a power-of-two nibble; the exponent is below


class Column:
    """One kind of column. Weights are integers of any shape; ``zero`` is the nibble of the weight 0."""
    zero = 0

    def slots(self, weights: np.ndarray) -> np.ndarray:
        """Slots that each filter of ``weights`` (F, ...) takes, (F,); 0 where this kind of column cannot hold it."""
        raise NotImplementedError

    def digits(self, weights: np.ndarray, slots: int) -> list[np.ndarray]:
        """The weights in each of so many slots, the one that counts 16**0 first."""
        return [np.asarray(weights)]

    def encode(self, digit: np.ndarray) -> np.ndarray:
        """Nibbles of the weights in one slot."""
        raise NotImplementedError

    def decode(self, nibbles: np.ndarray) -> np.ndarray:
        """Inverse of :meth:`encode`."""
        raise NotImplementedError

    def unknown(self, nibbles: np.ndarray) -> bool:
        """Whether any of the nibbles (slots of these columns, ...) is one that no weight has."""
        raise NotImplementedError

    def ones(self, weights: np.ndarray) -> np.ndarray:
        """Whether the product with each weight enters a sum in one's complement, which is 1 less than it should be."""
        return np.zeros(np.shape(weights), bool)


class _Dsp(Column):
    """Multipliers: two's complement digits. A weight beyond one digit takes two slots, which are joined behind the
    array."""

    def slots(self, weights):
        return np.where(np.abs(weights).reshape(len(weights), -1).max(1) <= DIGIT_MAX, 1, 2)

    def digits(self, weights, slots):
        """Two digits are ``16 * hi + lo``, hi in -7..7, lo in -8..7."""
        weights = np.asarray(weights)
        if slots == 1:
            return [weights]
        low = ((weights + 8) & 15) - 8
        return [low, (weights - low) >> DIGIT_BITS]

    def encode(self, digit):
        return digit & 15

    def decode(self, nibbles):
        nibbles = np.asarray(nibbles, np.int64)
        return nibbles - 16 * (nibbles > DIGIT_MAX)

    def unknown(self, nibbles):
        """-8 in the second slot of a pair."""
        return bool((nibbles[1::2] == 8).any())


class _Lut(Column):
    """Shifts: sign (bit 3) and exponent (bits 2..0, 7 is zero). Negative products enter a sum in one's complement."""
    zero = EXPONENT_MAX + 1

    def slots(self, weights):
        flat = np.abs(weights).reshape(len(weights), -1)
        powers = (flat & flat - 1 == 0).all(1)      # or 0
        return (powers & (flat.max(1) <= 1 << EXPONENT_MAX)).astype(int)

    def encode(self, digit):
        return np.where(digit < 0, 1 << SIGN, 0) | _POWERS[np.abs(digit)]

    def decode(self, nibbles):
        nibbles = np.asarray(nibbles, np.int64)
        exponent = nibbles & (1 << SIGN) - 1
        size = np.where(exponent == self.zero, 0, 1 << exponent)
        return np.where(nibbles >> SIGN & 1, -size, size)

    def unknown(self, nibbles):
        """A negative zero."""
        return bool((nibbles == 1 << SIGN | self.zero).any())

    def ones(self, weights):
        return weights < 0


# The exponent of each size of a weight, EXPONENT_MAX + 1 for those that are no power of two, and for 0.
_POWERS = np.full((1 << EXPONENT_MAX) + 2, EXPONENT_MAX + 1)
_POWERS[1 << np.arange(EXPONENT_MAX + 1)] = np.arange(EXPONENT_MAX + 1)
DSP, LUT = _Dsp(), _Lut()


def columns_of(config: Any) -> tuple[tuple[Column, slice], ...]:
    """The kinds of columns of an engine with the filter slots that each has, all of them together in order."""
    return (DSP, slice(0, config.dsp_filters)), (LUT, slice(config.dsp_filters, config.slots))


def empty_word(config: Any) -> np.ndarray:
    """Nibbles of the weight 0 in every filter slot: uint8 (slots,)."""
    word = np.zeros(config.slots, np.uint8)
    for column, slots in columns_of(config):
        word[slots] = column.zero
    return word
