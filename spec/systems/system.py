"""What a number system of weights is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .columns import DSP, Column

__all__ = ["Book", "System", "SYSTEMS", "register"]

Book = Sequence[int] | np.ndarray | None        # levels of a layer's code book
SYSTEMS: dict[int, "System"] = {}       # value in files (:class:`spec.numerics.Scheme`) -> number system


@dataclass(frozen=True)
class System:
    """A number system that a filter can have: a set of whole :meth:`levels`; the rest follows from them.

    Attributes
    ----------
    scheme : its value in files.
    home : the kind of column that it is made for.
    """
    scheme: int
    home: ClassVar[Column] = DSP

    def levels(self, codebook: Book = None) -> np.ndarray:
        """Sorted int64 weights; ``codebook`` are those of the layer, for the systems that ask for it."""
        raise NotImplementedError

    def nearest(self, values: np.ndarray, codebook: Book = None) -> np.ndarray:
        """The nearest level of real ``values``; a tie goes to the larger level."""
        table, values = self.levels(codebook), np.asarray(values, np.float64)
        if len(table) == table[-1] - table[0] + 1:      # all whole numbers
            whole = np.rint(values)
            whole += values - whole == 0.5      # rint takes ties to even ones
            return np.clip(whole, table[0], table[-1]).astype(np.int64)
        return table[np.searchsorted((table[1:] + table[:-1]) / 2, values, side="right")]

    def holds(self, weights: np.ndarray, codebook: Book = None) -> bool:
        """Whether every one of the integer ``weights`` is a level."""
        table, weights = self.levels(codebook), np.asarray(weights)
        low, high = int(table[0]), int(table[-1])
        if not weights.size or int(weights.min()) < low or int(weights.max()) > high:
            return not weights.size
        known = np.zeros(high - low + 1, bool)
        known[table - low] = True
        return bool(known.all() or known[weights.astype(np.int64) - low].all())

    def bits(self, codebook: Book = None) -> int:
        """Of one weight's code."""
        return (len(self.levels(codebook)) - 1).bit_length()

    def slots(self, column: Column, codebook: Book = None) -> int:
        """Slots of this kind of column that hold any filter of the system; 0 if none do."""
        return int(column.slots(self.levels(codebook)[None])[0])


def register(system: System) -> None:
    """The number system is known from here on."""
    SYSTEMS[system.scheme] = system
