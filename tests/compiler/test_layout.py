"""Views and taps of placements, against the place of each pixel."""

import numpy as np
import pytest

from compiler.layout import Placement
from spec.operators.windows import Window
from spec.views import view_of, walk


def made(seed, most=2):
    """A placement in up to ``most`` planes in each direction, and the dice."""
    rng = np.random.default_rng(seed)
    height, width, groups = (int(n) for n in rng.integers(1, 9, 3))
    phases = tuple(int(n) for n in rng.integers(1, most + 1, 2))
    pitch = -(-width // phases[1]) + int(rng.integers(0, 3))
    return Placement(1, 5, height, width, phases, pitch, groups, 4 * int(rng.integers(1, 4)),
                     int(rng.choice([1, 2, 4]))), rng


def spot(place, y, x, group=0):
    """(bank, address) of a pixel."""
    fy, fx = place.phases
    addr, bank = place.spot(y % fy, x % fx, y // fy, x // fx, group)
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
    place, rng = made(seed, most=4)
    kernel = tuple(int(n) for n in rng.integers(1, 4, 2))
    offset = tuple(int(n) for n in rng.integers(-2, 3, 2))
    stride, apart = place.phases, tuple(int(n) for n in rng.integers(1, 4, 2))
    taps = iter(place.taps(kernel, offset, apart))
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            tap = next(taps)
            for y in range(4):
                for x in range(min(4, place.pitch)):
                    ty, tx = stride[0] * y + offset[0] + ky * apart[0], stride[1] * x + offset[1] + kx * apart[1]
                    inside = 0 <= ty < place.height and 0 <= tx < place.width
                    assert inside == (0 <= y + tap["dy"] < tap["rows"] and 0 <= x + tap["dx"] < tap["cols"])
                    if inside:
                        row, bank = divmod(y * place.pitch + x + tap["rot"], place.pixels)
                        assert (bank, place.base + row * place.groups + tap["addr"]) == spot(place, ty, tx)
    assert next(taps, None) is None


@pytest.mark.parametrize("seed", range(60))
def test_a_line_walks_along_a_row_of_a_plane(seed):
    place, rng = made(seed, most=4)
    y, x, step = int(rng.integers(0, place.height)), int(rng.integers(0, place.width)), int(rng.integers(1, 10))
    apart = step * place.phases[1]
    view = {"out_reserved": 0, **place.line("out", y=y, x=x, step=step)}
    count = len(range(x, place.width, apart))
    found = [spot[2:] for spot in walk(view_of(view, "out"), count, 1, place.pixels)]
    assert found == [spot(place, y, col) for col in range(x, place.width, apart)]


@pytest.mark.parametrize("seed", range(60))
def test_taps_of_a_line_lead_to_the_pixels_of_its_windows(seed):
    place, rng = made(seed, most=1)
    stride, dilation, kernel = (tuple(int(n) for n in rng.integers(1, high, 2)) for high in (6, 3, 4))
    window, step = Window(kernel, stride, dilation=dilation), int(rng.integers(1, 4))
    first, row = tuple(int(n) for n in rng.integers(-4, 5, 2)), int(rng.integers(0, place.height))
    view = {"out_reserved": 0, **place.line("out", y=row, x=0, step=step * stride[1])}
    spots = list(walk(view_of(view, "out"), 5, 1, place.pixels))
    for (ky, kx), tap in zip(np.ndindex(*kernel), place.line_taps(window, first, row, step), strict=True):
        for number, (_, _, bank, addr) in enumerate(spots):
            y, x = first[0] + ky * dilation[0], first[1] + number * step * stride[1] + kx * dilation[1]
            inside = 0 <= y < place.height and 0 <= x < place.width
            assert inside == (0 <= number + tap["dy"] < tap["rows"] and 0 <= tap["dx"] < tap["cols"])
            if inside:
                carry, at = divmod(bank + tap["rot"], place.pixels)
                assert (at, addr + tap["addr"] + carry * place.groups) == spot(place, y, x)


@pytest.mark.parametrize("seed", range(60))
def test_neighbours_lie_in_banks_of_different_remainders(seed):
    """As many as are visited at once; from an odd column on, in two planes, one less."""
    place, _ = made(seed)
    for y in range(place.height):
        for x in range(place.width):
            count = place.at_once - (place.phases[1] == 2 and x % 2 and place.at_once > 1)
            banks = [spot(place, y, at)[0] for at in range(x, min(x + count, place.width))]
            assert len({bank % place.at_once for bank in banks}) == len(banks)


@pytest.mark.parametrize("seed", range(40))
def test_a_spread_view_shows_pixels_of_one_plane_several_times(seed):
    """Each as often as ``up`` says, those of each parity some channel groups apart."""
    place, rng = made(seed, most=1)
    up, apart = tuple(int(n) for n in rng.integers(1, 3, 2)), int(rng.integers(0, 3))
    y0, x0 = (int(rng.integers(0, size * n)) for size, n in zip((place.height, place.width), up, strict=True))
    rows, cols = place.height * up[0] - y0, place.width * up[1] - x0
    view = {"out_reserved": 0, **place.spread("out", up, apart, y=y0, x=x0)}
    for y, x, bank, addr in walk(view_of(view, "out"), rows, cols, place.pixels):
        at, first = spot(place, (y0 + y) // up[0], (x0 + x) // up[1])
        assert (bank, addr) == (at, first + ((y0 + y) % up[0] * up[1] + (x0 + x) % up[1]) * apart)


@pytest.mark.parametrize("seed", range(60))
def test_ranges_have_all_words_of_some_rows(seed):
    """And share few of them with those above."""
    place, rng = made(seed)
    y0 = int(rng.integers(0, place.height))
    y1 = int(rng.integers(y0, place.height)) + 1

    def ranges(low, high):
        return {at for first, end in place.ranges(low, high) for at in range(first, end)}
    assert ranges(y0, y1) >= {spot(place, y, x, group)[1] for y in range(y0, y1) for x in range(place.width)
                              for group in range(place.groups)}
    assert ranges(0, place.height) <= set(range(place.base, place.base + place.words))
    assert len(ranges(0, y0) & ranges(y0, place.height)) <= place.groups * place.phases[0] * place.phases[1]
