"""Windows that users' networks have: from the model to the commands, with the numbers of the float model."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compiler import compile
from quant import quantize, trace
from quant.net import QuantNet
from quant.normalize import Normalization
from quant.ptq import columns, reconstruct
from sim import command_model
from spec.errors import AlloyError
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
        expected = model(x.reshape(-1, *shape)).flatten(1)
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
    "average of the map alone": lambda self, x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "average of the map alone, large": lambda self, x: F.avg_pool2d(x, (7, 5), 1, (3, 2), count_include_pad=False),
    "average with ceil_mode": lambda self, x: F.avg_pool2d(x, 2, ceil_mode=True),
    "average with ceil_mode and padding": lambda self, x: F.avg_pool2d(x, (3, 4), (2, 3), (1, 2), ceil_mode=True),
    "sum of windows": lambda self, x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, divisor_override=1),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools(name):
    flows(Function(POOLS[name]))


class Net(nn.Module):
    """Modules and a function of them and the input."""

    def __init__(self, function, **given):
        super().__init__()
        torch.manual_seed(2)
        self.function = function
        for name, module in given.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


def keywords(**values):
    """A network for keyword spotting: sequences of 8 features."""
    return Net(lambda self, x: self.l(F.adaptive_avg_pool1d(self.p(F.relu(self.n(self.a(x)))), 1).flatten(1)),
               a=nn.Conv1d(8, 6, 5, padding=2, **values), n=nn.BatchNorm1d(6), p=nn.MaxPool1d(2, 2, 1),
               l=nn.Linear(6, 4))


SEQUENCES = {
    "keywords": (keywords(), (8, 21)), "stride 4": (keywords(stride=4), (8, 21)),
    "groups and dilation": (keywords(groups=2, dilation=2), (8, 21)),
    "vectors": (nn.Sequential(nn.Linear(30, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 5)), (30,)),
    "vectors as sequences": (Net(lambda self, x: self.a(x.unsqueeze(1)).mean(-1), a=nn.Conv1d(1, 4, 9, 4)), (50,)),
    "vectors as maps": (Net(lambda self, x: self.a(x.view(-1, 2, 5, 6)).amax((2, 3)), a=nn.Conv2d(2, 4, 3)), (60,)),
    "sequences as maps": (Net(lambda self, x: self.l(self.a(x[:, None]).flatten(1)), a=nn.Conv2d(1, 4, 3, 2),
                              l=nn.Linear(4 * 3 * 4, 5)), (8, 9)),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_and_vectors(name):
    model, shape = SEQUENCES[name]
    graph = flows(model, shape)
    assert np.prod(graph.shapes[graph.input]) == np.prod(shape)


def test_quantize_takes_sequences():
    """And the network reads them as they are; what is of another length is refused."""
    pixels = images((8, 21), 30)
    network = quantize(keywords().eval(), pixels, recipe="fixed8", report=None)
    assert network.tensors[network.input].shape == (8, 1, 21)
    assert (network.run(pixels) == network.run(pixels[:, :, None])).all() and network.logits(pixels).shape == (30, 4)
    with pytest.raises(AlloyError, match=r"of shape \(30, 8, 20\)"):
        network.run(pixels[:, :, :20])
    for shape in ((30,), (2, 3, 4, 5, 6)):
        with pytest.raises(AlloyError, match=r"\(images, channels, length\) or \(images, values\)"):
            quantize(keywords().eval(), np.zeros(shape, np.uint8), report=None)


def test_sums_of_a_normalized_image_are_refused():
    """What is added to each pixel would be added to a mean, and several times to a sum."""
    means, sums = (trace(nn.Sequential(nn.AvgPool2d(2, divisor_override=divisor), nn.Conv2d(3, 2, 1)).eval(), SHAPE)
                   for divisor in (None, 1))
    normalization = Normalization.of(0.4, 0.2, 3)
    pixels = torch.from_numpy(images(SHAPE, 2))
    folded = normalization.folded(means)
    found = folded.tensors((pixels.float() - normalization.zero) / 255)[folded.output]
    assert torch.allclose(found, means.tensors(normalization.real(pixels))[means.output], atol=1e-4)
    with pytest.raises(AlloyError, match="reads the normalized image and is no convolution"):
        normalization.folded(sums)


MIXES = {
    "the last dimension of pixels": lambda self, x: self.l(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    "tokens": lambda self, x: self.l(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(-1, 4, *x.shape[2:]),
    "of columns first": lambda self, x: self.l(x.permute(0, 3, 2, 1)).permute(0, 3, 2, 1),
    "some pixels": lambda self, x: self.l(x[:, :, 1::2, 2].transpose(1, 2)).flatten(1),
    "blocks of pixels": lambda self, x: self.b(x[:, :, :8, :10].reshape(-1, 6, 4, 2, 5, 2).permute(
        0, 2, 4, 1, 3, 5).flatten(3)).permute(0, 3, 1, 2),
    "a matrix before": lambda self, x: self.l.weight @ x.flatten(2),
    "a matrix behind": lambda self, x: (x.permute(0, 2, 3, 1) @ self.l.weight.t()).permute(0, 3, 1, 2),
    "a matrix for each image": lambda self, x: torch.bmm(self.l.weight.expand(len(x), 4, 6), x.flatten(2)),
    "a vector": lambda self, x: (x.permute(0, 2, 3, 1) @ self.l.weight[0]),
    "addmm": lambda self, x: torch.addmm(self.l.bias, x.mean((2, 3)), self.l.weight.t()),
    "baddbmm": lambda self, x: torch.baddbmm(self.l.bias, x.flatten(2).transpose(1, 2), self.l.weight.t()[None].expand(
        len(x), 6, 4)),
    "einsum of channels": lambda self, x: torch.einsum("nchw,oc->nohw", x, self.l.weight),
    "einsum of tokens": lambda self, x: torch.einsum("oc,nlc->nlo", self.l.weight, x.flatten(2).transpose(1, 2)),
    "einsum of the map": lambda self, x: torch.einsum("nchw,ochw->no", x, self.w.weight),
    "pointwise of a flat map": lambda self, x: F.conv1d(x.flatten(2), self.l.weight[:, :, None]),
    "a convolution of shuffled channels": lambda self, x: F.conv2d(
        x[:, :4].flip(1), self.w.weight[:, :2, :3, :3], groups=2),
    "a depthwise one of shuffled channels": lambda self, x: F.conv2d(
        x.flip(1), self.w.weight[:1, :, :3, :3].transpose(0, 1), groups=6),
    "a pool of some channels": lambda self, x: F.max_pool2d(x[:, 1::2], 2),
    "mean over rows": lambda self, x: x.mean(2), "mean over columns": lambda self, x: x.mean(-1, keepdim=True),
    "mean of tokens": lambda self, x: x.flatten(2).transpose(1, 2).mean(1), "sum": lambda self, x: x.sum((-1, -2)),
    "largest": lambda self, x: x.amax((2, 3), keepdim=True), "largest twice": lambda self, x: x.max(3)[0].max(2)[0],
    "adaptive maximum": lambda self, x: F.adaptive_max_pool2d(x, (3, 1)),
    "adaptive maximum that overlaps": lambda self, x: F.adaptive_max_pool2d(x, 2),
    "adaptive average": lambda self, x: F.adaptive_avg_pool2d(x, (4, 3)).flatten(1)[:, 5:9],
    "adaptive average of some channels": lambda self, x: F.adaptive_avg_pool2d(x.flip(1)[:, 1:4], (2, 7)),
    "adaptive average of a sequence": lambda self, x: F.adaptive_avg_pool1d(x.mean(2), 4),
    "largest of the map": lambda self, x: F.max_pool2d(x, x.shape[2:]),
    "with indices": lambda self, x: F.max_pool2d(x, 2, return_indices=True)[0],
    "mean of pixels last": lambda self, x: x.permute(0, 2, 3, 1).mean((1, 2)),
}


@pytest.mark.parametrize("name", MIXES)
def test_mixes_and_reductions(name):
    """trace compares each with the model."""
    model = Function(MIXES[name], l=nn.Linear(6, 4), b=nn.Linear(24, 5), w=nn.Conv2d(6, 4, SHAPE[1:]))
    trace(model.eval(), SHAPE)


@pytest.mark.parametrize("name", ["blocks of pixels", "some pixels", "mean over rows", "sum", "tokens",
                                  "adaptive average of some channels"])
def test_mixes_in_integers(name):
    flows(Function(MIXES[name], l=nn.Linear(6, 4), b=nn.Linear(24, 5)))


@pytest.mark.parametrize("function, words", [
    (lambda self, x: x.mean(1), "is mean over dimensions .* only those of rows and columns"),
    (lambda self, x: x.max(), "is max over dimensions None"),
    (lambda self, x: F.adaptive_max_pool2d(x, 4), "pools 9x11 to 4x4 pixels, maxima of windows of several sizes"),
    (lambda self, x: self.m(x.flatten(2)), "whose last dimension is not the channels of a pixel"),
    (lambda self, x: torch.einsum("nchw,oc->no", x, self.l.weight), "is einsum, which is not supported"),
    (lambda self, x: torch.bmm(torch.randn(2, 4, 6), x.flatten(2)), "is bmm, which is not supported"),
    (lambda self, x: F.conv1d(x.flatten(2), self.l.weight[:, :, None].repeat(1, 1, 3)), "are no rows of one map"),
    (lambda self, x: F.conv3d(x[:, None], torch.ones(1, 1, 2, 2, 2)), "is conv3d, which is not supported"),
])
def test_refusals(function, words):
    model = Net(lambda self, x: function(self, self.first(x)), first=nn.Conv2d(3, 6, 3, padding=1), l=nn.Linear(6, 4),
                m=nn.Linear(99, 4))
    with pytest.raises(AlloyError, match=words):
        trace(model.eval(), SHAPE)


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
