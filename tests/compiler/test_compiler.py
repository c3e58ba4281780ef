"""Compiled programs on the command model against the golden model, for networks and configurations nobody planned."""

from dataclasses import replace

from hypothesis import HealthCheck, example, given, settings, strategies as st
import numpy as np
import pytest

from compiler import compile
from sim import command_model
from sim.compare import first_difference
from spec.commands import Opcode, unpack
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.kwords import beats_of
from spec.network import Network, Tensor
from spec.numerics import Scheme, levels
from spec.operators.convolution import Conv
from tests.compiler.graphs import CONFIG, engine
from tests.networks import random_config, random_network

TINY = dict(act_depth=24, weight_depth=24, tap_depth=12)


def check(seed, **values):
    """Compile, execute in a random order of the queues, compare every tensor. Returns the program."""
    rng = np.random.default_rng(seed)
    network, config = random_network(rng), random_config(rng, **values)
    codes = rng.integers(0, 256, (1, *network.tensors["image"].shape))
    program = compile(network, config, keep="all")
    got = command_model.run(program, config, codes[0], seed)
    expected = {n: t[0] for n, t in network.codes(codes).items()}
    assert set(got) == {node.output for node in network.nodes}
    assert first_difference(program, expected, got) is None
    return program


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10 ** 6))
def test_random_networks(seed):
    check(seed)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@example(262)       # sums in parts whose last tile starts behind the memory: its taps lead back
@given(st.integers(0, 10 ** 6))
def test_tiny_buffers_spill_and_split(seed):
    try:
        check(seed, **TINY)
    except AlloyError as error:
        assert "raise act_depth" in str(error) or "raise weight_depth" in str(error)


def test_spilling_and_splitting_happen():
    """The property above is not vacuous: strips and split accumulations occur among few seeds."""
    strips = splits = 0
    for seed in range(60):
        try:
            commands = [unpack(c) for c in check(seed, **TINY).commands]
        except AlloyError:
            continue
        strips += sum(c["opcode"] == Opcode.LOAD_ACT for c in commands) > 1
        splits += any(c["opcode"] == Opcode.CONV and not c["acc_last"] for c in commands)
    assert strips > 3 and splits > 3


def small(weight, scheme=Scheme.FIXED8, bits=5, **values):
    """A network of one 1x1 convolution over a 4x4 map."""
    weight = np.asarray(weight, np.int16).reshape(len(weight), -1, 1, 1)
    count, channels = weight.shape[:2]
    tensors = {"image": Tensor(name="image", channels=channels, height=4, width=4, bits=bits),
               "out": Tensor(name="out", channels=count, height=4, width=4, bits=bits)}
    node = Conv(name="dense", input="image", output="out", weight=weight, scheme=np.full(count, scheme, np.uint8),
                mult=np.full(count, values.pop("mult", 64), np.int32), bias=np.zeros(count, np.int64), shift=10, lo=0,
                hi=(1 << bits) - 1, **values)
    return Network(name="small", input="image", output="out", tensors=tensors, nodes=[node])


def test_accumulator_overflow_names_layer_and_filter():
    with pytest.raises(AlloyError, match=r"layer dense filter 1 .* raise acc_width"):
        compile(small([[1] * 40, [7] * 40], Scheme.FIXED4), engine(acc_width=12))


@pytest.mark.parametrize("device, channels, refused", [("dsp48e1", 1020, False), ("dsp48e1", 1030, True),
                                                       ("dsp48e2", 4100, False), ("dsp48e2", 4115, True)])
