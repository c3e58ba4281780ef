"""Depthwise convolutions that take taps of a row together: the codes are those of the golden model, and it happens."""


from hypothesis import HealthCheck, given, settings, strategies as st
import numpy as np

from compiler import compile
from sim import command_model
from sim.compare import first_difference
from spec.commands import Opcode, unpack
from spec.errors import AlloyError
from tests.networks import random_config, separable_network

ROOM = dict(ic=8, dsp_filters=4, lut_filters=2, act_depth=512, weight_depth=64, tap_depth=32, row_taps=3)


def check(seed, **values):
    """Compile, execute in a random order of the queues, compare every tensor. Returns the program's convolutions."""
    rng = np.random.default_rng(seed)
    network, config = separable_network(rng), random_config(rng, **{**ROOM, **values})
    codes = rng.integers(0, 256, (1, *network.tensors["image"].shape))
    program = compile(network, config, keep="all")
    got = command_model.run(program, config, codes[0], seed)
    expected = {n: t[0] for n, t in network.codes(codes).items()}
    assert first_difference(program, expected, got) is None
    return [c for c in map(unpack, program.commands) if c["opcode"] == Opcode.CONV]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10 ** 6), st.sampled_from((2, 3)))
def test_random_networks(seed, row_taps):
    check(seed, row_taps=row_taps)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10 ** 6))
def test_tiny_memories(seed):
    """Strips of rows, and of columns, where no taps are taken together."""
    try:
        check(seed, act_depth=24, weight_depth=24, tap_depth=9)
    except AlloyError as error:
        assert "raise act_depth" in str(error) or "raise weight_depth" in str(error)


def test_it_happens():
    """The properties above are not vacuous: among few seeds are kernels of one to several k-steps, strides, strips."""
    found = [c for seed in range(40) for c in check(seed) if c["in_row"]]
    assert len(found) > 20 and {c["taps"] for c in found} >= {2, 3, 4, 6}
    assert {c["straddle"] for c in found} == {0, 1}
    assert not any(c["in_row"] for seed in range(10) for c in check(seed, row_taps=1))
