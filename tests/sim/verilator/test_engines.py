"""The generated Verilog in Verilator: random networks, stalls on every channel, errors, aborts and resets."""

import numpy as np
import pytest

from compiler import Program, compile
from rtl.generate import generate
from sim import verilator
from sim.compare import first_difference
from spec.commands import Error, Opcode, unpack
from spec.errors import AlloyError
from spec.network import Network, Tensor
from spec.numerics import Scheme
from spec.operators.convolution import Conv
from tests.networks import random_config, random_network
from tests.verilated import shared_cache

CONFIGS = {
    "portable": dict(portable_dsp=True, dsp_filters=2, lut_filters=1, pixels=4, ic=3, ports=1, port_bits=32,
                     act_depth=96,
                     weight_depth=12, decode_lanes=0),
    "dsp48e2": dict(portable_dsp=False, dsp_device="dsp48e2", dsp_filters=4, lut_filters=2, pixels=6, ic=5, ports=2,
                    port_bits=64, act_depth=96,
                    decode_lanes=32),
}
SLOW = {
    "dsp48e1": dict(portable_dsp=False, dsp_device="dsp48e1", dsp_filters=4, lut_filters=3, pixels=4, ic=8,
                    act_depth=128),
    "mult18": dict(dsp_device="mult18", dsp_filters=2, lut_filters=2, pixels=8, ic=7, act_digit_bits=5, port_bits=128),
    "lut_only": dict(dsp_filters=0, lut_filters=3, lut_form="product_lookup", pixels=4, ic=4),
    "smallest": dict(dsp_filters=2, lut_filters=0, pixels=2, ic=1, ports=1, port_bits=32),
}


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """Name -> (config, model), built on first use."""
    built, cache = {}, shared_cache(tmp_path_factory)

    def get(name):
        if name not in built:
            config = random_config(np.random.default_rng(1), **{**CONFIGS, **SLOW}[name])
            built[name] = config, verilator.build(generate(config), config, cache, optimize="-O1",
                                                  report=lambda line: None)
        return built[name]
    return get


def run(engine, seed, *, stall=0.0, keep="all", images=2, schemes=None, **options):
    config, model = engine
    rng = np.random.default_rng(seed)
    network = random_network(rng, schemes=schemes)
    codes = rng.integers(0, 256, (images, *network.tensors["image"].shape))
    program = compile(network, config, keep=keep)
    result = model.run(program, codes, stall=stall, seed=seed, watchdog=5000, limit=3_000_000, **options)
    return network, program, codes, result


def check(engine, seed, **options):
    try:
        network, program, codes, result = run(engine, seed, **options)
    except AlloyError as error:
        assert "not power-of-two" in str(error) or "raise" in str(error)
        return 0
    assert result.violation == "" and len(result.runs) == len(codes)
    expected = network.codes(codes)
    for index, one in enumerate(result.runs):
        assert one.done and not one.hung and one.code == 0
        got = {name: program.unpack(name, data) for name, data in zip(program.outputs, one.regions, strict=True)}
        assert first_difference(program, {n: expected[n][index] for n in got}, got) is None
    return 1


@pytest.mark.parametrize("name", CONFIGS)
def test_random_networks(engines, name):
    assert sum(check(engines(name), seed, stall=(0, 0.3, 0.7)[seed % 3]) for seed in range(24)) > 12


