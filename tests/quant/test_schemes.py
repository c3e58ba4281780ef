"""Every number system through fake quantization, golden model and command model: every level, extremes, filters that
are dead or constant."""

import numpy as np
import pytest
import torch
from torch import nn

from compiler import compile
from quant import QuantNet, trace
from quant.ptq import reconstruct
from sim import command_model
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.numerics import Scheme, levels
from tests.quant.parity import same_as_fake

BOOK = np.array([-119, -60, -31, -16, -7, -2, 0, 1, 3, 9, 20, 44, 90, 119], np.int16)
ENGINE = EngineConfig(name="schemes", ic=8, pixels=4, dsp_filters=6, lut_filters=2, act_depth=256, weight_depth=128,
                      ports=1, port_bits=64)
SCHEMES = [scheme for scheme in Scheme if scheme is not Scheme.FIXED9]      # that is for weights that others chose


def images(seed, shape, count=6):
    """Codes: all 0, all 255, single bright and dark pixels, noise."""
    rng = np.random.default_rng(seed)
    out = rng.integers(0, 256, (count, *shape)).astype(np.uint8)
    out[0], out[1], out[2], out[3] = 0, 255, 0, 255
    out[2, :, 1, 1], out[3, :, 1, 1] = 255, 0
    return out


def quantized(weight, bias, scheme, codes, padding=1, bits=5, weights=True):
    """A network of one convolution with these float weights, quantized."""
    conv = nn.Conv2d(weight.shape[1], len(weight), weight.shape[2], padding=padding)
    conv.weight.data, conv.bias.data = (torch.tensor(values, dtype=torch.float32) for values in (weight, bias))
    graph = trace(nn.Sequential(conv, nn.ReLU()), codes.shape[1:])
    name = graph.layers[0].name
    net = QuantNet(graph, schemes={name: np.full(len(weight), scheme)}, codebooks={name: BOOK}, bits=bits)
    reconstruct(net, codes, weights=weights)
    return net


def same_everywhere(net, codes, config=ENGINE):
    """Fake quantization, golden model and commands agree; returns the network."""
    network, expected = same_as_fake(net, codes)
    if config:
        program = compile(network, config)
        for index in (0, 1, len(codes) - 1):
            got = command_model.run(program, config, codes[index].astype(int), seed=index)
            assert all((got[name] == expected[name][index]).all() for name in got)
    return network


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: s.name)
@pytest.mark.parametrize("bits", [1, 5, 8])
def test_special_filters(scheme, bits):
    rng = np.random.default_rng(int(scheme))
    weight = rng.normal(0, 1, (12, 3, 3, 3))
    weight[0] = 0                               # dead
    weight[1] = 0.37                            # constant
    weight[2] = -1e-30                          # next to nothing
    weight[3] *= 1e6                            # very large
    weight[4] = 0
    weight[4, 0, 0, 0] = 5                      # one weight only
    bias = np.zeros(12)
    bias[5], bias[6] = 1e3, -1e3                # always on, always off
    codes = images(1, (3, 6, 5))
    for weights in (True, False):
        network = same_everywhere(quantized(weight, bias, scheme, codes, bits=bits, weights=weights), codes)
        assert (network.nodes[0].weight[0] == 0).all()


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: s.name)
def test_every_level(scheme):
    table = levels(scheme, BOOK)
    weight = np.resize(table, (5, len(table), 1, 1)) * np.reshape([0.01, 1, 3, 1e-3, 7], (5, 1, 1, 1))
    codes = images(2, (len(table), 3, 3))
    network = same_everywhere(quantized(weight, np.zeros(5), scheme, codes, padding=0, weights=False), codes)
    # A small multiplier gives a filter few scales, and not quite that of its weights.
    fine = network.nodes[0].mult >= 1 << 10
    found = network.nodes[0].weight.reshape(5, -1)
    assert fine.sum() >= 3 and (np.sort(found[fine], 1) == table).all(), "levels are exact when the weights lie on them"


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: s.name)
@pytest.mark.parametrize("filters, engine", [(1, ENGINE), (3000, None)])
def test_one_filter_and_thousands(scheme, filters, engine):
    weight = np.random.default_rng(3).laplace(0, 1, (filters, 2, 1, 1))
    codes = images(3, (2, 3, 3))
    network = same_everywhere(quantized(weight, np.zeros(filters), scheme, codes, padding=0), codes, engine)
    assert network.nodes[0].weight.shape[0] == filters


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: s.name)
def test_zero_scale(scheme):
    """A scale of zero, as training may leave it, cannot be exported."""
    codes = images(4, (2, 3, 3))
    net = quantized(np.ones((3, 2, 1, 1)), np.zeros(3), scheme, codes, padding=0)
    name = net.graph.layers[0].name
    for bad in (0.0, float("nan"), float("inf")):
        with torch.no_grad():
            net.scales[name][1] = bad
        with pytest.raises(AlloyError, match=f"layer {name} filter 1 has the scale"):
            net.export()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("what", ["weight", "bias"])
def test_values_that_are_not_finite(bad, what):
    conv = nn.Conv2d(2, 3, 1)
    getattr(conv, what).data.view(-1)[1] = bad
    with pytest.raises(AlloyError, match="layer conv1 has weights or biases that are NaN or infinite"):
        trace(nn.Sequential(conv, nn.ReLU()) if what == "x" else _Named(conv), (2, 3, 3))


class _Named(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv1 = conv

    def forward(self, x):
        return torch.relu(self.conv1(x))


def test_images_that_are_not_codes():
    net = quantized(np.ones((3, 2, 1, 1)), np.zeros(3), Scheme.FIXED4, images(5, (2, 3, 3)), padding=0)
    with pytest.raises(AlloyError, match="input codes"):
        reconstruct(net, np.full((2, 2, 3, 3), np.nan))
    with pytest.raises(AlloyError, match="input codes"):
        reconstruct(net, np.zeros((0, 2, 3, 3), np.uint8))
