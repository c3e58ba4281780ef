"""Operations: weights that two digits do not hold are read in parts, and what is read of an input."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from compiler import compile
from compiler.graph import Value
from compiler.operations import Convolution, Spread
from sim import command_model
from spec.config import EngineConfig
from spec.network import Network, Tensor
from spec.numerics import Scheme
from spec.operators.convolution import Conv
from tests.networks import random_config


def convolution(weight, groups=1):
    count, channels = len(weight), weight.shape[1] * groups
    ones = np.ones(count, np.int64)
    return Convolution("c", 0, Value("x", channels, 4, 4, 8, 0), Value("y", count, 4, 4, 8, 0), weight=weight,
                       scheme=ones * Scheme.FIXED9, mult=ones, bias=ones, shift=1)


def test_taps_of_small_weights_are_the_kernel():
    weight = np.full((2, 3, 2, 2), -119)
    op = convolution(weight)
    assert op.taps.tolist() == [0, 1, 2, 3] and (op.filters(np.array([0]))[0] == -119).all()


@pytest.mark.parametrize("groups", [1, 2])
def test_large_weights_are_the_sum_of_their_taps(groups):
    weight = np.random.default_rng(groups).integers(-20, 21, (4, 3, 2, 2))
    weight[1, 0, 0, 1], weight[2, 2, 1, 1], weight[0, 1, 1, 1] = 127, -255, 120
    op = convolution(weight, groups)
    assert op.taps.tolist() == [0, 1, 2, 3, 1, 3, 3]
    for index in range(4):
        found, total = op.filters(np.array([index]))[0], np.zeros((3 * groups, 4), int)
        np.add.at(total.T, op.taps, found.T)
        first = index // (4 // groups) * 3
        assert np.abs(found).max() <= 119
        assert np.array_equal(total[first:first + 3], weight[index].reshape(3, 4)) and not np.delete(
            total, range(first, first + 3), 0).any()


@pytest.mark.parametrize("up", [(1, 1), (2, 2), (1, 2), (3, 1), (2, 5)])
def test_what_a_spread_reads(up):
    """Of any region the pixels that are copied there, and no others."""
    op = Spread("s", 0, Value("x", 4, 5, 4, 8, 0), Value("y", 4, 5 * up[0], 4 * up[1], 8, 0), up=up)
    assert op.size == (op.output.height, op.output.width)
    for y0, y1 in combinations(range(op.size[0] + 1), 2):
        for x0, x1 in combinations(range(op.size[1] + 1), 2):
            rows, cols = ({at // n for at in range(lo, hi)} for n, lo, hi in zip(up, (y0, x0), (y1, x1), strict=True))
            assert op.region(y0, y1, x0, x1) == (min(rows), max(rows) + 1, min(cols), max(cols) + 1)


@pytest.mark.parametrize("seed", range(12))
def test_programs_with_large_weights(seed):
    """Two layers, some filters beyond two digits; the first is folded where its taps fit one vector."""
    rng = np.random.default_rng(seed)
    sizes, tensors, nodes = rng.integers(1, 7, 3), {}, []
    tensors["image"] = Tensor(name="image", channels=int(sizes[0]), height=6, width=5, bits=8,
                              zero=int(rng.choice([0, 128])))
    for index, (before, after) in enumerate(zip(sizes, sizes[1:], strict=False)):
        kernel = int(rng.choice([1, 3]))
        weight = np.round(rng.normal(0, 60, (after, before, kernel, kernel))).clip(-255, 255).astype(np.int16)
        source = ["image", "t0"][index]
        tensors[f"t{index}"] = Tensor(name=f"t{index}", channels=int(after), height=6, width=5, bits=8, zero=100)
        nodes.append(Conv(name=f"l{index}", input=source, output=f"t{index}", weight=weight, padding=(kernel // 2,) * 2,
                          scheme=np.full(after, Scheme.FIXED9, np.uint8), mult=rng.integers(1, 99, after, np.int32),
                          bias=rng.integers(0, 1 << 20, after), shift=13, lo=0, hi=255))
    network = Network(name="n", input="image", output="t1", tensors=tensors, nodes=nodes)
    config = random_config(rng, dsp_filters=4, act_digit_bits=4, acc_width=24, act_depth=512, weight_depth=128)
    codes = rng.integers(0, 256, (1, *tensors["image"].shape))
    program = compile(network, config, keep="all")
    found = command_model.run(program, config, codes[0])
    for name, values in network.codes(codes).items():
        assert name == network.input or np.array_equal(found[name], values[0]), name


def test_codes_of_two_digits_take_twice_the_steps():
    """A pixel takes two lanes; the post unit visits as many pixels, one at once."""
    config = EngineConfig(name="x", ic=8, pixels=4, dsp_filters=4, lut_filters=4)
    weight = np.ones((16, 8, 3, 3), np.int16)
    both = [replace(op, input=replace(op.input, bits=bits)) for op in [convolution(weight)] for bits in (5, 8)]
    (narrow, visits), (wide, same) = (op.spent(config) for op in both)
    assert narrow == 2 * 9 / 4 and wide == 2 * narrow and visits == same
