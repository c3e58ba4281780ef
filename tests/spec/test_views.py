"""The walk of a view against the place of each pixel, which docs/architecture.md tells by a formula."""

import numpy as np
import pytest

from spec.views import fields_of, view_of, walk


def plane_view(pixels, cols, rows, groups, split):
    """A view of a whole tensor at address 3, and the place of a pixel by the formula."""
    pitch = -(-cols // 2) if split[1] else cols
    words = -(-(-(-rows // 2) if split[0] else rows) * pitch // pixels) * groups

    def place(y, x):
        plane = (y % 2 if split[0] else 0) * (1 + split[1]) + (x % 2 if split[1] else 0)
        at = (y // 2 if split[0] else y) * pitch + (x // 2 if split[1] else x)
        return at % pixels, 3 + plane * words + at // pixels * groups
    view = {"step_addr": pitch // pixels * groups, "step_bank": pitch % pixels, "groups": groups,
            "phase_x": int(split[1]),
            "phase_y": int(split[0]), "par_x": 0, "par_y": 0, "reserved": 0}
    for plane in range(4):
        view[f"row_bank{plane}"], view[f"row_addr{plane}"] = place(plane // 2 * split[0], plane % 2 * split[1])
    for odd in range(2):
        view[f"cur_bank{odd}"], view[f"cur_addr{odd}"] = place(0, odd * split[1])
    return view, place


@pytest.mark.parametrize("seed", range(40))
def test_each_pixel_is_where_the_formula_says(seed):
    rng = np.random.default_rng(seed)
    rows, cols, pixels, groups = (int(n) for n in rng.integers(1, 8, 4))
    pixels, split = 2 * pixels, tuple(bool(b) for b in rng.integers(0, 2, 2))
    view, place = plane_view(pixels, cols, rows, groups, split)
    found = list(walk(view, rows, cols, pixels))
    assert found == [(y, x, *place(y, x)) for y in range(rows) for x in range(cols)]


def test_a_walk_may_start_within_a_row():
    view, place = plane_view(4, 5, 3, 2, (False, False))
    view["cur_bank0"], view["cur_addr0"] = place(0, 2)
    wanted = [(y, x, *place(y, x)) for y in range(3) for x in range(5) if y or x >= 2]
    assert list(walk(view, 3, 5, 4, (0, 2))) == wanted
    assert list(walk(view, 3, 5, 4, (2, 2)))[0][:2] == (2, 2)


def test_a_view_among_the_fields_of_a_command():
    view, _ = plane_view(4, 5, 3, 2, (True, True))
    command = fields_of(view, "res")
    assert command["res_groups"] == 2 and view_of({**command, "out_groups": 7, "tag": 1}, "res") == view
