"""Spreads, selections and parts of values in the whole engine: views whose planes are none, lanes of a group."""

import numpy as np
import pytest

from compiler import compile
from spec.config import EngineConfig
from tests.spec.operators import test_concat, test_moves

from .test_engine import CONFIG, Bench


@pytest.mark.parametrize("made, seed, depth", [
    (test_concat.random_network, 1, 128),
    pytest.param(test_moves.random_network, 2, 128, marks=pytest.mark.slow),
    pytest.param(test_moves.random_network, 5, 24, marks=pytest.mark.slow),
    pytest.param(test_concat.random_network, 4, 24, marks=pytest.mark.slow)])
def test_moved_values(made, seed, depth):
    rng, status = np.random.default_rng(seed), []
    network, config = made(rng, 4), EngineConfig.from_dict(CONFIG.to_dict() | {"act_depth": depth})
    codes = rng.integers(0, 256, (1, *network.tensors["image"].shape))
    bench = Bench(network, compile(network, config), codes, config, seed=seed, stall=0.1)

    async def host(ctx):
        await bench.start(ctx)
        status.append(await bench.finish(ctx))

    bench.simulate(host, config)
    assert status == [2] and bench.right()
