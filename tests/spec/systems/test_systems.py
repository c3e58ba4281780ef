"""Number systems: levels, and what follows from them."""

import numpy as np
import pytest

from spec.errors import AlloyError
from spec.numerics import Scheme, check_weights, levels, nearest_level
from spec.systems import DSP, LUT, SYSTEMS

BOOK = [-119, -8, 0, 5, 119]


def test_every_scheme_has_a_system():
    assert SYSTEMS.keys() == {int(scheme) for scheme in Scheme}
    assert all(scheme.system.scheme == scheme for scheme in Scheme)


@pytest.mark.parametrize("scheme, bits, least, count, dsp, lut", [
    (Scheme.FIXED2, 2, -1, 3, 1, 1), (Scheme.FIXED3, 3, -3, 7, 1, 0), (Scheme.FIXED4, 4, -7, 15, 1, 0),
    (Scheme.FIXED5, 5, -15, 31, 2, 0),
    (Scheme.FIXED6, 6, -31, 63, 2, 0), (Scheme.FIXED7, 7, -63, 127, 2, 0), (Scheme.FIXED8, 8, -119, 239, 2, 0),
    (Scheme.FIXED9, 9, -255, 511, 2, 0),
    (Scheme.POT4, 4, -64, 15, 2, 1), (Scheme.CODEBOOK, 3, -119, 5, 2, 0)])
def test_levels(scheme, bits, least, count, dsp, lut):
    system, found = scheme.system, levels(scheme, BOOK)
    assert found[0] == least == -found[-1] and len(found) == count
    assert (np.diff(found) > 0).all() and found.dtype == np.int64
    assert system.bits(BOOK) == bits and (system.slots(DSP, BOOK), system.slots(LUT, BOOK)) == (dsp, lut)
    assert system.home is (LUT if scheme is Scheme.POT4 else DSP)


@pytest.mark.parametrize("scheme", Scheme)
def test_nearest_level(scheme):
    table, values = levels(scheme, BOOK), np.random.default_rng(int(scheme)).normal(0, 60, 500)
    found = nearest_level(values, scheme, BOOK)
    assert (np.abs(values - found) == np.abs(values[:, None] - table).min(1)).all()
    assert check_weights(found, scheme, BOOK)
    assert (nearest_level((table[1:] + table[:-1]) / 2, scheme, BOOK) == table[1:]).all()       # a tie goes up
    assert not check_weights([table[-1] + 1, table[0]], scheme, BOOK)


@pytest.mark.parametrize("book, words", [
    (None, "needs a code book of 1 to 16 levels"), ([], "needs a code book of 1 to 16 levels"),
    (range(17), "needs a code book of 1 to 16 levels"),
    ([3, -120], "code book level -120 is outside -119..119")])
def test_code_books_that_are_none(book, words):
    with pytest.raises(AlloyError, match=words):
        levels(Scheme.CODEBOOK, book)


@pytest.mark.parametrize("scheme", [Scheme.FIXED4, Scheme.FIXED8, Scheme.POT4])
def test_ties_and_their_neighbours(scheme):
    """The numbers next to a tie fall to either side of it, however near."""
    table = levels(scheme)
    middle = (table[1:] + table[:-1]) / 2
    assert np.array_equal(nearest_level(middle, scheme), table[1:])
    assert np.array_equal(nearest_level(np.nextafter(middle, -np.inf), scheme), table[:-1])
    assert np.array_equal(nearest_level(np.nextafter(middle, np.inf), scheme), table[1:])


@pytest.mark.parametrize("scheme", [Scheme.FIXED4, Scheme.FIXED8, Scheme.POT4])
def test_only_levels_are_held(scheme):
    table = levels(scheme)
    for value in range(int(table[0]) - 2, int(table[-1]) + 3):
        assert check_weights(np.array([table[0], value, 0]), scheme) == (value in table), value
