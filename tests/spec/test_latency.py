"""Depths that are functions: small cases by hand. That the blocks have them is in the tests of the blocks."""

import pytest

from spec import latency
from spec.config import EngineConfig


def configuration(**values):
    return EngineConfig(**{**dict(name="latency", ic=8, pixels=4, dsp_filters=4, lut_filters=2), **values})


@pytest.mark.parametrize("count, levels", [(1, 0), (2, 1), (3, 1), (4, 2), (9, 2), (10, 3), (27, 3), (32, 4)])
def test_tree_levels(count, levels):
    assert latency.tree_levels(count) == levels


@pytest.mark.parametrize("pixels, stages", [(2, 1), (4, 1), (6, 2), (16, 2), (18, 3), (64, 3)])
def test_rotator(pixels, stages):
    """Two bits of an offset of 0 .. pixels - 1 each."""
    assert latency.rotator(configuration(pixels=pixels)) == stages


@pytest.mark.parametrize("values, cycles", [
    (dict(), 4), (dict(lut_filters=0), 4), (dict(dsp_filters=0), 3), (dict(ic=1), 3), (dict(ic=1, dsp_filters=0), 1),
    (dict(ic=28), 5), (dict(ic=28, lut_filters=0), 5), (dict(ic=3, dsp_device="dsp48e1"), 4)])
def test_totals(values, cycles):
    """The slower kind of element counts, and only those that are there. A chain of dsp48e2 takes four channels."""
    assert latency.totals(configuration(**values)) == cycles


def test_sums():
    config = configuration()
    assert latency.array(config) == 1 + 4 + 2 + 3 and latency.rows(config) == 2 + 10 + 2
    assert latency.feed(config) == 7 and latency.pool(config) == 1 + 2 + 3 + 1
    assert latency.post(config) == 5 + 7 + 1 and latency.post(configuration(tables=1)) == 5 + 7 + 2 + 1


def test_records_come_later_where_memories_are_slow():
    slow, fast = configuration(dsp_device="mult18"), configuration(dsp_device="dsp48e1")
    assert (latency.record(slow), latency.record(fast)) == (2, 1)
    for sums in (latency.feed, latency.parameters, latency.pool):
        assert sums(slow) == sums(fast) + 1


@pytest.mark.parametrize("values", [dict(), dict(pixels=64), dict(dsp_filters=0, lut_filters=60), dict(pixels=2)])
def test_fed(values):
    """The last element takes its weights and activations as many cycles after the first as it has rows and columns
    before."""
    config = configuration(**values)
    before = config.pixels // 2 - 1 + config.dsp_filters // 2 + config.lut_filters - 1
    assert latency.fed(config) > latency.feed(config) + before


@pytest.mark.parametrize("pixels, apart", [(2, 1), (4, 1), (6, 6), (8, 4), (12, 6), (16, 8)])
def test_rows_leave_as_fast_as_one_is_visited(pixels, apart):
    """Of one pixel at once, whose two digits are a row: each of two chains gives a row in every second cycle, so that
    the rows of a tile leave in as many cycles as there are; an odd number of rows is one chain."""
    config = configuration(pixels=pixels)
    assert latency.apart(config) == apart
    assert latency.chains(config) == (2 if pixels % 4 == 0 else 1)


@pytest.mark.parametrize("values", [dict(), dict(pixels=2), dict(pixels=16), dict(ic=64, lut_filters=20)])
def test_the_fifo_holds_what_is_visited_while_a_tile_comes(values):
    """Kind: an array that waits for room although the post unit waits for rows. A tile of two digits takes as many
    visits as it has rows."""
    config = configuration(**values)
    rows = config.pixels // 2
    assert (latency.tiles(config) - 1) * rows >= latency.first_row(config) + 1 > (latency.tiles(config) - 3) * rows
