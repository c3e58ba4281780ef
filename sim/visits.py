"""Visits of the post unit, which the cycle model counts for each tile."""

from functools import lru_cache

import numpy as np

__all__ = ["leads", "visits_of"]


def leads(cmd: dict) -> int:
    """Lanes before the first pixel of the output: one where a convolution of taps in a row begins."""
    return int(cmd["in_row"] and not cmd["start_y"] and not cmd["start_x"])


@lru_cache(256)
def visits_of(tiles: int, count: int, together: int, start: int, pitch: int, size: tuple[int, int], straddle: int,
              odd: frozenset[int], lead: int) -> list[int]:
    """Visits of the post unit for each of so many ``tiles`` of ``count`` pixels from ``start`` on, ``together`` at a
    time: filter tiles ask for the same again and again. ``lead`` lanes are before the first pixel."""
    number = np.arange(tiles * count)
    row, col = np.divmod(start + number - lead, pitch)
    begins = ((number % together == 0) | (col == 0)) & (number >= lead)
    from_x = col - (together - 1)
    for parity in odd:      # so many pixels of a row, from the odd one of two planes on, are visited one by one more
        begins |= (number % together == together - 1) & (from_x >= 0) & (from_x + parity & 1 > 0)
    inside = (col < size[1]) & (row < size[0])
    return (begins * (1 + straddle * inside)).reshape(-1, count).sum(1).tolist()
