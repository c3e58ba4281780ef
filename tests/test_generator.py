"""Random networks of every operator, from PyTorch to the RTL: each tensor that the program keeps is the golden one."""

import warnings

import numpy as np
import pytest

from compiler import compile
from rtl.generate import generate
from sim import verilator
from sim.compare import first_difference
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.operators.unflatten import UnflattenLayer
from spec.operators import LAYERS
from tests.generator import KINDS, draw, images, known, quantized
from tests.verilated import shared_cache

CONFIG = EngineConfig(name="random", ic=4, pixels=4, dsp_filters=4, lut_filters=2, act_depth=256, weight_depth=96,
                      param_depth=4, tap_depth=32, tables=2, ports=1, port_bits=32, portable_dsp=True, burst=16,
                      outstanding=4, queue_depth=2)
FAST, ALL = range(40), range(40, 440)
# What the draws may meet: a map that one command needs as a whole is larger than a memory of an engine this small.
REFUSED = "raise act_depth|raise acc_width|raise weight_depth"
seen: set[str] = set()


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """The engine that all of them run on."""
    return verilator.build(generate(CONFIG), CONFIG, shared_cache(tmp_path_factory), optimize="-O1",
                           report=lambda line: None)


def check(engine, seed):
    """Compare all tensors of two images; the names of the classes of the layers, and "strips" if maps are worked on in
    parts."""
    model, shape = draw(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network, net = quantized(model, shape, seed)
    layers = {type(layer).__name__ for layer in net.graph.layers}
    codes = images(seed + 1, shape, 5)[[seed % 5, (seed + 2) % 5]].astype(np.int64)
    codes = codes.reshape(2, *network.tensors[network.input].shape)
    try:
        program = compile(network, CONFIG, keep="all")
    except AlloyError as error:
        assert any(words in str(error) for words in REFUSED.split("|")), f"seed {seed}, {model.kinds}: {error}"
        return layers
    if any(len(layer.strips) > 1 for layer in program.layers):
        layers.add("strips")
    result = engine.run(program, codes, stall=(0, 0.3)[seed % 2], seed=seed, watchdog=20_000, limit=5_000_000)
    expected = network.codes(codes)
    for index, one in enumerate(result.runs):
        assert one.done and one.code == 0 and result.violation == "", f"seed {seed}, {model.kinds}"
        got = {name: program.unpack(name, data) for name, data in zip(program.outputs, one.regions, strict=True)}
        assert network.output in got
        difference = first_difference(program, {name: expected[name][index] for name in got}, got)
        assert difference is None, f"seed {seed}, {model.kinds}: {difference}"
    return layers


@pytest.mark.parametrize("seed", FAST)
def test_some(engine, seed):
    seen.update(check(engine, seed))


def test_some_have_every_operator():
    """Behind the tests above; alone there is nothing to see."""
    if not seen:
        pytest.skip("the networks have not been drawn")
    # Maps of few values become pixels in steps: none is as large as what takes an UnflattenLayer.
    assert seen >= {"strips", *(layer.__name__ for layer in LAYERS if layer is not UnflattenLayer)}
    drawn = {kind for seed in FAST for kind in draw(seed)[0].kinds}
    assert drawn >= {"dense of sequences", "dense of vectors", *(kind for kind in KINDS if known(kind))}


@pytest.mark.slow
@pytest.mark.parametrize("seed", ALL)
def test_many(engine, seed):
    check(engine, seed)
