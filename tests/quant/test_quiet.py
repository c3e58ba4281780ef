"""Channels that change no answer take no codes of the others (:mod:`quant.quiet`)."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from quant import QuantNet, Ratio, trace
from quant.quiet import PLACES, quiet

from .test_scales import Residual, error, photographs, quantized


class Bent(nn.Module):
    """A convolution, something, and a function that bends: large negative values of channel 3 cannot matter."""
    def __init__(self, between, bend, factor=1.0, bias=None):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 1)
        self.between, self.bend, self.last = between, bend, nn.LazyLinear(10)
        self(torch.rand(1, 3, 6, 6))
        if bias is not None:
            self.b.bias.data[3] = bias
            self.b.weight.data[3] *= factor

    def forward(self, x):
        x = torch.relu(self.a(x))
        return self.last(torch.flatten(self.bend(self.between(self, self.b(x), x)), 1))


def gated(y):
    return torch.relu(y) * torch.sigmoid(y.mean((2, 3), keepdim=True))


BENT = {
    "sum": (lambda net, y, x: y + net.c(x), torch.relu),
    "maximum": (lambda net, y, x: F.max_pool2d(y, 2), torch.relu),
    "joined": (lambda net, y, x: torch.cat([net.c(x), y], 1), torch.relu),
    "silu": (lambda net, y, x: y, F.silu),
    "average": (lambda net, y, x: F.avg_pool2d(y, 2), torch.relu),
    "border": (lambda net, y, x: F.pad(y, (1, 0, 1, 1)), torch.relu),
    "sums": (lambda net, y, x: y + net.c(x) + x, F.relu6),
    "read twice": (lambda net, y, x: torch.relu(y + net.c(x)) + torch.relu(y), torch.relu),
    "sigmoid": (lambda net, y, x: y, torch.sigmoid),
    "hardswish": (lambda net, y, x: F.max_pool2d(y, 2), F.hardswish),
    "gelu": (lambda net, y, x: y, F.gelu),
    "gated": (lambda net, y, x: y, gated),
}


@pytest.mark.parametrize("kind", [kind if number < 4 else pytest.param(kind, marks=pytest.mark.slow)
                                  for number, kind in enumerate(BENT)])
def test_a_channel_whose_values_cannot_matter(kind):
    """Whatever stands between it and what bends, and however large its bias and its weights are: it takes no codes of
    the others, which would be off by as much as they differ. That weights are left out is said."""
    images, found, said = photographs(40), [], []
    for bias, factor in ((-10, 1), (-1e8, 1), (-1e9, 1e4)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found.append(error(*quantized(Bent(*BENT[kind], factor, bias), images, even=False)[2:]))
        said.append(any("channel 3 of layer b is many times as large" in str(one.message) for one in caught))
    assert max(found) < 0.55 and said == [False, False, True]


def test_a_channel_that_matters_stays():
    """LeakyReLU lets it through: its values are those of the model."""
    model, images = Bent(lambda net, y, x: y, lambda y: F.leaky_relu(y, 0.5), 100.0, -100.0), photographs(40)
    net, network, real, got = quantized(model, images, even=False, ratio=Ratio(0, 0, 1), bits=8)
    assert torch.equal(net.graph.layers[1].weight, model.b.weight) and error(real, got) < 0.4


@pytest.mark.parametrize("shown", [0, 63])
def test_a_loud_channel_of_a_sum_that_one_image_shows(shown):
    """It is kept: that it is large and seldom seen does not make it worthless."""
    images, model = photographs(64), Residual()
    model.b.weight.data[3] *= 1e3
    with torch.no_grad():
        sums = model.b(torch.relu(model.a(torch.from_numpy(images).float() / 255)))[:, 3].amax((1, 2))
        order = sums.argsort(descending=True)
        model.d.bias.data[3] = -(sums[order[0]] + sums[order[1]]) / 2
    images[[shown, int(order[0])]] = images[[int(order[0]), shown]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net, network, *_ = quantized(model, images, even=False)
    assert next(node for node in network.nodes if node.name == "b").weight[3].any()


@pytest.mark.parametrize("sign", [1, -1])
def test_where_a_channel_goes(sign):
    """One that ReLU6 holds at 0, or at 6: its nearest value lies a place from 0, counted in the spread of most; its
    filter and the other channels stay."""
    model, x = Bent(lambda net, y, x: F.max_pool2d(y, 2), F.relu6, 1.0, sign * 1e3), torch.rand(20, 3, 6, 6)
    for value in (model.b.weight, model.b.bias):
        value.data *= 10
    net = QuantNet(trace(model, (3, 6, 6)))
    tensors, index = net.graph.tensors(x), [layer.name for layer in net.graph.layers].index("b")
    before = tensors["b"]
    assert quiet(net, index, tensors, before)
    after = net.graph.tensors(x)["b"]
    spread = before.amax((0, 2, 3)) - before.amin((0, 2, 3))
    edge = float(after[:, 3].amin() if sign > 0 else after[:, 3].amax())
    assert min(abs(edge - sign * place * float(spread.median())) for place in PLACES) < 0.01 * float(spread.median())
    assert torch.equal(after[:, [0, 1, 2, 4, 5, 6, 7]], before[:, [0, 1, 2, 4, 5, 6, 7]])
    assert torch.equal(net.graph.layers[index].weight, model.b.weight) and not quiet(net, index, tensors, after)
    assert torch.equal(net.biases["b"].detach(), net.graph.layers[index].bias.float())


def test_a_channel_that_matters_beside_one_that_cannot():
    """The one goes, the other stays."""
    model, x = Bent(lambda net, y, x: F.max_pool2d(y, 2), torch.relu, 1.0, -1e3), torch.rand(20, 3, 6, 6)
    model.b.bias.data[5] = 1e3
    net = QuantNet(trace(model, (3, 6, 6)))
    tensors, index = net.graph.tensors(x), [layer.name for layer in net.graph.layers].index("b")
    before = tensors["b"]
    assert quiet(net, index, tensors, before)
    after = net.graph.tensors(x)["b"]
    assert after[:, 3].min() > -100 and torch.equal(after[:, [0, 1, 2, 4, 5, 6, 7]], before[:, [0, 1, 2, 4, 5, 6, 7]])


def test_values_a_few_times_as_large_are_not_tried(monkeypatch):
    """They are usual, and each try runs the network."""
    model, x, tried = Bent(lambda net, y, x: y, torch.relu), torch.rand(20, 3, 6, 6), []
    monkeypatch.setattr("quant.quiet._same", lambda *_: tried.append(1) or torch.zeros(0, dtype=torch.long))
    for factor in (4, 400):
        model.a.weight.data[2] *= factor
        net = QuantNet(trace(model, (3, 6, 6)))
        tensors = net.graph.tensors(x)
        assert not quiet(net, 0, tensors, tensors["a"]) and bool(tried) == (factor == 400)
