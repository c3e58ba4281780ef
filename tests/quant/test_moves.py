"""What moves values or puts them side by side: every spelling means what it means in PyTorch, down to the integers."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compiler import compile
from quant import QuantNet, trace
from quant.capture.settle import moves
from quant.equalize import equalize
from quant.normalize import Normalization
from quant.ptq import reconstruct
from sim import command_model
from spec.config import EngineConfig
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
    exact, found = graph.tensors(x)[graph.output].flatten(1), net.eval()(x)
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
        assert torch.allclose(one.tensors(x)[graph.output].flatten(1), expected, atol=1e-4)
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
    (lambda self, x: torch.cat([self.b(x).flatten(2), F.max_pool2d(self.b(x), 2).flatten(2)], 2),
     r"cat of what is made of maps of 8x6 and 4x3 pixels: only tensors of one size"),
    (lambda self, x: self.c(torch.cat([torch.ones(len(x), 4, 8, 6), self.a(x)], 1)),
     "cat of a tensor and a constant: only"),
    (lambda self, x: torch.cat([self.a(x), self.a(x)], 0), "mixes images"),
])
def test_what_cannot_be_joined(forward, words):
    with pytest.raises(AlloyError, match=words):
        trace(Model(forward), SHAPE)


def shuffled(x, groups):
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class Moved(nn.Module):
    """A convolution to eight channels, then a spelling."""

    def __init__(self, forward):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.h = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1), nn.Conv2d(4, 4, 1)
        self.d, self.e = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.g, self.q, self.w = nn.Conv2d(8, 6, 3, groups=2), nn.Conv2d(12, 4, 3, padding=1), nn.Conv2d(32, 4, 1)
        self.u, self.v = nn.ConvTranspose2d(8, 5, 4, 2, 1), nn.ConvTranspose2d(8, 8, 3, 2, 1, groups=4)
        self.w2 = nn.Conv2d(8, 25, 1)
        self.t, self.s = nn.ConvTranspose2d(8, 5, 2, 2), nn.Conv2d(8, 4, 3, stride=2)
        self.step = forward
        self.eval()

    def half(self, x):
        """A block of ShuffleNet-V2."""
        one, other = x.chunk(2, 1)
        return shuffled(torch.cat((one, self.h(self.e(self.h(other))).relu()), 1), 2)

    def forward(self, x):
        return self.step(self, self.a(x).relu(), x)


SHAPED = {      # how, and the layers behind the first convolution
    "blocks of ShuffleNet-V2": (lambda m, x, i: m.d(m.half(m.half(x))),
                                "Conv Conv Conv Select Concat Conv Conv Conv Select Concat Conv Select"),
    "channels returned": (lambda m, x, i: x.flip(1), "Select"),
    "some returned": (lambda m, x, i: x[:, 2:5], "Select"),
    "some pooled": (lambda m, x, i: F.max_pool2d(x[:, 1::2], 2), "MaxPool Select"),
    "halves added": (lambda m, x, i: x[:, :4] + m.h(x[:, 4:]), "Select Conv"),
    "some read by a depthwise convolution": (lambda m, x, i: m.e(x[:, 2:6]), "Conv Select"),
    "shuffled for groups": (lambda m, x, i: m.g(shuffled(x, 4)), "Conv"),
    "index": (lambda m, x, i: m.d(x[:, [3, 1, 2, 0, 7, 6, 5, 4]]), "Conv Select"),
    "the focus of YOLOv5": (lambda m, x, i: m.q(torch.cat(
        [i[..., ::2, ::2], i[..., 1::2, ::2], i[..., ::2, 1::2], i[..., 1::2, 1::2]], 1)) + m.h(F.max_pool2d(
            x, 2)[:, :4]), None),
    "option A": (lambda m, x, i: F.pad(m.h(x[:, :4])[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)) + F.max_pool2d(m.b(x), 2),
                 None),
    "zeros beside": (lambda m, x, i: m.b(torch.cat([x[:, :4], torch.zeros_like(x[:, :4])], 1)), "Select Conv"),
    "cropped": (lambda m, x, i: m.b(x[:, :, 1:-1, 2:]), "Select Conv"),
    "padded for a convolution": (lambda m, x, i: m.s(F.pad(x, (0, 1, 0, 1))), "Conv"),
    "a layer that pads": (lambda m, x, i: m.d(nn.ZeroPad2d((1, 2, 0, 1))(x)), "Conv"),
    "padded for a pool": (lambda m, x, i: F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 2), "Select MaxPool"),
    "pixels to channels": (lambda m, x, i: m.w(F.pixel_unshuffle(x, 2)), "Select Conv"),
    "the same by views": (lambda m, x, i: m.w(x.view(len(x), 8, 4, 2, 3, 2).permute(0, 1, 3, 5, 2, 4).reshape(
        len(x), 32, 4, 3)), "Select Conv"),
    "channels to pixels": (lambda m, x, i: F.max_pool2d(F.pixel_shuffle(x, 2), 3), "Select Spread MaxPool"),
    "channels to four by four": (lambda m, x, i: F.pixel_shuffle(torch.cat([x, m.b(x)], 1), 4),
                                 "Conv Concat Select Spread Spread"),
    "upsampled": (lambda m, x, i: m.b(F.interpolate(x, scale_factor=2)), "Spread Conv"),
    "a layer that upsamples": (lambda m, x, i: nn.Upsample(scale_factor=2)(x), "Spread"),
    "to a size": (lambda m, x, i: m.b(F.interpolate(x, size=(16, 12))), "Spread Conv"),
    "exact": (lambda m, x, i: m.b(F.interpolate(x, scale_factor=2, mode="nearest-exact")), "Spread Conv"),
    "by four": (lambda m, x, i: m.b(F.interpolate(x, scale_factor=4)), "Spread Spread Conv"),
    "to an odd size": (lambda m, x, i: torch.cat([x[:, :, 1:, 1:], F.interpolate(F.max_pool2d(m.d(x), 2), size=(7, 5))],
                                                 1), None),
    "by three": (lambda m, x, i: m.b(F.interpolate(x, scale_factor=3)), "Spread Conv"),
    "channels to five by five": (lambda m, x, i: F.pixel_shuffle(m.w2(x), 5), "Conv Spread"),
    "between pixels": (lambda m, x, i: m.b(F.interpolate(x, scale_factor=2, mode="bilinear")),
                       "Spread AveragePool AveragePool Conv"),
    "between pixels, by three": (lambda m, x, i: nn.Upsample(scale_factor=3, mode="bilinear")(x), "Spread AveragePool"),
    "between pixels, by four and one": (lambda m, x, i: F.interpolate(x, size=(32, 6), mode="bilinear"),
                                        "Spread Spread AveragePool AveragePool"),
    "of one pixel": (lambda m, x, i: m.b(x) + F.interpolate(x.mean((2, 3), True), size=(8, 6), mode="bilinear"), None),
    "one and a half times": (lambda m, x, i: m.b(F.interpolate(x, scale_factor=1.5)), None),
    "to any size, from the middles": (lambda m, x, i: m.b(F.interpolate(x, size=(11, 13), mode="nearest-exact")),
                                      "Spread Select Spread Select Conv"),
    "in one direction, cut off": (lambda m, x, i: m.b(F.interpolate(x, size=(8, 17))), "Spread Select Conv"),
    "rows": (lambda m, x, i: m.b(x.repeat_interleave(2, 2)), "Spread Conv"),
    "expanded": (lambda m, x, i: m.b(x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2).reshape(
        len(x), 8, 16, 12)), "Spread Conv"),
    "added to a finer map": (lambda m, x, i: m.b(x) + F.interpolate(F.max_pool2d(m.d(x), 2), scale_factor=2), None),
    "beside a finer map": (lambda m, x, i: torch.cat([x, F.interpolate(F.max_pool2d(m.d(x), 2), scale_factor=2)], 1),
                           "Conv MaxPool Spread Concat"),
    "a transposed convolution": (lambda m, x, i: m.t(x), "Conv Spread"),
    "a transposed convolution of windows that overlap": (lambda m, x, i: m.u(x), "Conv Spread"),
    "one of groups, cut off": (lambda m, x, i: m.b(m.v(x)), "Conv Spread Select Conv"),
    "one that leaves pixels out": (lambda m, x, i: F.conv_transpose2d(x, m.t.weight, stride=(3, 4), padding=(0, 1)),
                                   "Conv Spread Select"),
    "one of stride 1": (lambda m, x, i: F.conv_transpose2d(x, m.u.weight, padding=2, dilation=2), "Conv"),
    "shuffled and a sequence, scaled": (lambda m, x, i: (lambda y: (y.flatten(2) * y.mean((2, 3))[:, :, None]).view_as(
        y))(F.pixel_shuffle(x, 2)), "Select Spread AveragePool Scaling"),
    "repeated": (lambda m, x, i: m.w(x.repeat(1, 4, 1, 1)), "Conv"),
    "tiled": (lambda m, x, i: F.max_pool2d(torch.tile(x, (1, 2, 1, 1)), 2), "MaxPool Select"),
    "a block of YOLOv8": (lambda m, x, i: (lambda y: m.q(torch.cat([*y, m.e(y[1])], 1)))(x.chunk(2, 1)),
                          "Conv Select Concat Conv"),
}


@pytest.mark.parametrize("name", [name if n % 2 else pytest.param(name, marks=pytest.mark.slow)
                                  for n, name in enumerate(SHAPED)])
def test_shapes(name):
    """What trace compares with the model; equalized it is the same."""
    forward, layers = SHAPED[name]
    model = Moved(forward)
    graph, x = trace(model, SHAPE), torch.from_numpy(images()).float() / 255
    if layers is not None:
        assert [type(layer).__name__.removesuffix("Layer") for layer in graph.layers[1:]] == layers.split()
    with torch.no_grad():
        assert torch.allclose(equalize(graph, x).tensors(x)[graph.output].flatten(1), model(x).flatten(1), atol=1e-4)


def test_factors_beyond_all_codes():
    """Count as that many, and leave the others their precision."""
    mults, shift = QuantNet.multipliers(np.array([43560.7, 0.3]))
    assert mults[0] / 2 ** shift == 256 and abs(mults[1] / 2 ** shift - 0.3) < 0.01


@pytest.mark.parametrize("seed", range(30))
def test_layers_of_larger_maps(seed):
    """To any size that is at least the map's: they do what PyTorch does."""
    rng = np.random.default_rng(seed)
    c, h, w = rng.integers(1, 14, 3).tolist()
    index = torch.arange(c * h * w).reshape(c, h, w)
    size = int(rng.integers(h, 3 * h + 2)), int(rng.integers(w, 3 * w + 2))
    wanted = F.interpolate(index[None].double(), size=size, mode=("nearest", "nearest-exact")[seed % 2])
    layers, values = moves(wanted[0].long().numpy(), (c, h, w)), index[None].double()
    assert layers is not None
    for layer in layers:
        values = layer.apply(torch, values)
    assert torch.equal(values, wanted)


