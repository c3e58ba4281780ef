"""Code books."""

from dataclasses import dataclass

import numpy as np

from ..errors import AlloyError
from .columns import WEIGHT_MAX
from .system import Book, System, register

__all__ = ["CodeBook"]


@dataclass(frozen=True)
class CodeBook(System):
    """At most 16 levels in -119..119, which each layer chooses."""

    def levels(self, codebook: Book = None) -> np.ndarray:
        if codebook is None or not 1 <= len(codebook) <= 16:
            raise AlloyError("a code-book filter needs a code book of 1 to 16 levels: give the layer one")
        values = np.unique(np.asarray(codebook, np.int64))
        if np.abs(values).max() > WEIGHT_MAX:
            raise AlloyError(f"code book level {values[np.abs(values).argmax()]} is outside "
                             f"-{WEIGHT_MAX}..{WEIGHT_MAX}: rescale the code book")
        return values


register(CodeBook(17))
