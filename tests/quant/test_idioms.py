"""How users write models: each spelling gives the layers of the plain one, weights included."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from quant import trace
from spec.errors import AlloyError

SHAPE = (3, 8, 8)


class Base(nn.Module):
    """Two convolutions, a batch norm, a pool and a linear layer; ``forward`` is that of the plain spelling."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.n, self.r = nn.BatchNorm2d(8), nn.ReLU()
        self.p, self.g, self.f, self.l = nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
        self.n.running_mean.uniform_(-1, 1)
        self.n.running_var.uniform_(0.5, 2)
        self.eval()

    def head(self, x):
        return self.l(self.f(self.g(x)))

    def stem(self, x):
        return self.r(self.n(self.b(self.r(self.a(x)))))

    def forward(self, x):
        return self.head(self.p(self.stem(x)))


def head(function):
    """Another way from the last map to the output."""
    return lambda self, x: function(self, self.p(self.stem(x)))


def stem(function):
    """Another way from the image to the last map."""
    return lambda self, x: self.head(self.p(function(self, x)))


def _shape_test(self, x):
    if x.shape[1] != 3 or x.size(-1) != x.size(-2):
        raise ValueError("no image")
    return Base.forward(self, x)


def _unused(self, x):
    self.b(self.p(self.a(x)))
    return Base.forward(self, x)


def _flags(self, x, return_features=False, scale=None):
    out = Base.forward(self, x)
    return (out, x) if return_features else out if scale is None else out * scale


IDIOMS = {
    "functional pools": lambda self, x: self.head(F.max_pool2d(self.stem(x), 2)),
    "pool with keywords": lambda self, x: self.head(F.max_pool2d(self.stem(x), kernel_size=2, stride=(2, 2))),
    "functional adaptive pool": head(lambda self, x: self.l(F.adaptive_avg_pool2d(x, (1, 1)).flatten(1))),
    "average over the map": head(lambda self, x: self.l(F.avg_pool2d(x, x.shape[-1])[:, :, 0, 0])),
    "mean": head(lambda self, x: self.l(x.mean([2, 3]))),
    "mean of named axes": head(lambda self, x: self.l(x.mean(dim=(-1, -2), keepdim=True).squeeze(-1).squeeze(-1))),
    "two means": head(lambda self, x: self.l(torch.mean(x, (2, 3)))),
    "view": head(lambda self, x: self.l(self.g(x).view(x.size(0), -1))),
    "view with a product": head(lambda self, x: self.l(self.g(x).view(-1, math.prod(x.shape[1:2])))),
    "reshape": head(lambda self, x: self.l(self.g(x).reshape(len(x), 8))),
    "contiguous view": head(lambda self, x: self.l(self.g(x).contiguous().view(x.shape[0], x.shape[1]))),
    "flatten": head(lambda self, x: self.l(torch.flatten(self.g(x), start_dim=1))),
    "channels last": head(lambda self, x: self.l(self.g(x).permute(0, 2, 3, 1)).reshape(x.shape[0], -1)),
    "functional convolution": stem(lambda self, x: self.r(self.n(F.conv2d(
        self.r(F.conv2d(x, self.a.weight, self.a.bias, padding=1)), self.b.weight, None, 1, 1)))),
    "padding by name": stem(lambda self, x: self.r(self.n(self.b(self.r(F.conv2d(
        x, self.a.weight, self.a.bias, padding="same")))))),
    "functional batch norm": stem(lambda self, x: torch.relu(F.batch_norm(
        self.b(self.a(x).relu()), self.n.running_mean, self.n.running_var, self.n.weight, self.n.bias))),
    "functional linear": head(lambda self, x: F.linear(self.f(self.g(x)), self.l.weight, self.l.bias)),
    "matrix product": head(lambda self, x: self.f(self.g(x)) @ self.l.weight.t() + self.l.bias),
    "clamp": stem(lambda self, x: self.n(self.b(self.a(x).clamp(min=0))).clamp_min(0)),
    "in place": stem(lambda self, x: F.relu(self.n(self.b(F.relu_(self.a(x)))), inplace=True)),
    "dropout": head(lambda self, x: self.l(F.dropout(self.f(F.dropout2d(self.g(x), 0.5, self.training)), 0.5, False))),
    "test of the shape": _shape_test,
    "what nothing reads": _unused,
    "default flags": _flags,
    "a loop over modules": stem(lambda self, x: nn.Sequential(*[self.a, self.r, self.b, self.n, self.r])(x)),
    "no gradient": stem(lambda self, x: torch.no_grad()(lambda: self.stem(x))()),
    "negative index": stem(lambda self, x: [self.a(x), self.stem(x)][-1]),
}


def layers(model):
    """What :func:`trace` finds: the layers without their names, in order, with the numbers of their sources."""
    graph = trace(model, SHAPE)
    numbers = {graph.input: 0} | {layer.output: number for number, layer in enumerate(graph.layers, 1)}
    found = []
    for layer in graph.layers:
        values = {key: value for key, value in vars(layer).items() if key not in ("name", "output", "sources")}
        found.append((type(layer), [numbers[name] for name in layer.inputs], values))
    return found


