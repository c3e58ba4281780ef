"""What the quantizer keeps to is what the compiler proves."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from compiler.emit.prove import prove
from spec.errors import AlloyError
from spec.sums import overflow, reaches
from spec.systems import DSP, LUT
from tests.compiler.graphs import engine


def refused(weights, bits, config):
    """Whether the compiler's proof refuses a filter (K,) in a column that can hold it."""
    op = SimpleNamespace(name="layer", input=SimpleNamespace(bits=bits), res_mult=0)
    for column, filters in ((DSP, config.dsp_filters), (LUT, config.lut_filters)):
        slots = int(column.slots(weights[None])[0])
        if filters and slots:
            try:
                prove(op, [0], column.digits(weights[None], slots), column.ones(weights[None]).sum(1), [0], [0], config)
            except AlloyError:
                return True
    return False


@pytest.mark.parametrize("seed", range(20))
def test_a_filter_overflows_where_the_compiler_refuses_it(seed):
    """Random filters of all number systems near the border, and the largest number of weights that fits."""
    rng = np.random.default_rng(seed)
    config = engine(acc_width=int(rng.integers(12, 27)), dsp_device=("dsp48e1", "dsp48e2")[seed % 2],
                    dsp_filters=int(rng.choice([0, 4])), lut_filters=2)
    bits, power = int(rng.integers(1, 2 * config.act_digit_bits + 1)), config.dsp_filters == 0 or seed % 3 == 0
    levels = [1 << e for e in range(7)] if power else list(range(1, 8)) if seed % 3 == 1 else list(range(1, 120))
    top = min((1 << bits) - 1, (1 << config.act_digit_bits) - 1)
    found = []
    for _ in range(20):
        size = max(1, int(rng.uniform(0.5, 2) * 2 ** (config.acc_width - 1) / top / min(np.mean(levels), 8)))
        sign = rng.choice([-1, 1], size, p=(share := rng.choice([0.0, 0.1, 0.5, 1.0]), 1 - share))
        weights = rng.choice(levels, size) * sign
        found.append(bool(overflow(weights[None], bits, config)[0] > 1))
        assert found[-1] == refused(weights, bits, config)
    assert overflow(np.zeros((1, 5), int), bits, config)[0] <= 1


@pytest.mark.parametrize("seed", range(10))
def test_reaches_are_reached(seed):
    """Least and largest sums over all codes that count: in a lane, and of the two lanes that have a wide code."""
    rng, config = np.random.default_rng(seed), engine()
    bits, low = int(rng.integers(1, 2 * config.act_digit_bits + 1)), config.act_digit_bits
    digits, ones = [rng.integers(-8, 8, 3) for _ in range(1 + seed % 2)], int(rng.integers(0, 4))
    codes = np.array(list(product((0, (1 << min(bits, low)) - 1, (1 << bits) - 1), repeat=3)))
    lanes = codes & (1 << low) - 1
    for digit, inside, joined in zip(digits, *reaches(digits, ones, bits, config), strict=True):
        sums = lanes @ digit
        assert inside[0] == sums.min() - ones and inside[1] == sums.max()
        whole = codes @ digit
        terms = ones * (1 + (1 << low)) if bits > low else ones
        assert joined[0] == whole.min() - terms and joined[1] == whole.max()


def test_filters_are_looked_at_one_by_one():
    weights = np.array([[7] * 30, [1] * 30, [-64] * 30, [100] * 30])
    config = engine(acc_width=12)
    together, alone = overflow(weights, 4, config), [overflow(w[None], 4, config)[0] for w in weights]
    assert together.tolist() == alone and (together > 1).tolist() == [True, False, True, True]
