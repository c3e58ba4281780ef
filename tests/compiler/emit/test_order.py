"""The order of work: every filter tile meets every pixel tile once, and the input comes in even parts."""

from itertools import product

import pytest

from compiler.emit.order import PIECE, PIECES, Task, cut, growing, in_parts


@pytest.mark.parametrize("filters, parts", [*product([0, 1, 3, 8], [1, 2, 7])])
@pytest.mark.parametrize("filter_cycles, part_cycles, work", [(1, 1, 1), (100, 1, 10), (1, 100, 10), (50, 60, 400)])
def test_growing_takes_each_pair_once(filters, parts, filter_cycles, part_cycles, work):
    pairs = list(growing(filters, parts, filter_cycles, part_cycles, work))
    assert sorted(pairs) == list(product(range(filters), range(parts)))
    have, there = 0, 0
    for tile, part in pairs:        # nothing is used long before it is needed: one more of either at a time
        assert tile <= have and part <= there
        have, there = max(have, tile + 1), max(there, part + 1)


def test_growing_loads_what_brings_more():
    """Filters that are dear to load wait for parts that are cheap."""
    assert list(growing(2, 3, 1000, 1, 10))[:3] == [(0, 0), (0, 1), (0, 2)]
    assert list(growing(3, 2, 1, 1000, 10))[:3] == [(0, 0), (1, 0), (2, 0)]


@pytest.mark.parametrize("tiles, cycles", [
    *product([1, 2, 9, 100], [0, PIECE - 1, 3 * PIECE, 100 * PIECE])])
def test_cut(tiles, cycles):
    parts = cut(tiles, cycles)
    assert [start for start, _ in parts] == [sum(n for _, n in parts[:i]) for i in range(len(parts))]
    assert sum(n for _, n in parts) == tiles and all(n > 0 for _, n in parts)
    assert len(parts) == min(max(cycles // PIECE, 1), PIECES, tiles)
    assert max(n for _, n in parts) - min(n for _, n in parts) <= 1


def test_in_parts():
    assert in_parts(2, 3) == [Task(t, s, 1) for t in range(2) for s in range(3)]
