"""What moves values or puts them side by side: every spelling means what it means in PyTorch, down to the integers."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from quant import QuantNet, trace
from quant.equalize import equalize
from quant.ptq import reconstruct
from spec.errors import AlloyError
from spec.operators.concat import ConcatLayer

SHAPE = (3, 8, 6)


class Model(nn.Module):
    """Layers for the spellings below, which are its forward."""

    def __init__(self, forward):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.c, self.d = nn.Conv2d(9, 6, 1), nn.Conv2d(9, 9, 3, padding=1, groups=9)
        self.p, self.l, self.k = nn.MaxPool2d(3, 1, 1), nn.Linear(9, 4), nn.Linear(9 * 48, 4)
        self.step = forward
        self.eval()

    def pair(self, x):
        return self.a(x).relu(), self.b(x).relu()

    def forward(self, x):
        return self.step(self, x)


def images(count=4, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE)).astype(np.uint8)


def integers(graph, **values):
    """The network of integers of a graph, and how far from its float outputs it is, as a share of their spread."""
    codes = images(12)
    net = QuantNet(graph, **values)
    reconstruct(net, codes)
    x = torch.from_numpy(codes).float() / 255
    exact, found = graph.run(x)[graph.output].flatten(1), net.eval()(x)
    net.train()
    with torch.no_grad():       # training sees the same codes, but for sums that end between two
        assert (net(x) - found).abs().max() <= 2.1 * float(net.step(graph.output))
    return net.eval().export(), float((found - exact).std() / exact.std())


def check(forward, layers=None):
    """The graph of a forward, compared with it before and after equalization."""
    model = Model(forward)
    graph, x = trace(model, SHAPE), torch.from_numpy(images()).float() / 255
    with torch.no_grad():
        expected = model(x).flatten(1)
    for one in (graph, equalize(graph, x)):
        assert torch.allclose(one.run(x)[graph.output].flatten(1), expected, atol=1e-4)
    if layers is not None:
        assert [type(layer).__name__.removesuffix("Layer") for layer in graph.layers] == layers.split()
    return graph


JOINED = {
    "cat": lambda self, x: self.c(torch.cat(self.pair(x), 1)),
    "keyword": lambda self, x: self.c(torch.cat(self.pair(x), dim=1)),
    "negative dimension": lambda self, x: self.c(torch.cat(self.pair(x), -3)),
    "concat": lambda self, x: self.c(torch.concat(self.pair(x), dim=1)),
    "concatenate": lambda self, x: self.c(torch.concatenate(self.pair(x), axis=1)),
    "hstack": lambda self, x: self.c(torch.hstack(self.pair(x))),
    "a list": lambda self, x: self.c(torch.cat([*self.pair(x)], 1)),
    "returned": lambda self, x: torch.cat(self.pair(x), 1),
    "read by a depthwise convolution": lambda self, x: self.d(torch.cat(self.pair(x), 1)),
    "pooled": lambda self, x: self.c(self.p(torch.cat(self.pair(x), 1))),
    "added": lambda self, x: self.d(torch.cat(self.pair(x), 1)) + torch.cat(self.pair(x), 1),
    "averaged": lambda self, x: self.l(torch.cat(self.pair(x), 1).mean((2, 3))),
    "flattened": lambda self, x: self.k(torch.cat(self.pair(x), 1).flatten(1)),
    "flattened before": lambda self, x: self.k(torch.cat([y.flatten(1) for y in self.pair(x)], 1)),
    "features": lambda self, x: self.l(torch.cat([y.mean((2, 3)) for y in self.pair(x)], 1)),
    "the last of channels last": lambda self, x: self.c(torch.cat(
        [y.permute(0, 2, 3, 1) for y in self.pair(x)], -1).permute(0, 3, 1, 2)),
    "pixels in a row": lambda self, x: self.c(torch.cat([y.flatten(2) for y in self.pair(x)], 1).unflatten(2, (8, 6))),
    "of three and the input": lambda self, x: self.c(torch.cat([self.b(x), x, F.conv2d(x, self.b.weight[:2])], 1)),
    "of a sum": lambda self, x: self.c(torch.cat([self.b(x) + self.b(x).relu(), self.a(x)], 1)),
    "of pools": lambda self, x: self.c(torch.cat([self.p(y) for y in self.pair(x)], 1)),
    "one inside another": lambda self, x: self.c(torch.cat([torch.cat([x, x[:, :2]], 1), self.b(x)], 1)),
    "growing": lambda self, x: self.c(torch.cat([self.b(x), torch.cat([x, F.conv2d(x, self.a.weight[:2], padding=1)],
                                                                     1)], 1)),
    "stacked": lambda self, x: self.c(torch.cat([torch.stack([self.b(x), self.b(x).relu()], 1).flatten(1, 2),
                                                 F.conv2d(x, self.a.weight[:1], padding=1)], 1)),
}


@pytest.mark.parametrize("name", JOINED)
def test_side_by_side(name):
    graph = check(JOINED[name])
    assert any(isinstance(layer, ConcatLayer) for layer in graph.layers)


@pytest.mark.parametrize("name", ["cat", "pooled", "added", "of three and the input", "of a sum", "stacked"])
def test_integers(name):
    network, error = integers(trace(Model(JOINED[name]), SHAPE))
    assert any(node.kind == "concat" for node in network.nodes) and error < 0.2, error


@pytest.mark.parametrize("forward", [
    lambda self, x: self.c(torch.cat([x, x, x], 1)), lambda self, x: self.c(torch.stack([x, x, x], 1).flatten(1, 2)),
    lambda self, x: (lambda y: self.c(torch.cat([y[:, i:i + 3] for i in range(3)], 1)))(self.a(x))])
def test_one_value_beside_itself(forward):
    """No concatenation: the convolution reads its channels more than once."""
    assert not any(isinstance(layer, ConcatLayer) for layer in check(forward).layers)


def test_parts_share_codes_where_nothing_else_reads_them():
    """The copies change nothing then; a part that others read has its own step."""
    graph = check(lambda self, x: self.c(torch.cat(self.pair(x), 1)), "Conv Conv Concat Conv")
    network = integers(graph)[0]
    node = next(node for node in network.nodes if node.kind == "concat")
    assert node.mult.tolist() == [1 << node.shift] * 2
    assert {network.tensors[name].bits for name in (*node.inputs, node.output)} == {5}
    graph = check(lambda self, x: F.conv2d((y := self.pair(x))[1], self.c.weight[:, :4])
                  + self.c(torch.cat(y, 1)))
    homes, (join,) = graph.homes(), [layer for layer in graph.layers if isinstance(layer, ConcatLayer)]
    assert [homes[name] for name in join.sources] == [join.output, join.sources[1]]


def test_bits_of_what_is_joined():
    """Few where ReLUs bound all parts, else eight: signed parts, averages."""
    def bits(forward):
        network = integers(check(forward))[0]
        node = next(node for node in network.nodes if node.kind == "concat")
        return [network.tensors[name].bits for name in (*node.inputs, node.output)]
    assert bits(lambda self, x: self.c(torch.cat([self.p(y) for y in self.pair(x)], 1))) == [5, 5, 5]
    assert bits(lambda self, x: self.c(torch.cat([self.a(x).relu(), self.b(x)], 1))) == [8, 8, 8]
    assert bits(lambda self, x: self.l(torch.cat([y.mean((2, 3)) for y in self.pair(x)], 1))) == [8, 8, 8]


@pytest.mark.parametrize("values", [dict(bits=8), dict(levels=16), dict(single_scale=True), dict(wide=("cat",))])
def test_other_kinds_of_codes(values):
    network, error = integers(check(JOINED["pooled"]), **values)
    assert error < 0.3 and all(t.bits == 8 for t in network.tensors.values()) != ("single_scale" in values)


@pytest.mark.parametrize("forward, words", [
    (lambda self, x: torch.cat([self.a(x), F.max_pool2d(x, 2)], 1), "cat of what is made of maps of|Sizes of tensors"),
    (lambda self, x: torch.cat([self.a(x).flatten(1), F.max_pool2d(x, 2).flatten(1)], 1),
     r"cat of what is made of maps of 8x6 and 4x3 pixels: only tensors of one size"),
    (lambda self, x: self.c(torch.cat([torch.ones(len(x), 4, 8, 6), self.a(x)], 1)), "cat of a tensor and a constant"),
    (lambda self, x: torch.cat([self.a(x), self.a(x)], 0), "mixes images"),
])
def test_what_cannot_be_joined(forward, words):
    with pytest.raises(AlloyError, match=words):
        trace(Model(forward), SHAPE)