@pytest.mark.parametrize("name", ["blocks of ShuffleNet-V2", "the focus of YOLOv5", "option A",
                                  "channels to four by four", "added to a finer map", "beside a finer map",
                                  "a transposed convolution", "channels to five by five", "between pixels",
                                  "one of groups, cut off", "to any size, from the middles"])
def test_programs(name):
    """From the model to the commands."""
    graph = trace(Moved(SHAPED[name][0]), SHAPE)
    network, error = integers(graph)
    assert error < 0.25, error
    config = EngineConfig(name="moves", ic=3, pixels=4, dsp_filters=4, lut_filters=2, act_depth=512, weight_depth=256,
                          tables=2)
    program, codes = compile(network, config), images(1)
    expected = network.codes(codes)[network.output][0]
    assert (command_model.run(program, config, codes[0])[network.output] == expected).all()


@pytest.mark.parametrize("name", ["the focus of YOLOv5", "beside a finer map"])
def test_normalized_images(name):
    graph, norm = trace(Moved(SHAPED[name][0]), SHAPE), Normalization((0.5,) * 3, (0.2, 0.3, 0.4))
    codes = torch.from_numpy(images())
    real = (codes.float() / 255 - 0.5) / torch.tensor([0.2, 0.3, 0.4])[:, None, None]
    new = norm.folded(graph).tensors((codes.float() - norm.zero) / 255)[graph.output]
    old = graph.tensors(real)[graph.output]
    assert torch.allclose(new[..., 1:-1, 1:-1], old[..., 1:-1, 1:-1], atol=0.05)


