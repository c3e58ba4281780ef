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
        table = self.levels(codebook)
        return table[np.searchsorted((table[1:] + table[:-1]) / 2, np.asarray(values, np.float64), side="right")]

    def holds(self, weights: np.ndarray, codebook: Book = None) -> bool:
        """Whether every one of the integer ``weights`` is a level."""
        return bool(np.isin(np.asarray(weights, np.int64), self.levels(codebook)).all())

    def bits(self, codebook: Book = None) -> int:
        """Of one weight's code."""
        return (len(self.levels(codebook)) - 1).bit_length()

    def slots(self, column: Column, codebook: Book = None) -> int:
        """Slots of this kind of column that hold any filter of the system; 0 if none do."""
        return int(column.slots(self.levels(codebook)[None])[0])


def register(system: System) -> None:
    """The number system is known from here on."""
    SYSTEMS[system.scheme] = system
