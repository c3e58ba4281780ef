"""Depthwise convolutions that take taps of a row together: the codes are those of the golden model, and it happens."""


from dataclasses import replace

from hypothesis import HealthCheck, given, settings, strategies as st
import numpy as np
import pytest

from compiler import compile
from compiler.allocate import allocate
from compiler.build import lowered
from sim import command_model
from sim.compare import first_difference
from spec.commands import COMMAND_BYTES, Opcode, pack, unpack
from spec.errors import AlloyError
from tests.compiler import graphs
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


def test_pieces():
    """Work by turns with another convolution: a command goes on where the one before in a row ended."""
    happens, config = 0, graphs.engine(ic=8, row_taps=3, act_depth=1024, weight_depth=128, tables=1)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        network = separable_network(rng, channels=(20, 40), size=(12, 20))
        codes = rng.integers(0, 256, (1, *network.tensors["image"].shape))
        program = compile(network, config)
        got = command_model.run(program, config, codes[0], seed)
        assert all((got[name] == network.codes(codes)[name][0]).all() for name in got)
        happens += sum(c["opcode"] == Opcode.CONV and c["in_row"] and (c["start_y"] + c["start_x"] > 0)
                       for c in map(unpack, program.commands))
    assert happens > 10


def test_pieces_that_do_not_follow():
    """What the engine would get wrong in silence."""
    network, config = separable(4, 12), graphs.engine(ic=6, row_taps=3)
    program = compile(network, config)
    index = next(n for n, c in enumerate(map(unpack, program.commands)) if c.get("in_row"))
    fields = unpack(program.commands[index])
    values = {name: value for name, value in fields.items() if name != "opcode"} | {"start_x": 3}
    at, image = COMMAND_BYTES * index, bytearray(program.image)
    assert bytes(image[at:at + COMMAND_BYTES]) == bytes(program.commands[index])
    image[at:at + COMMAND_BYTES] = pack(fields["opcode"], **values)
    with pytest.raises(AlloyError, match="goes on in a row with pixels that do not follow on the last ones"):
        command_model.run(replace(program, image=bytes(image)), config, np.zeros((4, 4, 12), int))


def run(network, config):
    """The convolutions of a program whose codes are right."""
    codes = np.random.default_rng(0).integers(0, 16, (1, *network.tensors["image"].shape))
    program = compile(network, config)
    got = command_model.run(program, config, codes[0])
    assert all((got[name] == network.codes(codes)[name][0]).all() for name in got)
    return [c for c in map(unpack, program.commands) if c["opcode"] == Opcode.CONV]


def separable(height, width, **more):
    """4 channels on 4 slots: no holes."""
    shape = 4, height, width
    return graphs.network(dict.fromkeys(("image", "x", "deep", "out"), shape), graphs.layer("image", "x", 4, 4),
                          graphs.layer("x", "deep", 4, 1, (3, 3), padding=(1, 1)),
                          graphs.layer("deep", "out", 4, 4, **more))


def test_rows_that_do_not_fit():
    """Of a map that is worked on in parts of rows no taps are taken together, and it is not refused."""
    config = graphs.engine(ic=6, row_taps=3, act_depth=24)
    assert any(c["in_row"] for c in run(separable(4, 12), config))
    wide = separable(3, 120)
    assert not any(c["in_row"] for c in run(wide, config))
    with pytest.raises(AlloyError, match="does not fit the activation memories"):
        allocate(lowered(wide, config), config)


def test_an_input_that_is_loaded():
    """A strip is begun when all of it is there: what the last tile keeps for the next one ends with a command."""
    found = run(separable(80, 40, residual="x", res_mult=30), graphs.engine(ic=6, row_taps=3, act_depth=512))
    assert sum(c["in_row"] for c in found) > 1
