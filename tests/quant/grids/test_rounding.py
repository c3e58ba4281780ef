"""Requantizers with the thresholds of another rounding: what is said of them is true for every accumulator."""

import numpy as np
import pytest

from quant.grids.rounding import MODES, fit, thresholds


def engine(found, acc, res=0):
    """The engine's codes less the zero point, not clipped."""
    return (acc * found.mult[:, None] + res * found.res_mult + found.bias[:, None]
            + (1 << found.shift - 1)) >> found.shift


def counted(source, found, low, high, steps):
    """(F,): accumulators whose codes differ, one by one."""
    off = []
    for index in range(len(low)):
        acc = np.arange(low[index], high[index] + 1)[None]
        one = type(found)(found.mult[index:index + 1], found.bias[index:index + 1], found.shift, found.res_mult, None)
        clip = steps[0] - 1, steps[-1]
        off.append((np.clip(engine(one, acc), *clip) != np.clip(source(acc, index), *clip)).sum())
    return np.array(off)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("mode", ["ROUND", "FLOOR", "CEIL", "HALF_UP", "DOWN"])
def test_off_is_the_number_of_accumulators_that_differ(seed, mode):
    rng = np.random.default_rng(seed)
    filters, powers = 5, rng.random() < 0.3
    factor = 2.0 ** rng.integers(-10, -1, filters) if powers else rng.uniform(0.001, 0.3, filters)
    bias = rng.integers(-9, 9, filters) / 4 if powers else rng.normal(0, 20, filters)
    low, high = -rng.integers(0, 3000, filters), rng.integers(0, 3000, filters)
    steps = np.arange(1 if rng.random() < 0.5 else -128, int(rng.choice([3, 15, 127])) + 1)

    def source(acc, index):
        return MODES[mode](acc * factor[index] + bias[index])
    wanted = thresholds(lambda acc: MODES[mode](acc * factor[:, None] + bias[:, None]) >= steps, low, high, len(steps))
    found = fit(wanted, steps, factor, low, high)
    assert (found.mult >= 1).all() and (found.mult < 1 << 16).all() and 1 <= found.shift <= 46
    assert (np.abs(found.bias) < 1 << 46).all()
    assert np.array_equal(found.off, counted(source, found, low, high, steps))
    assert (found.off <= 0.02 * (high - low + 1) + 1).all() or powers or mode == "DOWN"    # which has a wider 0


@pytest.mark.parametrize("exponent", [1, 4, 9])
@pytest.mark.parametrize("mode, exact", [("HALF_UP", True), ("FLOOR", True), ("CEIL", True), ("ROUND", False)])
def test_powers_of_two(exponent, mode, exact):
    """What rounds as the engine does up to a constant is the same; ties to even are half of them the other way."""
    steps, low, high = np.arange(-100, 101), np.array([-60 << exponent]), np.array([60 << exponent])
    factor = np.array([2.0 ** -exponent])
    wanted = thresholds(lambda acc: MODES[mode](acc * factor[:, None]) >= steps, low, high, len(steps))
    found = fit(wanted, steps, factor, low, high)
    if exact:
        assert found.off[0] == 0
    else:
        assert 0 < found.off[0] <= 60


@pytest.mark.parametrize("seed", range(10))
def test_residuals(seed):
    """A second operand: every pair of codes."""
    rng = np.random.default_rng(seed)
    one, two, zero = rng.uniform(0.2, 1.2), rng.uniform(0.2, 1.2), int(rng.integers(-3, 3))
    steps, res = np.arange(1, 256), np.arange(-7, 9)
    columns, rows = np.tile(steps, len(res)), np.repeat(res, len(steps))
    low, high = np.array([-20]), np.array([235])
    wanted = thresholds(lambda acc: np.round(acc * one + rows * two + zero) >= columns, low, high, len(columns))
    found = fit(wanted, columns, np.array([one]), low, high, rows, two)
    acc, off = np.arange(low[0], high[0] + 1)[None], 0
    for value in res:
        real = np.clip(np.round(acc * one + value * two + zero), 0, 255)
        off += (np.clip(engine(found, acc, value), 0, 255) != real).sum()
    assert off == found.off[0] <= 0.02 * 256 * len(res)


def test_thresholds_beyond_all_accumulators():
    found = thresholds(lambda acc: acc * 0.5 >= np.array([-99, 1, 2, 99]), np.array([-4]), np.array([5]), 4)
    assert found.tolist() == [[-4, 2, 4, 6]]


def test_filters_of_one_code_cost_the_others_nothing():
    """Filters of zeros have any scale, such as 1 beside 0.00001."""
    factor, low, high = np.array([0.01234, 99.0]), np.array([-9000, 0]), np.array([9000, 0])
    steps = np.arange(-100, 101)
    wanted = thresholds(lambda acc: np.round(acc * factor[:, None]) >= steps, low, high, len(steps))
    found = fit(wanted, steps, factor, low, high)
    assert found.mult[0] > 1 << 14 and found.off[1] == 0 and found.off[0] <= 20
