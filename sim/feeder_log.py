"""What the array did while the cycle model went through a program."""

import numpy as np

__all__ = ["FeederLog"]


class FeederLog:
    """What the feeder did: (from, to, cause), in the order of time."""

    def __init__(self, entries):
        columns = zip(*(entries or [(0.0, 0.0, "busy")]), strict=True)
        self._low, self._high, causes = (np.array(column) for column in columns)
        self._causes, self._cause = np.unique(causes, return_inverse=True)

    def between(self, low: float, high: float) -> dict[str, float]:
        """Cycles of each cause in an interval."""
        first, last = np.searchsorted(self._high, low), np.searchsorted(self._low, high)
        spent = np.minimum(self._high[first:last], high) - np.maximum(self._low[first:last], low)
        sums = np.bincount(self._cause[first:last], spent.clip(0), len(self._causes))
        return dict(zip(self._causes.tolist(), sums.tolist(), strict=True))
