"""Rounding half up, saturation, and the requantizer by its definition."""

from fractions import Fraction
from math import floor

from hypothesis import given, strategies as st
import numpy as np

from spec.numerics import requantize, round_shift

VALUES = st.integers(-(1 << 40), 1 << 40)


@given(st.lists(VALUES, min_size=1), st.integers(1, 46))
def test_round_shift_is_half_up(values, shift):
    expected = [floor(Fraction(value, 1 << shift) + Fraction(1, 2)) for value in values]
    assert round_shift(np.array(values), shift).tolist() == expected


@given(st.integers(-(1 << 20), 1 << 20), st.integers(0, (1 << 16) - 1), st.integers(-(1 << 46), (1 << 46) - 1),
       st.integers(1, 46), st.integers(0, 255), st.integers(-255, 255), st.integers(0, (1 << 16) - 1))
def test_requantize_by_the_definition(acc, mult, bias, shift, zero, res, res_mult):
    code = floor(Fraction(acc * mult + res * res_mult + bias, 1 << shift) + Fraction(1, 2)) + zero
    lo, hi = 3, 250
    values = dict(lo=lo, hi=hi, out_zero=zero, res=np.array([res]), res_mult=res_mult)
    found = requantize(np.array([acc]), mult, bias, shift, **values)
    assert found.tolist() == [min(max(code, lo), hi)]
    table = np.arange(256)[::-1] // 2
    assert requantize(np.array([acc]), mult, bias, shift, table=table, **values).tolist() == [table[found[0]]]


def test_requantize_leaves_its_arguments():
    acc, bias = np.arange(6).reshape(1, 2, 3), np.ones((2, 1), np.int64)
    kept = acc.copy(), bias.copy()
    requantize(acc, np.full((2, 1), 3), bias, 1, lo=0, hi=7)
    assert (acc == kept[0]).all() and (bias == kept[1]).all()
