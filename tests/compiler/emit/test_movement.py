"""Inputs that come from DRAM in parts."""

from random import Random
from types import SimpleNamespace

import pytest

from compiler.emit import Source


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_rows_of_all_ports(seed):
    """Those that are asked for, and more until each port has brought as many; none twice, none beyond the strip."""
    dice, loaded = Random(seed), []
    lanes, first, height = dice.randrange(1, 5), dice.randrange(9), dice.randrange(1, 40)
    strip = SimpleNamespace(input=SimpleNamespace(mem=0, base=3, words=50, height=height, width=7),
                            input_at=(first, 2))
    movement = SimpleNamespace(lanes=lanes, load=lambda value, place, rows, cols, *_: loaded.append((rows, cols)))
    source, end = Source(movement, "value", strip, 1), first + height
    for stop in sorted(dice.randrange(first + 1, end + 3) for _ in range(6)):
        access = source.read(stop, "feed")
        assert (access.lo, access.hi) == (first, loaded[-1][0][1]) and access.hi >= min(stop, end)
    rows = [rows for rows, _ in loaded]
    assert rows[0][0] == first and rows[-1][1] <= end and {cols for _, cols in loaded} == {(2, 9)}
    assert all(one[1] == two[0] for one, two in zip(rows[:-1], rows[1:], strict=True))
    assert all((high - first) % lanes == 0 or high == end for _, high in rows)
