"""Fixed point."""

from dataclasses import dataclass

import numpy as np

from .columns import WEIGHT_MAX
from .system import Book, System, register

__all__ = ["Fixed"]


@dataclass(frozen=True)
class Fixed(System):
    """-(2^(k-1)-1) .. 2^(k-1)-1 for k bits, which are its value in files; with 8 bits as far as two digits reach."""

    def levels(self, codebook: Book = None) -> np.ndarray:
        top = min((1 << self.scheme - 1) - 1, WEIGHT_MAX)
        return np.arange(-top, top + 1, dtype=np.int64)


for _bits in range(2, 9):
    register(Fixed(_bits))