@pytest.mark.parametrize("forward, words", [
    (lambda m, x, i: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
     "is upsample_bilinear2d, which is not supported with align_corners"),
    (lambda m, x, i: F.interpolate(x, scale_factor=1.5, mode="bilinear"),
     "is upsample_bilinear2d, which is not supported by factors that are not whole"),
    (lambda m, x, i: m.d(F.interpolate(x, size=(5, 5), mode="nearest")), "by moving values between its pixels"),
    (lambda m, x, i: F.pad(x, (1, 1, 1, 1), mode="reflect"), "pads with the mode reflect: only zeros are supported"),
    (lambda m, x, i: nn.ReplicationPad2d(1)(x), "pads with the mode replicate: only zeros are supported"),
    (lambda m, x, i: F.pad(x, (1, 1, 1, 1), value=1.0), "pads with 1: only zeros are supported"),
    (lambda m, x, i: F.conv_transpose2d(x.roll(1, 3), torch.ones(8, 2, 2, 2), stride=2),
     "is a transposed convolution of channels in another order"),
    (lambda m, x, i: F.interpolate(x.roll(1, 3), scale_factor=2, mode="bilinear"), "interpolates channels in another"),
    (lambda m, x, i: m.d(torch.cat([x, m.b(x)], 2)), "by moving values between its pixels"),
    (lambda m, x, i: F.max_pool2d(F.pad(x, (1, 1, 1, 1)).flip(2), 2), r"only channels can be moved, and maps be cut"),
])
def test_what_cannot_be_moved(forward, words):
    with pytest.raises(AlloyError, match=words):
        trace(Moved(forward), SHAPE)


