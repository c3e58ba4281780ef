"""Fixed point."""

from dataclasses import dataclass

import numpy as np

from .columns import WEIGHT_MAX
from .system import Book, System, register

__all__ = ["Fixed"]


@dataclass(frozen=True)
class Fixed(System):
    """-(2^(k-1)-1) .. 2^(k-1)-1 for k bits, which are its value in files; with 8 bits as far as two digits reach. 9
    bits are for weights that others have chosen, such as 8-bit ones less their zero point: where they leave two digits,
    positions of the kernel are read several times."""

    def levels(self, codebook: Book = None) -> np.ndarray:
        top = (1 << self.scheme - 1) - 1
        top = min(top, WEIGHT_MAX) if self.scheme == 8 else top
        return np.arange(-top, top + 1, dtype=np.int64)


for _bits in range(2, 10):
    register(Fixed(_bits))
