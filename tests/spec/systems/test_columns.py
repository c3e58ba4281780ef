"""Nibbles of the columns: every weight there and back."""

import numpy as np
import pytest

from spec.numerics import Scheme, levels
from spec.systems import DSP, LUT, SYSTEMS, columns_of, empty_word
from tests.compiler.graphs import engine

BOTH = [DSP, LUT]


@pytest.mark.parametrize("column", BOTH)
@pytest.mark.parametrize("scheme", [scheme for scheme in Scheme if scheme not in (Scheme.CODEBOOK, Scheme.FIXED9)])
def test_there_and_back(column, scheme):
    weights = levels(scheme)
    slots = column.slots(weights[None])[0]
    assert slots or column is LUT
    for count in range(slots, 3) if column is DSP else [1] * slots:
        digits = column.digits(weights, count)
        assert len(digits) == count and (sum(digit << 4 * at for at, digit in enumerate(digits)) == weights).all()
        for at, digit in enumerate(digits):
            nibbles = column.encode(digit)
            assert nibbles.min() >= 0 and nibbles.max() <= 15 and (column.decode(nibbles) == digit).all()
            assert at + 1 < count or np.abs(digit).max() <= 7 or column is LUT


def test_slots_are_those_of_the_weights_not_of_the_system():
    weights = np.array([[[7, -7]], [[8, 0]], [[0, 0]], [[-64, 3]], [[-64, 4]], [[128, 1]]])
    assert DSP.slots(weights).tolist() == [1, 2, 1, 2, 2, 2] and LUT.slots(weights).tolist() == [0, 1, 1, 0, 1, 0]


def test_zero():
    assert all(column.encode(np.array([0])).tolist() == [column.zero] for column in BOTH)
    assert LUT.decode(np.arange(16)).tolist() == [1, 2, 4, 8, 16, 32, 64, 0, -1, -2, -4, -8, -16, -32, -64, 0]


def test_ones():
    weights = np.array([[-1, 0, 4], [2, -64, -2]])
    assert LUT.ones(weights).sum(1).tolist() == [1, 2] and not DSP.ones(weights).any()


def test_home_holds_every_system():
    assert all(system.slots(system.home, [1, 2]) for system in SYSTEMS.values())


@pytest.mark.parametrize("dsp, lut", [(4, 3), (2, 0), (0, 1), (6, 1)])
def test_slots_of_an_engine(dsp, lut):
    """Every slot belongs to one kind of column, in order, and holds its nibble of 0."""
    config = engine(dsp_filters=dsp, lut_filters=lut)
    columns = [column for column, slots in columns_of(config) for _ in range(config.slots)[slots]]
    assert columns == [DSP] * dsp + [LUT] * lut
    assert empty_word(config).tolist() == [column.zero for column in columns] and empty_word(config).dtype == np.uint8


def test_nibbles_that_no_weight_has():
    """A zero of power-of-two columns has no sign; the second digit of a pair is never -8."""
    assert [n for n in range(16) if LUT.unknown(np.array([[7], [n]]))] == [15]
    assert [n for n in range(16) if DSP.unknown(np.array([[8], [n]]))] == [8] and not DSP.unknown(np.array([[8]]))
