"""Levels that are not uniform: the few integers that lose least of what is rounded to them."""

import numpy as np

__all__ = ["best_levels", "fit_table"]


def best_levels(counts: np.ndarray, size: int, first: float | None = None) -> np.ndarray:
    """The ``size`` levels (fewer if fewer do) with the least ``sum_i counts[i] * (i - level)^2``: real (size,), sorted.

    One-dimensional k-means, exact, by dynamic programming over the borders of the cells (Wang and Song, Ckmeans.1d.dp,
    The R Journal 3(2), 2011, equation 1).

    Parameters
    ----------
    counts : weights (V,) of the values 0..V-1, not negative.
    first : value of the lowest level, if it is given.
    """
    values = np.arange(len(counts))
    # Sums over values below a border.
    n, s, q = (np.concatenate([[0.0], np.cumsum(counts * values ** power)]) for power in range(3))
    mean = np.divide(s[None] - s[:, None], n[None] - n[:, None], out=np.zeros((len(n), len(n))),
                     where=n[None] > n[:, None])
    loss = q[None] - q[:, None] - mean * (s[None] - s[:, None])         # of a cell from one border to another
    loss[np.tril_indices(len(n), -1)] = np.inf
    least = loss[0] if first is None else q - 2 * first * s + first * first * n
    # Of the last cell, for each number of cells and each end.
    starts = []
    for _ in range(size - 1):
        total = least[:, None] + loss
        starts.append(total.argmin(0))
        least = total.min(0)
    levels, end = [], len(counts)
    for cells in reversed(starts):
        if n[end] > n[cells[end]]:
            levels.append(mean[cells[end], end])
        end = cells[end]
    if first is not None or n[end]:
        levels.append(mean[0, end] if first is None else first)
    return np.unique(levels)


def fit_table(codes: np.ndarray, size: int) -> np.ndarray:
    """Table uint8 (256,) from every code to the nearest of at most ``size`` codes, 0 among them, that lose least of
    ``codes``."""
    levels = np.unique(np.round(best_levels(np.bincount(np.asarray(codes, np.int64), minlength=256), size, first=0.0)))
    return levels[np.abs(np.arange(256)[:, None] - levels).argmin(1)].astype(np.uint8)
