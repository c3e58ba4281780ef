"""The on-chip tables that loads fill: weights, parameters, taps."""

from collections.abc import Hashable

__all__ = ["Ring"]

ENTRIES = 32        # ranges in one round, which bounds the count of a semaphore


class Ring:
    """Contiguous ranges of a buffer of ``size`` units, one after the other; what has not been overwritten is found
    again.

    Hazards (:mod:`compiler.hazards`) keep a new range from overtaking the last reader of an old one.
    """

    def __init__(self, size: int):
        self.size, self._head, self._round = size, 0, 0
        self._held: dict[Hashable, tuple[int, int]] = {}

    def room(self, count: int) -> int:
        """How many ranges of ``count`` units can be taken before the first of them is overwritten."""
        return (self.size - self._head) // count + self._head // count

    def take(self, key: Hashable, count: int) -> tuple[int, bool]:
        """(first unit, True if the range holds ``key`` already); ``key`` stands for the content."""
        if key in self._held:
            return self._held[key][0], True
        if self._head + count > self.size or self._round == ENTRIES:
            self._head = self._round = 0
        lo, hi = self._head, self._head + count
        for old in [k for k, (low, high) in self._held.items() if low < hi and lo < high]:
            del self._held[old]
        self._held[key] = lo, hi
        self._head, self._round = hi, self._round + 1
        return lo, False