WAYS = {
    "upsampled": lambda self, x: F.interpolate(self.d(self.c(torch.cat(self.pair(x), 1))[:, [0] * 9]), scale_factor=2),
    "shuffled": lambda self, x: F.pixel_shuffle(F.conv2d(x, self.d.weight.repeat(4, 3, 1, 1), padding=1), 2),
    "cut": lambda self, x: self.d(F.conv2d(x, self.l.weight.t().repeat(1, 1)[:, :3, None, None]))[:, :, 1:, :-1],
    "turned": lambda self, x: self.d(F.conv2d(x, self.l.weight.t()[:, :3, None, None])).flip(1),
    "shuffled, then a function": lambda self, x: WAYS["shuffled"](self, x).relu(),
    "upsampled, then a function": lambda self, x: torch.tanh(WAYS["upsampled"](self, x)),
}
READ = {
    "linear, permuted": lambda self, y: self.l(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    "linear, moved": lambda self, y: self.l(y.movedim(1, -1)).movedim(-1, 1),
    "scaled": lambda self, y: y * torch.sigmoid(y.mean((2, 3), keepdim=True)),
    "scaled, expanded": lambda self, y: y * torch.sigmoid(y.mean((2, 3), keepdim=True)).expand_as(y),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("read", READ)
def test_what_was_moved_is_read_by_any_layer(way, read):
    """Kind: a reader that needs a whole map and gets one whose values only a layer can move."""
    check(lambda self, x: READ[read](self, WAYS[way](self, x)))
