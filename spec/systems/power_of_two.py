"""Powers of two."""

from dataclasses import dataclass

import numpy as np

from .columns import EXPONENT_MAX, LUT
from .system import Book, System, register

__all__ = ["PowerOfTwo"]


@dataclass(frozen=True)
class PowerOfTwo(System):
    """0, +-1, +-2, .. +-64: what one shift multiplies by."""
    home = LUT

    def levels(self, codebook: Book = None) -> np.ndarray:
        powers = 1 << np.arange(EXPONENT_MAX + 1, dtype=np.int64)
        return np.concatenate([-powers[::-1], [0], powers])


register(PowerOfTwo(16))
