"""Programs of random networks: what the command model makes of them."""

import numpy as np

from compiler import compile
from sim import command_model
from tests.networks import random_config

__all__ = ["case", "check_programs"]


def case(random_network, sizes, seed):
    """A network of ``random_network(rng, size)``, an engine (every third with a memory that is too small), and codes of
    an image (1, C, H, W)."""
    rng = np.random.default_rng(seed)
    net = random_network(rng, sizes[seed % 3])
    config = random_config(rng, dsp_filters=4, lut_filters=int(rng.integers(3)), act_depth=(256, 128, 24)[seed % 3])
    return net, config, rng.integers(0, 256, (1, *net.tensors["image"].shape))


def check_programs(net, config, images, seed):
    """Every tensor, and the output alone, as the golden model has it."""
    expected = net.codes(images)
    for keep in ("all", ()):
        found = command_model.run(compile(net, config, keep=keep), config, images[0], seed)
        assert set(found) == ({*expected} - {"image"} if keep else {net.output})
        assert all((found[name] == expected[name][0]).all() for name in found)
