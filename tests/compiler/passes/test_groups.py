"""Channels to groups."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np

from compiler.passes.groups import in_groups

ROOM = np.array([32, 8, 16, 24, 8, 16, 24])     # channels, and slots of two layers: LUT, DSP, all
TAKES = np.array([(1, 0, 1), (0, 1, 1), (0, 2, 2)])


def needs(held):
    """Of channels ``held`` so in two layers: a LUT slot, one DSP slot or two."""
    held = np.reshape(held, (-1, 2))
    return np.concatenate([np.ones((len(held), 1), int), TAKES[held[:, 0]], TAKES[held[:, 1]]], 1)


def check(found, items):
    assert sorted(item for group in found for item in group) == list(range(len(items)))
    assert all((items[group].sum(0) <= ROOM).all() for group in found)


@st.composite
def full_groups(draw):
    """So many groups, all slots of a layer taken in each, in any order."""
    count, channels = draw(st.integers(1, 5)), []
    for _ in range(count):
        layers = []
        for _ in range(2):
            pairs = draw(st.integers(4, 8))
            layers.append(draw(st.permutations([2] * pairs + [1] * (16 - 2 * pairs) + [0] * 8)))
        channels += zip(*layers, strict=False)
    return count, draw(st.permutations(channels))


@settings(max_examples=60, deadline=None)
@given(full_groups())
def test_no_more_than_there_are(packed):
    count, channels = packed
    found = in_groups(items := needs(channels), ROOM)
    check(found, items)
    assert len(found) <= count


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=150))
def test_any(channels):
    found = in_groups(items := needs(channels), ROOM)
    check(found, items)
    assert found == in_groups(items, ROOM)


def test_first_come_where_that_is_as_few():
    assert in_groups(needs([(0, 0)] * 20), ROOM) == [list(range(8)), list(range(8, 16)), list(range(16, 20))]


def test_exchange():
    """The first layers of a MobileNet-V2 as they were quantized: of channels as they come, a third group takes one."""
    held = "22 00 22 00 22 00 02 11 10 22 00 22 00 22 00 20 22 00 22 00 22 00 22 02 11 10 00 22 00 22 00 22"
    channels = [tuple(map(int, pair)) for pair in held.split()]
    found = in_groups(items := needs(channels), ROOM)
    check(found, items)
    assert len(found) == 2
