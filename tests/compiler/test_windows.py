"""Windows of every kind through the compiler: what the command model computes is what the golden model does."""

from dataclasses import asdict

import numpy as np
import pytest

from compiler import compile
from compiler.build import lowered
from sim import command_model
from spec.network import Network, Tensor
from spec.operators.max_pool import MaxPool
from spec.operators.windows import Window
from tests.compiler.graphs import engine
from tests.networks import random_config
from tests.windows import window_network


def agrees(network, config, rng):
    """Every tensor of one image."""
    codes = rng.integers(0, 256, network.tensors["image"].shape)
    found = command_model.run(compile(network, config, keep="all"), config, codes)
    expected = network.codes(codes[None])
    assert set(found) == set(expected) - {"image"}
    return [name for name in found if (found[name] != expected[name][0]).any()]


def pooled(shape, window):
    """A network that is one maximum."""
    rows, cols = window.size(shape[1:])
    tensors = {name: Tensor(name=name, channels=shape[0], height=height, width=width, bits=8, zero=100)
               for name, height, width in (("image", *shape[1:]), ("out", rows, cols))}
    node = MaxPool(name="p", input="image", output="out", hi=255, **asdict(window))
    return Network(name="pool", input="image", output="out", tensors=tensors, nodes=[node])


@pytest.mark.parametrize("shape, window, kernels", [
    ((3, 14, 15), Window((13, 13), padding=(6, 6)), [(1, 13), (13, 1)]), ((3, 9, 8), Window((5, 5)), [(1, 5), (5, 1)]),
    ((3, 9, 8), Window((3, 3), (2, 2)), [(3, 3)]), ((2, 1, 300), Window((1, 300)), []),
    ((2, 1, 90), Window((1, 37), (1, 3), (0, 20), (0, 5), (1, 2)), [(1, 7), (1, 7)]),
    ((2, 60, 2), Window((41, 2), (4, 1), (9, 0)), []), ((2, 40, 30), Window((40, 30)), [])])
def test_large_maxima(shape, window, kernels):
    """In parts, if there are more taps than the table holds, or it is quicker."""
    config, rng = engine(act_depth=512, tap_depth=16), np.random.default_rng(1)
    network = pooled(shape, window)
    found = [op.kernel for op in lowered(network, config).ops]
    assert found == kernels or not kernels and len(found) > 2
    assert all(rows * cols <= 16 for rows, cols in found) and agrees(network, config, rng) == []


@pytest.mark.parametrize("seed", range(60))
def test_windows(seed):
    """Strides up to 2 and up to 5; half of them in strips."""
    rng = np.random.default_rng(seed)
    network = window_network(rng, stride=5 if seed % 4 > 1 else 2, size=13)
    config = random_config(rng, act_depth=40 if seed % 2 else 512, weight_depth=128, tap_depth=32)
    assert agrees(network, config, rng) == []
