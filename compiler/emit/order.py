"""In which order the array works on filter tiles and pixels."""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Task", "in_parts", "growing", "cut"]

PIECE = 150         # least cycles of the array between two parts of an input that is loaded in parts
PIECES = 8


@dataclass(frozen=True)
class Task:
    """One filter tile over ``count`` tiles of pixels from ``start`` on."""
    tile: int
    start: int
    count: int


def in_parts(tiles: int, pixel_tiles: int) -> list[Task]:
    """For sums in parts, of which the accumulators hold one tile of pixels."""
    return [Task(tile, start, 1) for tile in range(tiles) for start in range(pixel_tiles)]


def cut(pixel_tiles: int, cycles: int) -> list[tuple[int, int]]:
    """(start, count) of the parts in which an input is loaded, for ``cycles`` of the array over all of them."""
    parts = min(max(cycles // PIECE, 1), PIECES, pixel_tiles)
    cuts = [pixel_tiles * i // parts for i in range(parts + 1)]
    return [(lo, hi - lo) for lo, hi in zip(cuts[:-1], cuts[1:], strict=True)]


def growing(filters: int, parts: int, filter_cycles: int, part_cycles: int, work: int) -> Iterator[tuple[int, int]]:
    """Pairs (filter tile, input part), so that an array which waits for both has the most to do.

    Next is loaded what brings more ``work`` (cycles of the array for one pair) for each cycle of its own load.
    """
    have, there = 0, 0
    while there < parts or have < filters:
        if there == parts or have < filters and there * work / filter_cycles >= have * work / part_cycles:
            yield from ((have, part) for part in range(there))
            have += 1
        else:
            yield from ((tile, there) for tile in range(have))
            there += 1
