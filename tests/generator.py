"""Random networks: PyTorch models of every operator that can be read, in the spellings in which users write them.

:func:`draw` makes one of a seed. What a model may hold is :data:`KINDS`; a kind that the reader refuses (:func:`known`)
is not drawn.
"""

from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from quant import QuantNet, trace
from quant.ptq import reconstruct
from spec.errors import AlloyError
from spec.network import Network
from spec.numerics import Scheme

__all__ = ["KINDS", "Drawn", "draw", "images", "known", "quantized"]

ACTIVATIONS = (F.hardswish, F.silu, torch.sigmoid, F.gelu, torch.tanh, nn.Hardsigmoid(), nn.ELU(),
               lambda x: x * torch.sigmoid(x), lambda x: F.leaky_relu(x, 0.1), lambda x: x * F.relu6(x + 3) / 6,
               lambda x: x.abs(), lambda x: x * x)
RELUS = (nn.ReLU(), nn.ReLU(inplace=True), F.relu, torch.relu, lambda x: x.clone().relu_(), nn.ReLU6(),
         lambda x: x.clamp(min=0), lambda x: torch.clamp(x, 0, 6), lambda x: F.hardtanh(x, 0.0, 4.0))
SCALES = (lambda x, s: x * s, lambda x, s: torch.mul(s, x), lambda x, s: x.mul(s.expand_as(x)),
          lambda x, s: x.clone().mul_(s), lambda x, s: (x.flatten(2) * s.flatten(1)[:, :, None]).view_as(x))
GATES = (torch.sigmoid, nn.Hardsigmoid(), F.relu, lambda x: x)


class Drawn(nn.Module):
    """A model whose forward goes through ``steps``: (function, numbers of the values that it is given)."""

    def __init__(self):
        super().__init__()
        self.parts, self.steps, self.kinds = nn.ModuleList(), [], []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = [x]
        for function, given in self.steps:
            values.append(function(*(values[at] for at in given)))
        return values[-1]


class _Drawing:
    """A model in the making: ``shapes`` of its values, (C, H, W), (C, L) or (F,)."""

    def __init__(self, rng: Random, shape: tuple[int, ...]):
        self.rng, self.model, self.shapes = rng, Drawn(), [shape]

    def part(self, module: nn.Module) -> nn.Module:
        """A module of the model's own, with random statistics where it has any."""
        for one in module.modules():
            if isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d):
                with torch.no_grad():
                    one.running_mean.normal_(0, 0.2)
                    one.running_var.uniform_(0.3, 1.5)
                    one.weight.uniform_(0.5, 1.5)
                    one.bias.normal_(0, 0.2)
        self.model.parts.append(module)
        return module

    def step(self, function: Callable, *given: int) -> int:
        """Append a step; the number of its value."""
        with torch.no_grad():
            made = function(*(torch.zeros(2, *self.shapes[at]) for at in given))
        self.model.steps.append((function, given))
        self.shapes.append(tuple(made.shape[1:]))
        return len(self.shapes) - 1