@pytest.mark.parametrize("sign", [1, -1])
def test_joined_pixel_digits_are_refused_where_they_overflow(device, channels, refused, sign):
    """Power-of-two weights 64 and the code 255: 16,320 for each input, and a port of 2^24 or 2^26; just below it the
    sums are right."""
    config = EngineConfig(name="deep", ic=32, pixels=2, dsp_filters=2, lut_filters=1, act_depth=1024, weight_depth=512,
                          acc_width=27, dsp_device=device)
    channels = channels if sign > 0 or refused else channels - 2        # one's complements take a little
    layer = Conv(name="fc", input="image", output="out", weight=np.full((1, channels, 1, 1), sign * 64, np.int16),
                 scheme=np.array([Scheme.POT4], np.uint8), mult=np.array([40000], np.int32),
                 bias=np.array([(100 - 99 * sign) << 33], np.int64), shift=33, lo=0, hi=255)
    tensors = {t.name: t for t in (Tensor(name="image", channels=channels, height=1, width=1, bits=8),
                                   Tensor(name="out", channels=1, height=1, width=1, bits=8))}
    network = Network(name="deep", input="image", output="out", tensors=tensors, nodes=[layer])
    if refused:
        with pytest.raises(AlloyError, match="filter 0 can reach .* after its pixel digits are joined"):
            compile(network, config)
        return
    program = compile(network, config)
    for codes in (np.full((channels, 1, 1), 255), np.random.default_rng(4).integers(0, 256, (channels, 1, 1))):
        found = command_model.run(program, config, codes, seed=1)["out"]
        assert (found == network.codes(codes[None])["out"][0]).all()


def test_scheme_without_columns():
    with pytest.raises(AlloyError, match="layer dense filter 0 is not power-of-two"):
        compile(small([[3, 5]], Scheme.FIXED4), engine(dsp_filters=0))


def test_flipped_weight_bit_is_seen():
    rng = np.random.default_rng(5)
    network = small(rng.integers(-119, 120, (3, 8)))
    program = compile(network, CONFIG)
    codes = rng.integers(1, 32, (8, 4, 4))
    expected = network.codes(codes[None])["out"][0]
    load = next(c for c in map(unpack, program.commands) if c["opcode"] == Opcode.LOAD_WEIGHTS)
    image = bytearray(program.image)
    image[load["dram"]] ^= 4
    broken = replace(program, image=bytes(image))
    assert (command_model.run(program, CONFIG, codes)["out"] == expected).all()
    difference = first_difference(broken, {"out": expected}, command_model.run(broken, CONFIG, codes))
    assert difference is not None and difference.layer == "dense" and "expected" in str(difference)


@pytest.mark.parametrize("scheme, share", [(Scheme.FIXED2, 0.5), (Scheme.FIXED3, 0.8), (Scheme.FIXED4, 1.0)])
def test_coded_weights_are_smaller_and_the_same(scheme, share):
    """2- and 3-bit filters take less memory and traffic; the decoded weights give the same codes."""
    rng = np.random.default_rng(int(scheme))
    weight = rng.choice(levels(scheme), (24, 32, 3, 3)).astype(np.int16)
    config = engine(ic=8, lut_filters=0, acc_width=24, ports=2, act_depth=256, weight_depth=256, tap_depth=36)
    coded = replace(config, decode_lanes=16)
    tensors = {n: Tensor(name=n, channels=c, height=4, width=4, bits=4) for n, c in (("image", 32), ("out", 24))}
    node = Conv(name="c", input="image", output="out", weight=weight, scheme=np.full(24, scheme),
                mult=np.full(24, 3, np.int32), bias=np.zeros(24, np.int64), shift=8, lo=0, hi=15, padding=(1, 1))
    network = Network(name="n", input="image", output="out", tensors=tensors, nodes=[node])
    codes = rng.integers(0, 16, (1, 32, 4, 4))
    sizes = []
    for c in (config, coded):
        program = compile(network, c)
        loads = [f for f in map(unpack, program.commands) if f["opcode"] == Opcode.LOAD_WEIGHTS]
        sizes.append(sum(beats_of(f, c) for f in loads))
        assert (command_model.run(program, c, codes[0])["out"] == network.codes(codes)["out"][0]).all()
    assert sizes[1] <= share * sizes[0], sizes
