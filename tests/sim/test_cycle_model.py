"""The cycle model: complete accounts, sensible reactions; against the RTL of a small engine."""

import numpy as np
import pytest

from compiler import compile
from rtl.top import generate
from sim import verilator
from sim.cycle_model import CAUSES, model
from sim.run import layer_network, rtl_layer_cycles
from spec.config import EngineConfig
from tests.networks import random_config, random_network

CONFIG = EngineConfig(name="cycles", ic=8, pixels=4, dsp_filters=4, lut_filters=2, act_depth=512, weight_depth=128, ports=2, port_bits=64,
                      portable_dsp=True)


def test_every_cycle_is_accounted_for():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        network, config = random_network(rng), random_config(rng)
        layers = model(compile(network, config), config)
        assert {layer.tag for layer in layers} <= set(range(len(network.nodes)))
        for layer in layers:
            assert set(layer.losses) == set(CAUSES) and abs(sum(layer.losses.values()) - layer.cycles) < 1e-6
            assert 0 <= layer.utilisation(config) <= 1


def test_bandwidth_matters():
    program = compile(layer_network("3x3,32,24,6", CONFIG), CONFIG)
    fast, slow = (model(program, CONFIG, bytes_per_cycle=rate)[0] for rate in (8, 0.5))
    assert slow.cycles > 2 * fast.cycles and slow.losses["weights"] > fast.losses["weights"]


@pytest.mark.parametrize("rate", [8, 4])
def test_layers_on_rtl(tmp_path_factory, rate):
    engine = verilator.build(generate(CONFIG), CONFIG, tmp_path_factory.getbasetemp() / "cycles", report=lambda line: None)
    for text in ("3x3,32,24,10", "1x1,64,40,8", "3x3,8,60,12"):
        network = layer_network(text, CONFIG)
        program = compile(network, CONFIG)
        codes = np.zeros((1, *network.tensors["image"].shape), int)
        result = engine.run(program, codes, bytes_per_cycle=rate)
        measured = rtl_layer_cycles(result.runs[0].trace, program)[0]
        assert model(program, CONFIG, bytes_per_cycle=rate)[0].cycles == pytest.approx(measured, rel=0.05), text
