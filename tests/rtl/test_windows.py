"""Windows in the whole engine: strides beyond 2, padding of four sides, dilation, maps that are loaded in planes."""

import numpy as np
import pytest

from compiler import compile
from spec.config import EngineConfig
from tests.windows import window_network

from .test_engine import CONFIG, Bench


@pytest.mark.slow
@pytest.mark.parametrize("seed, depth", [(16, 24), (6, 128), (22, 128)])
def test_windows(seed, depth):
    rng, status = np.random.default_rng(seed), []
    network = window_network(rng, stride=4, size=9, layers=2, channels=3, most=3)
    config = EngineConfig.from_dict(CONFIG.to_dict() | {"act_depth": depth})
    codes = rng.integers(0, 256, (1, *network.tensors["image"].shape))
    bench = Bench(network, compile(network, config, keep="all"), codes, config, seed=seed, stall=0.1)

    async def host(ctx):
        await bench.start(ctx)
        status.append(await bench.finish(ctx))

    bench.simulate(host, config)
    assert status == [2] and bench.right()
