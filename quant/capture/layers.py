"""Layers of :data:`spec.operators.LAYERS`: those of maps and, with one row, of sequences."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from math import gcd
from typing import Any, NamedTuple, cast

import torch

from spec.errors import AlloyError
from spec.operators import LAYERS, Call, Layer
from spec.operators.windows import Window, pair

from .nodes import BATCH, READERS, Found, Node, View, flat, reads, whole
from .ops import Apply

__all__ = ["apply_layer", "read_layer", "reduced", "widened"]

# What one number for the other direction is, for each argument of a function of sequences.
LINE = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1, "output_size": 1}


def widened(layer: Layer, start: tuple[int, int], end: tuple[int, int]) -> Layer:
    """A convolution with more padding: ``start`` (rows, columns) above and left, ``end`` below and right."""
    window = Window.of(layer)

    def sums(one, other):
        return one[0] + other[0], one[1] + other[1]
    return replace(cast(Any, layer), padding=sums(window.padding, start), padding_end=sums(window.end, end))


def read_layer(node: Node) -> tuple[Apply, torch.Tensor | None]:
    """A layer of maps (C, H, W), each channel a whole map of its value."""
    channels = [_channels(view, node.where) for view in node.views]
    if all(chosen is None for chosen in channels):
        return apply_layer(node, node.function, node.arguments), None
    layer = next(layer for layer in LAYERS if node.function in layer.calls)
    if len(channels) > 1 or node.function != "conv2d" and not layer.channelwise:
        raise AlloyError(f"{node.where} reads channels in another order, or only some of them, which only convolutions "
                         "and pools can: make them one")
    (view,), (chosen,) = node.views, channels
    arguments, picked = dict(node.arguments), chosen
    if node.function == "conv2d":
        arguments, picked = _of_channels(arguments, chosen, view.size[0])
    op = apply_layer(node, node.function, arguments)
    out = whole(op.shape(view.size))
    return op, (out if picked is None else out[:, picked]).reshape(BATCH, *node.shape[1:])


def apply_layer(node: Node, function: str, arguments: Mapping[str, Any]) -> Apply:
    """The layer that a call of ``function`` is, on the values of ``node``."""
    rest = {key: value for key, value in arguments.items()
            if not any(isinstance(one, View) for one in flat([value]))}
    sources, shapes = tuple(view.value for view in node.views), tuple(view.size for view in node.views)
    layer: type[Layer] = next(layer for layer in LAYERS if function in layer.calls)
    return Apply(name=node.name, inputs=sources,
                 layer=layer.read(Call(node.name, node.where, function, sources, shapes, rest)))


def _of_channels(arguments, chosen, count):
    """Arguments of a convolution of all ``count`` channels of a value that reads the ``chosen`` ones, and which of its
    filters are meant, None for all.

    A filter of one channel stays with it; others read all channels, with weights of 0.
    """
    weight, groups = arguments["weight"], arguments["groups"]
    filters, share = weight.shape[:2]
    if share == 1 and groups > 1 and len(chosen.unique()) == len(chosen):
        each = filters // groups
        picked = (chosen[:, None] * each + torch.arange(each)).flatten()
        full = weight.new_zeros(count * each, *weight.shape[1:]).index_copy(0, picked, weight)
        bias = arguments["bias"]
        bias = None if bias is None else bias.new_zeros(len(full)).index_copy(0, picked, bias)
        return arguments | {"weight": full, "bias": bias, "groups": count}, picked
    full = weight.new_zeros(filters, count, *weight.shape[2:])
    for group in range(groups):
        rows = slice(group * filters // groups, (group + 1) * filters // groups)
        full[rows] = full[rows].index_add(1, chosen[group * share:(group + 1) * share], weight[rows])
    return arguments | {"weight": full, "groups": 1}, None


def _channels(view, where):
    """The channels that a view shows, each a whole map in its order; None for all as they are."""
    channels, rows, cols = view.size
    index, size = view.index[0], rows * cols
    if view.plain and index.shape == view.size:
        return None
    first = index.reshape(len(index), -1)[:, 0] if index.dim() == 3 else torch.zeros(0, dtype=torch.long)
    if index.dim() != 3 or index.shape[1:] != (rows, cols) or not torch.equal(
            index, (first[:, None] + torch.arange(size)).reshape(index.shape)) or (first % size).any():
        raise AlloyError(f"{where} reads a tensor {tuple(index.shape)} that is made of one of "
                         f"{channels}x{rows}x{cols} by moving values between its pixels: only channels can be "
                         "moved")
    return first // size


@reads("conv1d", "max_pool1d", "max_pool1d_with_indices", "avg_pool1d", "adaptive_avg_pool1d", "adaptive_max_pool1d")
def _line(node: Node) -> Found:
    """A layer of sequences (C, L), which are maps of one row, or of one column."""
    view, given = node.views[0], dict(node.arguments)
    _, rows, cols = view.size
    if view.index.dim() != 3 or view.index.shape[2] != rows * cols or min(rows, cols) > 1:
        pointwise = view.index.dim() == 3 and node.function == "conv1d" and given["weight"].shape[2] == 1
        if not pointwise or view.index.shape[2] != rows * cols or not _alone(given):
            raise AlloyError(f"{node.where} reads sequences {tuple(view.index.shape[1:])} that are no rows of one map "
                             f"{'x'.join(map(str, view.size))}: make them of a map of one row or one column")
    down = cols == 1 and rows > 1

    def both(value, other):
        value = list(value) if isinstance(value, list | tuple) else [value]
        return [*value, other] if down else [other, *value]
    for name, other in LINE.items():
        if isinstance(given.get(name), int | list | tuple) and given[name] != []:
            given[name] = both(given[name], other)
    if node.function == "conv1d":
        given["weight"] = given["weight"][..., None] if down else given["weight"][:, :, None]
    name = node.function.removesuffix("_with_indices").replace("1d", "2d")
    if name == "avg_pool2d":
        given["divisor_override"] = None
    index = view.index.reshape(*view.index.shape[:2], rows, cols)
    given |= {key: replace(view, index=index) for key, value in given.items() if value is view}
    lifted = Node(node.name, node.where, name, given, (*node.shape[:-1], *([node.shape[-1], 1] if down else
                                                                          [1, node.shape[-1]])))
    op, found = READERS.get(name, read_layer)(lifted)
    assert isinstance(op, Apply)
    found = whole(op.shape(view.size)) if found is None else found
    return op, found.reshape(node.shape)


def _alone(given):
    """Whether a convolution reads each place by itself."""
    pads = given["padding"] in ([0], "same", "valid")
    return pads and given["stride"] == [1]


@reads("max_pool2d_with_indices")
def _without_indices(node: Node) -> Found:
    return read_layer(replace(node, function="max_pool2d"))


@reads("mean", "sum", "amax")
def reduced(node: Node) -> Found:
    """What is one number for all pixels of a map, or of a row or a column: a pool of windows as large."""
    view, given, function = node.views[0], node.arguments, node.function
    index, (channels, rows, cols) = view.index[0], view.size
    axes = given.get("dim")
    axes = list(axes) if isinstance(axes, list | tuple) else [] if axes is None else [axes]
    axes = sorted({axis % view.index.dim() for axis in axes})
    kept = [axis for axis in range(1, view.index.dim()) if axis not in axes]
    if not axes or 0 in axes or len(node.views) > 1:
        raise AlloyError(f"{node.where} is {function} over dimensions {given.get('dim')}: only those of rows and "
                         "columns, (2, 3), are supported")
    flat_index = index.permute(*(axis - 1 for axis in (*kept, *axes))).reshape(
        *(index.shape[axis - 1] for axis in kept), -1).reshape(-1, _count(index, axes))
    channel, position = flat_index // (rows * cols), (flat_index % (rows * cols)).sort(1).values
    y, x = position // cols, position % cols
    shapes = {(rows, cols): torch.arange(rows * cols), (1, cols): y[:, :1] * cols + torch.arange(cols),
              (rows, 1): torch.arange(rows) * cols + x[:, :1]}
    kernel = next((kernel for kernel, expected in shapes.items() if position.shape[1] == kernel[0] * kernel[1]
                   and bool((position == expected).all())), None)
    if kernel is None or not bool((channel == channel[:, :1]).all()):
        raise AlloyError(f"{node.where} is {function} over dimensions {given.get('dim')}: only those of rows and "
                         "columns, (2, 3), are supported")
    pool = {"kernel_size": list(kernel), "stride": [1, 1], "padding": [0, 0], "ceil_mode": False}
    pool |= ({"dilation": [1, 1]} if function in ("amax", "max") else
             {"count_include_pad": True, "divisor_override": 1 if function == "sum" else None})
    called = "max_pool2d" if "dilation" in pool else "avg_pool2d"
    out = (channels, rows // kernel[0], cols // kernel[1])
    at = channel[:, 0] * out[1] * out[2] + (y[:, 0] if kernel[0] == 1 else 0) * out[2] + (x[:, 0] if kernel[1] == 1
                                                                                       else 0)
    moved = torch.stack([at + image * out[0] * out[1] * out[2] for image in range(BATCH)])
    return apply_layer(node, called, pool | {"self": view}), moved.reshape(node.shape)


def _count(index, axes):
    """Elements along the dimensions ``axes`` of a batch that ``index`` is an image of."""
    return int(torch.tensor([index.shape[axis - 1] for axis in axes]).prod())


@reads("adaptive_avg_pool2d", "adaptive_max_pool2d")
def _adaptive(node: Node) -> Found:
    """Windows of one size at one distance are a pool; averages over others are filters, of which each sees those of one
    period, whose pixels it puts side by side."""
    wanted, (view,) = node.arguments["output_size"], node.views
    wanted, size = pair(wanted), view.size[1:]
    average, axes = node.function == "adaptive_avg_pool2d", [_Windows.of(*axis) for axis in zip(size, wanted,
                                                                                               strict=True)]
    kernel, stride = [axis.kernel for axis in axes], [axis.stride for axis in axes]
    if all(kernel) and all(stride):
        pool = {"kernel_size": kernel, "stride": stride, "padding": [0, 0], "ceil_mode": False, "self": view}
        pool |= {"count_include_pad": True, "divisor_override": None} if average else {"dilation": [1, 1]}
        return read_layer(replace(node, function="avg_pool2d" if average else "max_pool2d", arguments=pool))
    if not average:
        raise AlloyError(f"{node.where} pools {size[0]}x{size[1]} to {wanted[0]}x{wanted[1]} pixels, maxima of windows "
                         "of several sizes: give an output size that divides the map's")
    down, across = axes
    each = torch.einsum("ay,bx->abyx", down.weights, across.weights).flatten(0, 1)
    period, channels = (down.period, across.period), view.index.shape[1]
    given = {"input": view, "weight": each.repeat(channels, 1, 1)[:, None], "bias": None, "padding": [0, 0],
             "stride": [*period], "dilation": [1, 1], "groups": channels}
    op, index = read_layer(replace(node, function="conv2d", arguments=given, shape=(
        BATCH, channels * len(each), size[0] // period[0], size[1] // period[1])))
    index = (whole(op.shape(view.size)) if index is None else index).unflatten(
        1, (-1, len(down.weights), len(across.weights)))[:, :, down.which][:, :, :, across.which]
    return op, index.permute(0, 1, 4, 2, 5, 3).reshape(node.shape)


class _Windows(NamedTuple):
    """Those of an adaptive pool along one axis: ``weights`` of the pixels of one ``period`` in each kind of window, and
    ``which`` of them the outputs of a period are. ``kernel`` and ``stride`` are 0 if these differ."""
    period: int
    weights: torch.Tensor
    which: list[int]
    kernel: int
    stride: int

    @classmethod
    def of(cls, size: int, count: int) -> "_Windows":
        """Of ``count`` outputs of a map of ``size``."""
        ends = [(at * size // count, -(-(at + 1) * size // count)) for at in range(count)]
        sizes, steps = ({stop - start for start, stop in ends},
                        {after[0] - before[0] for before, after in pairwise(ends)} or {size})
        again = gcd(size, count)
        kinds = list(dict.fromkeys(ends[:count // again]))
        weights = torch.zeros(len(kinds), size // again)
        for row, (start, stop) in zip(weights, kinds, strict=True):
            row[start:stop] = 1 / (stop - start)
        alike = len(sizes) == len(steps) == 1
        return cls(size // again, weights, [kinds.index(one) for one in ends[:count // again]],
                   sizes.pop() if alike else 0, steps.pop() if alike else 0)