def test_sums_that_fit_no_multiplier(engines):
    """Filters of two digits whose sum is wider than any port of a multiplier: the digits are joined behind it."""
    config, model = engines("dsp48e2")
    channels = config.ic * (config.act_depth // -(-15 // config.pixels))
    codes = np.random.default_rng(1).integers(0, 256, (3, channels, 3, 5))
    codes[0], codes[1] = 255, 0
    weight = np.full((4, channels, 3, 5), 119, np.int16)
    weight[1], weight[2, ::2], weight[3] = -119, -119, np.random.default_rng(2).integers(-119, 120, weight[3].shape)
    assert 119 * 255 * weight[0].size > 1 << config.joined_width - 1
    layer = Conv(name="fc", input="image", output="out", weight=weight, scheme=np.full(4, Scheme.FIXED8, np.uint8),
                 mult=np.full(4, 60001, np.int32),
                 bias=np.array([-5 << 34, 255 << 34, 99 << 34, 7], np.int64), shift=34, lo=0, hi=255)
    tensors = {t.name: t for t in (Tensor(name="image", channels=channels, height=3, width=5, bits=8, zero=3),
                                   Tensor(name="out", channels=4, height=1, width=1, bits=8))}
    network = Network(name="long", input="image", output="out", tensors=tensors, nodes=[layer])
    program = compile(network, config)
    expected = network.codes(codes)["out"]
    assert len(np.unique(expected)) > 5
    result = model.run(program, codes, watchdog=5000, limit=3_000_000)
    for run_, codes_ in zip(result.runs, expected, strict=True):
        assert run_.done and (program.unpack("out", run_.regions[0]) == codes_).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_more_configurations(engines, name):
    schemes = [Scheme.POT4] if name == "lut_only" else None
    assert sum(check(engines(name), seed, stall=(0, 0.3)[seed % 2], schemes=schemes) for seed in range(40)) > 20


@pytest.mark.parametrize("fault, beat, code", [("bad_read", 0, Error.READ), ("bad_read", 400, Error.READ),
                                              ("bad_write", 0, Error.WRITE),
                                              ("bad_write", 5, Error.WRITE), ("bad_write", -1, Error.WRITE)])
def test_bus_error_stops_and_the_next_run_is_right(engines, fault, beat, code):
    writes = run(engines("portable"), 3)[3].runs[0].counters["store_cycles"]
    assert writes > 6
    network, program, codes, result = run(engines("portable"), 3, images=2,
                                          **{fault: beat % writes if fault == "bad_write" else beat})
    first, second = result.runs
    assert first.code == code and not first.done and not first.hung
    assert second.done and result.violation == ""
    last = program.unpack(network.output, second.regions[list(program.outputs).index(network.output)])
    assert (last == network.codes(codes)[network.output][1]).all()


@pytest.mark.parametrize("event", ["abort_at", "reset_at"])
@pytest.mark.parametrize("cycle", [60, 700, 1900])
def test_abort_and_reset_in_mid_flight(engines, event, cycle):
    network, program, codes, result = run(engines("dsp48e2"), 8, images=2, stall=0.2, **{event: cycle})
    assert result.runs[0].code == (Error.ABORT if event == "abort_at" else 0) and not result.runs[0].hung
    second = result.runs[1]
    assert second.done and result.violation == ""
    last = program.unpack(network.output, second.regions[list(program.outputs).index(network.output)])
    assert (last == network.codes(codes)[network.output][1]).all()


def test_flipped_weight_bit_is_seen(engines):
    config, model = engines("portable")
    rng = np.random.default_rng(11)
    seen = False
    network = random_network(rng)
    codes = rng.integers(0, 256, (1, *network.tensors["image"].shape))
    program = compile(network, config, keep="all")
    expected = network.codes(codes)
    load = next(c for c in map(unpack, program.commands) if c["opcode"] == Opcode.LOAD_WEIGHTS)
    for bit in range(4):
        image = bytearray(program.image)
        image[load["dram"]] ^= 1 << bit
        result = model.run(Program(**{**vars(program), "image": bytes(image)}), codes)
        got = {n: program.unpack(n, d) for n, d in zip(program.outputs, result.runs[0].regions, strict=True)}
        seen |= first_difference(program, {n: expected[n][0] for n in got}, got) is not None
    assert seen


def test_bad_commands_stop_with_a_code(engines):
    config, model = engines("portable")
    rng = np.random.default_rng(3)
    network = random_network(rng)
    codes = rng.integers(0, 256, (2, *network.tensors["image"].shape))
    program = compile(network, config)
    # Opcode and magic byte of the first command, and of the second; the digest.
    for at, code in ((0, Error.PROGRAM), (7, Error.PROGRAM), (128, Error.OPCODE), (135, Error.OPCODE),
                     (9, Error.PROGRAM)):
        image = bytearray(program.image)
        image[at] ^= 0x55
        result = model.run(Program(**{**vars(program), "image": bytes(image)}), codes[:1], watchdog=5000, check=False)
        assert result.runs[0].code == code and not result.runs[0].hung and result.violation == ""


