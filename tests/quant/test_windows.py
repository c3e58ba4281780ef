"""Windows that users' networks have: from the model to the commands, with the numbers of the float model."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compiler import compile
from quant import trace
from quant.net import QuantNet
from quant.ptq import columns, reconstruct
from sim import command_model
from tests.compiler.graphs import engine

SHAPE = (3, 9, 11)
CONFIG = engine(ic=8, pixels=8, act_depth=1024, weight_depth=512, tap_depth=32)


class Function(nn.Module):
    """A convolution of 6 channels with ReLU, a function of its result, and a linear layer; ``given`` are modules that
    the function uses."""

    def __init__(self, function, shape=SHAPE, **given):
        super().__init__()
        torch.manual_seed(1)
        self.function, self.first = function, nn.Conv2d(shape[0], 6, 3, padding=1)
        for name, module in given.items():
            self.add_module(name, module)
        with torch.no_grad():
            self.last = nn.Linear(function(self, torch.zeros(1, 6, *shape[1:])).flatten(1).shape[1], 5)

    def forward(self, x):
        return self.last(self.function(self, F.relu(self.first(x))).flatten(1))


def images(shape, count=24):
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)


def flows(model, shape=SHAPE, config=CONFIG, tolerance=0.15):
    """The network of a model: near to it in numbers, and what the command model computes; returns the float graph."""
    model.eval()
    pixels = images(shape)
    graph = trace(model, shape)
    x = torch.from_numpy(pixels).float() / 255
    with torch.no_grad():
        expected = model(x).flatten(1)
    net = QuantNet(graph, bits=8, schemes={layer.name: np.full(len(layer.weight), 8, np.uint8)
                                           for layer in graph.weighted}).eval()
    reconstruct(net, pixels, known=True)
    network = net.export()
    found = torch.from_numpy(network.logits(pixels)).flatten(1)
    assert (found - expected).abs().max() < tolerance * expected.abs().max()
    program, codes = compile(network, config, keep="all"), network.codes(pixels[:1])
    got = command_model.run(program, config, codes[network.input][0])
    assert not [name for name in got if (got[name] != codes[name][0]).any()]
    return graph


def conv(filters, channels, kernel, **values):
    return dict(c=nn.Conv2d(channels, filters, kernel, **values))


CONVOLUTIONS = {
    "even kernel, padding same": conv(4, 6, 2, padding="same"),
    "even and odd side, dilated, padding same": conv(4, 6, (4, 3), padding="same", dilation=(1, 3)),
    "dilation 2": conv(4, 6, 3, padding=2, dilation=2), "dilation 4 of one side": conv(4, 6, 3, dilation=(1, 4)),
    "dilation and stride": conv(4, 6, 3, padding=2, dilation=2, stride=2),
    "padding beyond the kernel": conv(4, 6, 1, padding=2), "kernel beyond the map": conv(4, 6, (11, 3), padding=2),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name):
    flows(Function(lambda self, x: F.relu(self.c(x)), **CONVOLUTIONS[name]))


POOLS = {
    "ceil_mode": lambda self, x: F.max_pool2d(x, 2, ceil_mode=True),
    "ceil_mode whose last window would begin in padding": lambda self, x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "dilated": lambda self, x: F.max_pool2d(x, (2, 3), 1, dilation=(3, 2)),
    "dilated and padded": lambda self, x: F.max_pool2d(x, 3, 2, 1, 2),
    "average over padding": lambda self, x: F.avg_pool2d(x, 3, 1, 1),
    "average divided by another number": lambda self, x: F.avg_pool2d(x, (2, 3), 2, divisor_override=4),
    "sum of windows": lambda self, x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, divisor_override=1),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools(name):
    flows(Function(POOLS[name]))


@pytest.mark.parametrize("seed", range(6))
def test_columns_are_the_windows(seed):
    """What the weights are rounded with: products with them are what the layer computes."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    model = nn.Conv2d(4, 6, tuple(rng.integers(1, 5, 2)), tuple(rng.integers(1, 4, 2)), "valid",
                      tuple(rng.integers(1, 3, 2)), groups=2)
    layer, = trace(model, (4, 12, 12)).layers
    layer.padding, layer.padding_end = tuple(rng.integers(0, 4, 2).tolist()), tuple(rng.integers(0, 4, 2).tolist())
    x = torch.randn(3, 4, 12, 12, generator=generator)
    expected = layer.apply(torch, x) - layer.bias[:, None, None]
    picks = torch.randperm(expected[:, 0].numel(), generator=generator)[:20]
    found = columns(x, layer, picks) @ layer.weight.reshape(2, 3, -1).transpose(1, 2)
    expected = expected.permute(1, 0, 2, 3).reshape(2, 3, -1)[..., picks].transpose(1, 2)
    assert torch.allclose(found, expected, atol=1e-4)