def equal(one, other):
    """Whether values are the same, elements of tensors included."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return one == other


@pytest.fixture(scope="module")
def plain():
    return layers(Base())


@pytest.mark.parametrize("idiom", IDIOMS)
def test_spellings(plain, idiom):
    model = type("Spelled", (Base,), {"forward": IDIOMS[idiom]})()
    found = layers(model)
    assert [(kind, sources) for kind, sources, _ in found] == [(kind, sources) for kind, sources, _ in plain]
    for (_, _, one), (_, _, other) in zip(found, plain, strict=True):
        assert one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one), one.keys()


class Named(nn.Conv2d):
    """A subclass with a forward of its own."""

    def forward(self, x):
        return self._conv_forward(x, self.weight, self.bias)


def _subclassed():
    model = Base()
    model.a = Named(3, 8, 3, padding=1)
    model.a.load_state_dict(Base().a.state_dict())
    return model


class Listed(Base):
    """Blocks in a list."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(self.a, self.r), nn.Sequential(self.b, self.n, self.r)])

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(self.p(x))


@pytest.mark.parametrize("made", [_subclassed, Listed, lambda: nn.DataParallel(Base()),
                                  lambda: nn.Sequential(Base()), lambda: nn.Sequential(Base(), nn.Identity())])
def test_wrapped_models(plain, made):
    found = layers(made())
    assert len(found) == len(plain)
    for (_, _, one), (_, _, other) in zip(found, plain, strict=True):
        assert all(equal(one[key], other[key]) for key in one)


def test_a_module_that_is_used_twice():
    class Twice(Base):
        def forward(self, x):
            x = self.r(self.a(x))
            return self.head(self.r(self.b(self.r(self.b(x)))))
    found = layers(Twice())
    assert torch.equal(found[1][2]["weight"], found[2][2]["weight"]) and len(found) == 5


class Chosen(nn.Module):
    """Channels in another order and halves of them, read by convolutions and linear layers."""

    def __init__(self, forward):
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(8, 6, 1)
        self.l, self.h, self.s = nn.Linear(6, 5), nn.Linear(4 * 64, 5), nn.ChannelShuffle(2)
        self.step = forward

    def forward(self, x):
        return self.step(self, self.a(x).relu())


@pytest.mark.parametrize("forward", [
    lambda self, x: self.b(x.chunk(2, 1)[1]), lambda self, x: self.b(x[:, ::2]), lambda self, x: self.c(self.s(x)),
    lambda self, x: self.c(x.flip(1)), lambda self, x: self.b(torch.split(x, [2, 4, 2], 1)[1]),
    lambda self, x: self.c(x.view(len(x), 2, 4, *x.shape[2:]).transpose(1, 2).reshape(x.shape)),
    lambda self, x: self.h(x[:, 2:6].flatten(1)), lambda self, x: self.h(x[:, :4].permute(0, 2, 3, 1).flatten(1)),
    lambda self, x: self.l(self.c(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    lambda self, x: self.l(self.c(x).flatten(2).transpose(1, 2)).transpose(1, 2).reshape(len(x), 5, 8, 8),
    lambda self, x: self.l(self.c(x).permute(0, 2, 3, 1).flip(-1)).permute(0, 3, 1, 2),
    lambda self, x: self.b(x[:, :4]) + self.c(x)])
def test_moved_channels(forward):
    """They go into the weights of who reads them, and are compared with the model by trace itself."""
    model = Chosen(forward).eval()
    graph, x = trace(model, SHAPE), torch.randn(3, *SHAPE)
    with torch.no_grad():
        expected = model(x)
    assert torch.allclose(graph.tensors(x)[graph.output].flatten(1), expected.flatten(1), atol=1e-4)


@pytest.mark.parametrize("forward, words", [
    (lambda self, x: self.c(x)[:, :4].transpose(2, 3), "only some of them"),
    (lambda self, x: self.c(x).transpose(2, 3), "in another order"),
    (lambda self, x: self.c(x.transpose(2, 3)),
     r"layer c \(test_idioms.py, line \d+\) reads a tensor \(8, 8, 8\) .*only channels can be moved"),
    (lambda self, x: F.max_pool2d(x.flip(2), 2), "only channels can be moved"),
    (lambda self, x: self.l(self.c(x[:, :, :, :6].flip(3)).transpose(1, 3)), "only channels can be moved"),
    (lambda self, x: self.c(x)[..., :6] @ self.l.weight.t(), "whose last dimension is not the channels"),
    (lambda self, x: self.c(x) + x.mean(), "is mean, which is not supported|mean over dimensions None"),
    (lambda self, x: x.flatten(0, 1), "mixes images"),
    (lambda self, x: self.c(x) + self.c(x).transpose(2, 3), "whose values stand in another order"),
    (lambda self, x: torch.softmax(self.c(x), 2), "is softmax, which is not supported"),
    (lambda self, x: self.c(x) + torch.arange(8.0), "a constant of shape"),
    (lambda self, x: F.adaptive_max_pool2d(x, 3), "windows of several sizes"),
    (lambda self, x: self.c(x).mean(1), "mean over dimensions"),
    (lambda self, x: self.c(x) * torch.arange(64.0).reshape(8, 8), "a constant of shape .8, 8.: only one"),
    (lambda self, x: self.s.groups, "return one tensor|several values"),
    (lambda self, x: torch.ones(len(x), 4), "does not depend on the image"),
    (lambda self, x: self.c(F.batch_norm(x.transpose(2, 3), torch.zeros(8), torch.ones(8))),
     "works on channels in another order"),
    (lambda self, x: F.batch_norm(x, None, None, training=True), "batch_norm.*is not supported"),
])
def test_what_cannot_be_moved(forward, words):
    with pytest.raises(AlloyError, match=words):
        trace(Chosen(forward).eval(), SHAPE)