def _conv(d: _Drawing, at: int, channels: int | None = None, same: bool = False) -> int:
    """A convolution of any window, perhaps with a batch norm and a ReLU; ``same``: the map keeps its size."""
    rng, (c, h, w) = d.rng, d.shapes[at]
    k = [rng.choice([1, 1, 2, 3, 3, 3, 4, 5]) for _ in range(2)] if not same else [rng.choice([1, 3])] * 2
    dilation = [rng.choice([1, 1, 1, 2]) for _ in range(2)] if not same else [1, 1]
    padding = [rng.randint(0, (size + 1) // 2) for size in k] if not same else [size // 2 for size in k]
    stride = [rng.choice([1, 1, 1, 2, 2, 3]) for _ in range(2)] if not same else [1, 1]
    for axis, size in enumerate((h, w)):
        if size + 2 * padding[axis] < dilation[axis] * (k[axis] - 1) + 1:
            k[axis], padding[axis], dilation[axis] = 1, 0, 1
    groups = rng.choice([1, 1, 1, c] + [g for g in range(1, c) if c % g == 0]) if channels is None else 1
    filters = channels or groups * rng.randint(1, max(1, 9 // groups))
    layer = d.part(nn.Conv2d(c, filters, k, stride, padding, dilation, groups, bias=rng.random() < 0.5))
    spelled = rng.choice([layer, layer, lambda x: F.conv2d(x, layer.weight, layer.bias, stride, padding, dilation,
                                                           groups)])
    at = d.step(spelled, at)
    at = _norm(d, at) if rng.random() < 0.5 else at
    return d.step(rng.choice(RELUS), at) if rng.random() < 0.5 else at


def _norm(d: _Drawing, at: int) -> int:
    kind = nn.BatchNorm2d if len(d.shapes[at]) == 3 else nn.BatchNorm1d
    return d.step(d.part(kind(d.shapes[at][0])), at)


def _again(d: _Drawing, at: int) -> int:
    """A module that the model has already, if one takes the value."""
    fits = [part for part in d.model.parts if isinstance(part, nn.Conv2d) and part.in_channels == d.shapes[at][0]
            and all(size + 2 * p >= dil * (k - 1) + 1 for size, p, dil, k in zip(
                d.shapes[at][1:], part.padding, part.dilation, part.kernel_size, strict=True))]
    return d.step(d.rng.choice(fits), at) if fits else _conv(d, at)


def _max_pool(d: _Drawing, at: int) -> int:
    rng, (_, h, w) = d.rng, d.shapes[at]
    k = [rng.randint(1, min(4, size)) for size in (h, w)]
    given = dict(kernel_size=k, stride=[rng.randint(1, 3) for _ in k], ceil_mode=rng.random() < 0.3,
                 padding=[rng.randint(0, size // 2) for size in k])
    return d.step(rng.choice([nn.MaxPool2d(**given), lambda x: F.max_pool2d(x, **given)]), at)


def _average_pool(d: _Drawing, at: int) -> int:
    rng, (_, h, w) = d.rng, d.shapes[at]
    k = [rng.randint(1, min(4, size)) for size in (h, w)]
    given = dict(kernel_size=k, stride=[rng.randint(1, 3) for _ in k], ceil_mode=rng.random() < 0.3,
                 padding=[rng.randint(0, size // 2) for size in k], count_include_pad=rng.random() < 0.5)
    return d.step(rng.choice([
        nn.AvgPool2d(**given), lambda x: F.avg_pool2d(x, **given), nn.AdaptiveAvgPool2d(1),
        lambda x: x.mean((2, 3), keepdim=True), lambda x: F.adaptive_avg_pool2d(x, (h, 1)),
        nn.AdaptiveAvgPool2d(rng.randint(1, 4))]), at)


def _add(d: _Drawing, at: int) -> int:
    rng, shape = d.rng, d.shapes[at]
    fits = [other for other, size in enumerate(d.shapes) if size == shape and other != at]
    other = rng.choice(fits) if fits and rng.random() < 0.6 else _conv(d, at, shape[0], same=True)
    total = d.step(rng.choice([torch.add, lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x.clone().add_(y),
                               lambda x, y: torch.add(x, y, alpha=0.5)]), at, other)
    return d.step(rng.choice(RELUS), total) if rng.random() < 0.5 else total


def _constant(d: _Drawing, at: int) -> int:
    """Normalization inside, factors and offsets."""
    offset = torch.rand(d.shapes[at][0], *(1,) * (len(d.shapes[at]) - 1))
    return d.step(d.rng.choice([lambda x: (x - 0.3) / 0.7, lambda x: x * offset + 0.1, lambda x: 1 - x,
                                lambda x: x / 2 - offset, lambda x: -x]), at)


def _activation(d: _Drawing, at: int) -> int:
    return d.step(d.rng.choice(ACTIVATIONS), at)


def _relu(d: _Drawing, at: int) -> int:
    return d.step(d.rng.choice(RELUS), at)


def _concatenation(d: _Drawing, at: int) -> int:
    size = d.shapes[at][1:]
    fits = [other for other, shape in enumerate(d.shapes) if shape[1:] == size and shape[0] < 12 and other != at]
    others = [d.rng.choice(fits)] if fits and d.rng.random() < 0.5 else [_conv(d, at, d.rng.randint(1, 6), same=True)]
    return d.step(d.rng.choice([lambda *x: torch.cat(x, 1), lambda *x: torch.concat(x, dim=-3)]), at, *others)


def _slices(d: _Drawing, at: int) -> int:
    """Some channels, or all in another order, which a convolution reads."""
    c = d.shapes[at][0]
    low = d.rng.randint(0, c - 1)
    high = d.rng.randint(low + 1, c)
    moves = [lambda x: x[:, low:high], lambda x: x.flip(1), lambda x: x.narrow(1, low, high - low)]
    if c % 2 == 0:
        moves += [lambda x: x.chunk(2, 1)[1], lambda x: F.channel_shuffle(x, 2), lambda x: torch.split(x, c // 2, 1)[0]]
    return _conv(d, d.step(d.rng.choice(moves), at), d.rng.randint(1, 6))


def _upsampling(d: _Drawing, at: int) -> int:
    """Nearest, to any larger size, or bilinear, by whole factors."""
    up = [d.rng.choice([1, 2, 2, 3]) for _ in range(2)]
    size = [d.rng.choice([side * times, side * times - int(times > 1), d.rng.randint(side, min(2 * side, side + 6))])
            for side, times in zip(d.shapes[at][1:], up, strict=True)]
    return d.step(d.rng.choice([
        nn.Upsample(scale_factor=2), lambda x: F.interpolate(x, size=size),
        lambda x: F.interpolate(x, size=size, mode="nearest-exact"), lambda x: F.interpolate(x, scale_factor=up),
        nn.Upsample(scale_factor=tuple(up), mode="bilinear"),
        lambda x: F.interpolate(x, scale_factor=up, mode="bilinear", align_corners=False)]), at)


def _scaling(d: _Drawing, at: int) -> int:
    """Squeeze-and-excite."""
    rng, c = d.rng, d.shapes[at][0]
    one, two = (d.part(nn.Conv2d(*sizes, 1)) for sizes in ((c, max(1, c // 2)), (max(1, c // 2), c)))
    gate = rng.choice([gate for gate in GATES if _reads(gate)])
    squeezed = d.step(rng.choice([nn.AdaptiveAvgPool2d(1), lambda x: x.mean((2, 3), keepdim=True)]), at)
    factor = d.step(lambda x: gate(two(one(x).relu())), squeezed)
    return d.step(rng.choice(SCALES), at, factor)


def _transposed(d: _Drawing, at: int) -> int:
    """A transposed convolution of any window, with batch norm and ReLU perhaps."""
    rng, channels = d.rng, d.shapes[at][0]
    k, stride = ([rng.choice(sizes) for _ in range(2)] for sizes in ([1, 2, 2, 3, 4], [1, 2, 2, 3]))
    padding = [rng.randint(0, (size - 1) // 2) for size in k]
    more = [rng.randint(0, step - 1) for step in stride]
    groups = rng.choice([1, 1, channels])
    at = d.step(d.part(nn.ConvTranspose2d(channels, groups * rng.randint(1, max(1, 6 // groups)), k, stride, padding,
                                          more, groups, rng.random() < 0.5)), at)
    at = _norm(d, at) if rng.random() < 0.5 else at
    return d.step(rng.choice(RELUS), at) if rng.random() < 0.5 else at


def _shuffle(d: _Drawing, at: int) -> int:
    """Channels that become pixels, or pixels that become channels."""
    if min(d.shapes[at][1:]) > 1 and d.rng.random() < 0.4:
        _, h, w = d.shapes[at]
        given = d.step(lambda x: x[:, :, :h // 2 * 2, :w // 2 * 2], at)
        return _conv(d, d.step(d.rng.choice([nn.PixelUnshuffle(2), lambda x: F.pixel_unshuffle(x, 2)]), given),
                     d.rng.randint(1, 6), same=True)
    up = d.rng.choice([2, 2, 3])
    at = _conv(d, at, up * up * d.rng.randint(1, 2), same=True)
    return d.step(d.rng.choice([nn.PixelShuffle(up), lambda x: F.pixel_shuffle(x, up)]), at)


def _larger(d: _Drawing, at: int) -> int:
    """The larger or smaller of two maps at each place."""
    fits = [other for other, size in enumerate(d.shapes) if size == d.shapes[at] and other != at]
    other = d.rng.choice(fits) if fits and d.rng.random() < 0.6 else _conv(d, at, d.shapes[at][0], same=True)
    return d.step(d.rng.choice([torch.maximum, torch.minimum, torch.fmax, lambda x, y: torch.max(x, y)]), at, other)


def _pad(d: _Drawing, at: int) -> int:
    """A border of zeros, which a convolution reads."""
    sides = [d.rng.randint(0, 2) for _ in range(4)]
    return _conv(d, d.step(d.rng.choice([lambda x: F.pad(x, sides), nn.ZeroPad2d(sides)]), at), d.rng.randint(1, 6),
                 same=True)


def _channels_last(d: _Drawing, at: int) -> int:
    """A linear layer of each pixel."""
    layer = d.part(nn.Linear(d.shapes[at][0], d.rng.randint(1, 8)))
    return d.step(d.rng.choice([lambda x: layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
                                lambda x: layer(x.movedim(1, -1)).movedim(-1, 1)]), at)


def _decoder(d: _Drawing, at: int) -> int:
    """A linear layer whose values are the pixels of a map."""
    rng, (c, h, w) = d.rng, d.shapes[at]
    shape = rng.randint(1, 6), rng.randint(1, 5), rng.randint(1, 5)
    layer = d.part(nn.Linear(c * h * w, int(np.prod(shape))))
    at = d.step(lambda x: layer(x.flatten(1)), at)
    at = d.step(rng.choice(RELUS), at) if rng.random() < 0.5 else at
    return _conv(d, d.step(rng.choice([lambda x: x.view(-1, *shape), lambda x: x.reshape(len(x), *shape),
                                       nn.Unflatten(1, shape)]), at), rng.randint(1, 6), same=True)


KINDS = {kind.__name__.strip("_"): kind for kind in (
    _conv, _norm, _again, _max_pool, _average_pool, _add, _constant, _activation, _relu, _concatenation, _slices,
    _upsampling, _scaling, _transposed, _shuffle, _larger, _pad, _channels_last, _decoder)}
LARGER = "upsampling", "transposed", "shuffle"


def _dense(d: _Drawing, at: int) -> int:
    """A convolution of a sequence or a linear layer of a vector."""
    rng, shape = d.rng, d.shapes[at]
    if len(shape) == 1:
        return d.step(d.part(nn.Linear(shape[0], rng.randint(1, 12), bias=rng.random() < 0.5)), at)
    groups = rng.choice([1, 1, shape[0]])
    kernel = rng.randint(1, min(7, shape[1]))
    return d.step(d.part(nn.Conv1d(shape[0], groups * rng.randint(1, 6 // groups + 1), kernel, rng.randint(1, 3),
                                   rng.randint(0, kernel // 2), groups=groups)), at)


def _pool_of_line(d: _Drawing, at: int) -> int:
    """A pool of a sequence; a vector has none."""
    if len(d.shapes[at]) == 1:
        return _dense(d, at)
    size, step = d.rng.randint(1, min(3, d.shapes[at][1])), d.rng.randint(1, 2)
    return d.step(d.rng.choice([nn.MaxPool1d(size, step), nn.AvgPool1d(size, step),
                                lambda x: F.max_pool1d(x, size, step), lambda x: x.mean(-1, keepdim=True)]), at)


def _sum_of_line(d: _Drawing, at: int) -> int:
    """Added to another value of its size, or to itself behind a layer of its own."""
    shape = d.shapes[at]
    layer = d.part(nn.Linear(*shape * 2) if len(shape) == 1 else nn.Conv1d(shape[0], shape[0], 1))
    return d.step(d.rng.choice([torch.add, lambda x, y: x - y]), at, d.step(layer, at))


LINES = _dense, _dense, _norm, _pool_of_line, _sum_of_line, _constant, _activation, _relu


def _line(rng: Random, seed: int) -> tuple[Drawn, tuple[int, ...]]:
    """A model of sequences (C, L), or of vectors (F,)."""
    shape = (rng.randint(1, 9), rng.randint(1, 40)) if seed % 2 else (rng.randint(1, 60),)
    drawing = _Drawing(rng, shape)
    at = _dense(drawing, 0)
    for _ in range(rng.randint(2, 6)):
        kind = rng.choice(LINES)
        drawing.model.kinds.append(f"{kind.__name__.strip('_')} of {'sequences' if seed % 2 else 'vectors'}")
        at = kind(drawing, at)
    return drawing.model.eval(), shape


@cache
def _reads(function):
    """Whether a function of a map can be read."""
    class Model(nn.Module):
        def forward(self, x):
            return function(F.conv2d(x, torch.ones(3, 3, 1, 1)))
    try:
        trace(Model(), (3, 4, 4))
    except AlloyError:
        return False
    return True


@cache
def known(kind: str) -> bool:
    """Whether the reader takes a kind at all."""
    with torch.random.fork_rng():       # what is drawn by a seed is the same whether this was known before or not
        for seed in range(3):
            drawing = _Drawing(Random(seed), (3, 8, 8))
            KINDS[kind](drawing, _conv(drawing, 0, 4, same=True))
            try:
                trace(drawing.model, (3, 8, 8))
                return True
            except AlloyError:
                continue
    return False


def draw(seed: int, steps: int = 7) -> tuple[Drawn, tuple[int, ...]]:
    """A model in eval mode, whose ``kinds`` are what was drawn, and the shape that it reads: (C, H, W), or for one of
    eight seeds (C, L) or (F,)."""
    rng = Random(seed)
    torch.manual_seed(seed)
    if seed % 8 == 6:
        return _line(rng, seed // 8)
    side = rng.choice([1, 5, 8, 11, 16])
    side = 24 if seed % 8 == 5 else side        # more than the memories of a small engine hold
    shape = rng.choice([1, 3, 3, 4]), side, max(1, side + rng.randint(-3, 3))
    drawing, at = _Drawing(rng, shape), 0
    kinds = sorted(kind for kind in KINDS if known(kind))
    if rng.random() < 0.8:
        at = _conv(drawing, 0, rng.randint(2, 9), same=True)
    for number in range(rng.randint(2, steps)):
        kind = kinds[(seed + number) % len(kinds)] if number < 2 else rng.choice(kinds)     # each kind soon
        if np.prod(drawing.shapes[at][1:]) > 500 and kind in LARGER:
            continue
        drawing.model.kinds.append(kind)
        at = KINDS[kind](drawing, at)
    if rng.random() < 0.4:
        size = int(np.prod(drawing.shapes[at]))
        linear = drawing.part(nn.Linear(size, rng.randint(1, 7)))
        at = drawing.step(rng.choice([lambda x: linear(x.flatten(1)), lambda x: linear(torch.flatten(x, 1)),
                                      lambda x: F.linear(x.reshape(len(x), -1), linear.weight, linear.bias)]), at)
        if rng.random() < 0.3:
            drawing.step(rng.choice([nn.Softmax(1), nn.LogSoftmax(1), lambda x: F.softmax(x, dim=-1)]), at)
    return drawing.model.eval(), shape


def images(seed: int, shape: tuple[int, ...], count: int) -> np.ndarray:
    """Pixels uint8 (count, *shape): noise, black, white, one colour and extremes in turn."""
    rng = np.random.default_rng(seed)
    made = rng.integers(0, 256, (count, *shape))
    for index in range(count):
        if index % 5 in (1, 2):
            made[index] = (0, 255)[index % 5 - 1]
        elif index % 5 == 3:
            made[index] = rng.integers(0, 256, (shape[0], *(1,) * (len(shape) - 1)))
        elif index % 5 == 4:
            made[index] = 255 * rng.integers(0, 2, shape)
    return made.astype(np.uint8)


def quantized(model: nn.Module, shape: tuple[int, ...], seed: int) -> tuple[Network, QuantNet]:
    """The integer network of a model, with number systems and bits of activations drawn by ``seed``, and the network
    that it is of."""
    rng = np.random.default_rng(seed)
    graph = trace(model, shape)
    systems = [[Scheme.FIXED8], [Scheme.FIXED4], [Scheme.POT4], [Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8],
               [Scheme.FIXED2, Scheme.FIXED3, Scheme.FIXED5, Scheme.FIXED6]][rng.integers(5)]
    schemes = {layer.name: rng.choice(systems, len(layer.weight)).astype(np.uint8) for layer in graph.weighted}
    net = QuantNet(graph, schemes=schemes, bits=int(rng.choice([4, 5, 8])), input_zero=int(rng.choice([0, 0, 120])))
    reconstruct(net, images(seed, shape, 10).reshape(10, *graph.shapes[graph.input]), weights=False, known=True)
    return net.export(), net
