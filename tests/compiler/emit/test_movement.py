"""Tensors that come from DRAM, or go there, in parts."""

from random import Random
from types import SimpleNamespace

import numpy as np
import pytest

from compiler.emit import Listing, Movement, Source, movement
from compiler.graph import Value
from compiler.layout import Placement
from spec.commands import Opcode
from spec.program import Region
from spec.views import view_of, walk
from tests.compiler.graphs import engine


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


@pytest.mark.parametrize("largest, commands", [(1 << 16, 1), (64, 1), (63, 2), (17, 4), (8, 8)])
def test_some_channel_groups_are_moved_pixel_by_pixel(monkeypatch, largest, commands):
    """One behind the other, in as few commands as their number of pixels fits into: from those of all the groups in
    DRAM to those on the chip, none but these groups, and the other way."""
    monkeypatch.setattr(movement, "LARGEST", largest)
    config = engine()
    value, region = Value("x", 24, 8, 8, 4, 0, (1, 1), tuple(range(24))), Region(0, 24, 8, 8, 6, 4, 4, tuple(range(24)))
    place = Placement(1, 5, 8, 8, (1, 1), 8, 2, config.pixels, 1, first=3)
    listing = Listing(config)
    move = Movement(listing, {value: region}, Value("image", 3, 8, 8, 4, 0), None)
    move.load(value, place, (0, 8), (0, 8), 7, (0, 0), [])
    move.store(value, place, (0, 8), (0, 8), 7)
    assert [item.opcode for item in listing.items] == commands * [Opcode.LOAD_ACT] + commands * [Opcode.STORE_ACT]
    for half in (listing.items[:commands], listing.items[commands:]):
        moved = {}
        for item in half:
            f = item.fields
            assert f["rows"] <= largest and f["out_groups"] == 2 and f["mem_out"] == 1
            view = view_of(f | {"out_reserved": 0}, "out")
            for row, _, bank, addr in walk(view, f["rows"], f["cols"], config.pixels):
                for group in range(2):
                    moved[f["dram"] + row * f["stride"] + group * region.group_bytes] = addr + group, bank
        assert moved == {(y * 8 + x) * region.pixel + (3 + group) * region.group_bytes: place.spot(0, 0, y, x, group)
                         for y, x, group in np.ndindex(8, 8, 2)}
