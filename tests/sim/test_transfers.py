"""What waits in an activation memory, by hand."""

import pytest

from sim.transfers import Transfer, bursts


@pytest.mark.parametrize("need, share, at, uses, done", [
    (10, 1, 5, [], 15),                             # nothing in the way
    (10, 1, 0, [(10, 20, 10)], 10),                 # done before
    (10, 1, 0, [(4, 9, 5)], 15),                    # it stands still for five cycles
    (10, 1, 7, [(4, 9, 5)], 19),                    # and for those that are left
    (10, 1, 0, [(4, 9, 5), (12, 14, 2)], 17),       # twice
    (10, 0.5, 0, [(0, 10, 5)], 10),                 # what it asks for half of the time has room in the other half
    (10, 1, 0, [(0, 10, 5)], 15),                   # and what asks in each cycle comes half as far
    (10, 1, 0, [(0, 100, 50)], 20),                 # until it is done
    (10, 0.5, 0, [(0, 20, 5), (5, 15, 10)], 20),    # none while two users together take all, whoever began first
    (10, 0.5, 0, [(0, 10, 10), (4, 12, 2)], 20),
    (10, 1, 0, [(0, 20, 5), (0, 20, 5)], 20),       # and half as far beside two that take a quarter each
    (0, 0, 5, [(0, 10, 10)], 5)])                   # rows that lie outside an image
def test_through(need, share, at, uses, done):
    assert Transfer(0.0, need, 0.0, mem=1, share=share).through([[(0, 1000, 1000)], uses], at) == done


def test_records_and_weights_do_not_wait():
    assert Transfer(0.0, 10, 0.0).through([[(0, 1000, 1000)]] * 2, 3) == 13


@pytest.mark.parametrize("low, high, worked", [
    (0, 100, 10), (0, 4, 0), (0, 5, 0), (5, 8, 3), (7, 9, 2), (7, 12, 2), (10, 14, 0.5), (12, 20, 6), (16, 100, 4),
    (30, 40, 0)])
def test_during(low, high, worked):
    """From cycle 5 on ten cycles of work, of which none is done from 9 to 13, and half as much from 13 to 15."""
    uses = [(9, 13, 4), (13, 15, 1)]
    assert Transfer(0.0, 10, 0.0, mem=0).during([uses, []], 5, low, high) == worked


@pytest.mark.parametrize("first, beats, sizes", [
    (0, 16, [16]), (0, 17, [16, 1]), (5, 3, [3]), (5, 11, [11]), (5, 12, [11, 1]), (30, 34, [2, 16, 16])])
def test_bursts(first, beats, sizes):
    assert bursts(first, beats, 16) == sizes
