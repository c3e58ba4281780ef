"""Views and taps of placements, against the place of each pixel."""

import numpy as np
import pytest

from compiler.layout import Placement
from spec.views import view_of, walk


def made(seed):
    """A placement and the dice."""
    rng = np.random.default_rng(seed)
    height, width, groups = (int(n) for n in rng.integers(1, 9, 3))
    phases = tuple(bool(b) for b in rng.integers(0, 2, 2))
    pitch = (-(-width // 2) if phases[1] else width) + int(rng.integers(0, 3))
    return Placement(1, 5, height, width, phases, pitch, groups, 2 * int(rng.integers(1, 4))), rng


def spot(place, y, x, group=0):
    """(bank, address) of a pixel."""
    fy, fx = place.phases
    addr, bank = place.spot(y % 2 * fy, x % 2 * fx, y // 2 if fy else y, x // 2 if fx else x, group)
    return bank, addr


@pytest.mark.parametrize("seed", range(80))
def test_a_view_walks_its_region(seed):
    place, rng = made(seed)
    y0, x0 = int(rng.integers(0, place.height)), int(rng.integers(0, place.width))
    group, start = int(rng.integers(0, place.groups)), int(rng.integers(0, place.width - x0))
    view = {"out_reserved": 0, **place.view("out", y=y0, x=x0, start_x=start, group=group)}
    found = list(walk(view_of(view, "out"), place.height - y0, place.width - x0, place.pixels, (0, start)))
    assert found == [(y, x, *spot(place, y0 + y, x0 + x, group)) for y in range(place.height - y0)
                     for x in range(place.width - x0) if y or x >= start]


@pytest.mark.parametrize("seed", range(80))
def test_taps_lead_to_the_pixels_of_the_window(seed):
    """From the place of output pixel (y, x) in the plain enumeration of the input's first plane."""
    place, rng = made(seed)
    kernel = tuple(int(n) for n in rng.integers(1, 4, 2))
    offset = tuple(int(n) for n in rng.integers(-2, 3, 2))
    stride = [1 + split for split in place.phases]
    taps = iter(place.taps(kernel, offset))
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            tap = next(taps)
            for y in range(4):
                for x in range(min(4, place.pitch)):
                    ty, tx = stride[0] * y + offset[0] + ky, stride[1] * x + offset[1] + kx
                    inside = 0 <= ty < place.height and 0 <= tx < place.width
                    assert inside == (0 <= y + tap["dy"] < tap["rows"] and 0 <= x + tap["dx"] < tap["cols"])
                    if inside:
                        row, bank = divmod(y * place.pitch + x + tap["rot"], place.pixels)
                        assert (bank, place.base + row * place.groups + tap["addr"]) == spot(place, ty, tx)
    assert next(taps, None) is None
