"""What no convolution takes gets a layer of its own: sums, batch norm, constants and ReLU anywhere."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from quant import QuantNet, trace
from quant.equalize import equalize
from quant.ptq import reconstruct
from sim import command_model
from compiler import compile
from spec.operators.affine import AffineLayer
from tests.networks import random_config
from tests.quant.parity import same_as_fake

SHAPE = (3, 7, 6)


class Parts(nn.Module):
    """Convolutions of 3 to 5 channels (a, b) and of 5 to 5 (c, d), batch norms (n, m); ``forward`` is given."""

    def __init__(self, forward):
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(3, 5, 1)
        self.c, self.d = nn.Conv2d(5, 5, 3, padding=1), nn.Conv2d(5, 5, 1)
        self.n, self.m, self.k = nn.BatchNorm2d(5), nn.BatchNorm2d(5), nn.BatchNorm2d(3)
        for norm in (self.n, self.m, self.k):
            norm.running_mean.uniform_(-0.5, 0.5)
            norm.running_var.uniform_(0.2, 1)
            norm.weight.data.uniform_(-1, 1)
            norm.bias.data.uniform_(-1, 1)
        self.register_buffer("v", torch.rand(5, 1, 1) + 0.5)
        self.step = forward
        self.eval()

    def forward(self, x):
        return self.step(self, x)


def pre_activation(self, x):
    x = self.a(x)
    x = x + self.c(F.relu(self.n(x)))
    return x + self.d(F.relu(self.m(x)))


def dense(self, x):
    x = F.max_pool2d(self.a(x).relu(), 2)
    y = self.n(x).relu()
    return self.c(y) + self.m(x) + y


# What it is, and how many layers of their own it takes.
OWN = {
    "a sum of pools": (lambda self, x: F.max_pool2d(self.a(x), 2) + F.avg_pool2d(self.b(x), 2), 1),
    "the input is added": (lambda self, x: F.conv2d(x, self.b.weight[:3]) + x, 0),
    "the input twice": (lambda self, x: self.c(self.a(x + x)), 1),
    "a tensor to itself": (lambda self, x: (lambda y: y + y)(self.a(x).relu()), 0),
    "read elsewhere, too": (lambda self, x: (lambda y, z: self.c(y + z) + self.d(y) + self.c(z))(
        self.a(x).relu(), self.b(x)), 1),
    "a chain of sums": (lambda self, x: (lambda y: self.c(y) + y + self.d(y) + self.b(x) + y)(self.a(x).relu()), 1),
    "a difference": (lambda self, x: self.c(self.a(x)) - self.d(self.b(x)), 0),
    "less a tensor read elsewhere": (lambda self, x: (lambda y: self.c(y) - y)(self.a(x).relu()), 1),
    "rsub, alpha": (lambda self, x: torch.rsub(self.a(x), self.b(x), alpha=0.5), 0),
    "alpha": (lambda self, x: torch.add(self.a(x).relu(), self.b(x), alpha=-1.5), 0),
    "batch norm first": (lambda self, x: self.c(self.a(self.k(x)).relu()), 1),
    "batch norm last": (lambda self, x: self.n(F.max_pool2d(self.a(x), 2)), 1),
    "before the activation": (pre_activation, 2),
    "densely": (dense, 3),
    "for each channel": (lambda self, x: self.c(F.max_pool2d(self.a(x), 2) * self.v - self.v), 1),
    "channels last": (lambda self, x: (F.avg_pool2d(self.a(x).relu(), 2).permute(0, 2, 3, 1) * self.v.flatten()
                                       ).permute(0, 3, 1, 2), 1),
    "of features": (lambda self, x: F.linear(F.adaptive_avg_pool2d(self.a(x).relu(), 1).flatten(1) * self.v.flatten()
                                             / 3, self.d.weight.flatten(1)), 1),
    "some channels": (lambda self, x: F.conv2d(self.a(x).relu()[:, 1:4] * 2 - 1, self.b.weight), 1),
    "a constant less a tensor": (lambda self, x: 1 - F.max_pool2d(self.a(x), 2), 1),
    "negative": (lambda self, x: self.c(-self.a(x).relu()), 1),
    "a factor behind a ReLU": (lambda self, x: self.c(self.a(x).relu() * 0.25), 0),
    "a factor behind a ReLU6": (lambda self, x: self.c(F.relu6(40 * self.a(x)) / 6), 0),
    "ReLU of a sum": (lambda self, x: (F.max_pool2d(self.a(x), 2) + F.avg_pool2d(self.b(x), 2)).relu(), 1),
    "ReLU of a pool": (lambda self, x: self.c(F.max_pool2d(self.a(x), 2).relu()), 1),
    "ReLU of the input": (lambda self, x: self.a((x - 0.5).relu()), 1),
    "ReLU6 of a batch norm of a pool": (lambda self, x: F.relu6(self.n(F.avg_pool2d(20 * self.a(x), 2))), 1),
    "ReLU of what else is read": (lambda self, x: (lambda y: self.c(y.relu()) + y)(self.a(x)), 1),
}


@pytest.mark.parametrize("name", OWN)
def test_layers_of_their_own(name):
    """The graph computes what the model does (trace itself compares that), the integers are near it, and the program
    computes the integers."""
    forward, count = OWN[name]
    model, rng = Parts(forward), np.random.default_rng(0)
    graph = trace(model, SHAPE)
    assert sum(isinstance(layer, AffineLayer) for layer in graph.layers) == count
    codes = rng.integers(0, 256, (12, *SHAPE)).astype(np.uint8)
    net = QuantNet(equalize(graph, torch.from_numpy(codes).float() / 255, weight_bits=8, act_bits=8), bits=8,
                   schemes={layer.name: np.full(len(layer.weight), 8, np.uint8) for layer in graph.weighted})
    reconstruct(net, codes, known=True)
    network, _ = same_as_fake(net, codes[:4])
    with torch.no_grad():
        expected = model(torch.from_numpy(codes).float() / 255).flatten(1).numpy()
    off = network.logits(codes).reshape(expected.shape) - expected
    assert np.sqrt((off ** 2).mean()) < 0.02 * expected.std()
    config = random_config(rng, act_depth=512)
    program = compile(network, config, keep="all")
    truth = network.codes(codes[:1])
    for tensor, values in command_model.run(program, config, codes[0]).items():
        assert np.array_equal(values, truth[tensor][0]), tensor


def test_batch_norms_are_folded_as_exporters_fold_them():
    """With 32-bit numbers whose root is rounded right, bit for bit: files and models are the same network."""
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 200, 1), nn.BatchNorm2d(200, eps=1e-3)
    for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        nn.init.uniform_(value, 0.1, 2)
    layer, = trace(nn.Sequential(conv, norm).eval(), (3, 4, 4)).layers
    weight, bias, gain, offset, mean, var = (value.detach().numpy() for value in (
        conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var))
    scale = gain / np.sqrt(var + np.float32(1e-3))
    assert np.array_equal(layer.weight.numpy(), weight * scale[:, None, None, None])
    assert np.array_equal(layer.bias.numpy(), (bias - mean) * scale + offset)
