"""Windows of every kind through the compiler: what the command model computes is what the golden model does."""

import numpy as np
import pytest

from compiler import compile
from sim import command_model
from tests.networks import random_config
from tests.windows import window_network


def agrees(network, config, rng):
    """Every tensor of one image."""
    codes = rng.integers(0, 256, network.tensors["image"].shape)
    found = command_model.run(compile(network, config, keep="all"), config, codes)
    expected = network.codes(codes[None])
    assert set(found) == set(expected) - {"image"}
    return [name for name in found if (found[name] != expected[name][0]).any()]


@pytest.mark.parametrize("seed", range(60))
def test_windows(seed):
    """Half of them in strips."""
    rng = np.random.default_rng(seed)
    network = window_network(rng)
    config = random_config(rng, act_depth=40 if seed % 2 else 512, weight_depth=128, tap_depth=32)
    assert agrees(network, config, rng) == []
