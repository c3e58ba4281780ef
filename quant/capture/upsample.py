"""Maps that become larger and are more than moved: transposed convolutions, and upsampling between the pixels."""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import torch

from spec.errors import AlloyError
from spec.operators import Layer
from spec.operators.spread import SpreadLayer
from spec.operators.windows import pair

from .layers import apply_layer, widened
from .nodes import BATCH, Found, Node, View, reads, supported, whole
from .ops import Apply, Op
from .settle import moves

__all__ = ["Parts", "parts_of"]


@reads("conv_transpose2d")
def _transposed(node: Node) -> Found:
    given, (view,) = node.arguments, node.views
    if not view.by_channel or not isinstance(given["weight"], torch.Tensor):
        raise AlloyError(f"{node.where} is a transposed convolution of channels in another order, or by weights that "
                         "depend on the image: only constant weights, and all channels as they are, are supported")
    up, out = pair(given["stride"]), node.shape[2:]
    found = parts_of(given["weight"], given["groups"], pair(given["dilation"]), up, pair(given["padding"]),
                     view.size[1:], out)
    parts, bias = up[0] * up[1], given["bias"]
    inner = f"{node.name}_parts" if parts > 1 else node.name
    conv = apply_layer(Node(inner, node.where, "conv2d", {"input": view}, node.shape), "conv2d", {
        "input": view, "weight": found.weight, "bias": None if bias is None else bias.repeat(parts),
        "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1})
    conv.layer = widened(conv.layer, found.before, found.behind)
    index = whole(found.size)[:, :, :out[0], :out[1]]
    if parts == 1:
        return conv, index
    spread = SpreadLayer(name=node.name, sources=(inner,), output=node.name, up=up, apart=True)
    return [conv, Apply(name=node.name, inputs=(inner,), layer=spread)], index


class Parts(NamedTuple):
    """A transposed convolution as one that makes the pixels of one place, as channels, which are spread then: each of
    them reads the places of the input that the positions of the kernel there lead to.

    ``weight``: (up * up * F, C, kh, kw). ``before``, ``behind``: rows and columns of padding. ``size``: (F, rows,
    columns) of what is spread, the first of which are the output.
    """
    weight: torch.Tensor
    before: tuple[int, int]
    behind: tuple[int, int]
    size: tuple[int, int, int]


def parts_of(weight: torch.Tensor, groups: int, dilation: tuple[int, int], up: tuple[int, int],
             padding: tuple[int, int], size: Sequence[int], out: Sequence[int]) -> Parts:
    """The :class:`Parts` of ``weight`` (C, F / groups, kh, kw) with the strides ``up``, from a map of ``size`` to one
    of ``out``, (rows, columns) both."""
    weight = _dense(weight, groups, dilation)
    filters = weight.shape[1]
    down, across = (_Phases.of(*axis) for axis in zip(weight.shape[2:], up, padding, size, out, strict=True))
    made = weight.new_zeros(*up, filters, len(weight), down.size, across.size)
    for y, at, ky in down.taps:
        for x, to, kx in across.taps:
            made[y, x, :, :, at, to] = weight[:, :, ky, kx].t()
    return Parts(made.flatten(0, 2), (down.before, across.before), (down.behind, across.behind),
                 (filters, down.places * up[0], across.places * up[1]))


class _Phases(NamedTuple):
    """A transposed convolution along one axis.

    ``taps``: for each of its pixels in one place (phase, position in a window of ``size`` pixels of the input, position
    of the kernel); so many ``places``, of which the first window begins ``before`` the input and the last ends
    ``behind`` it.
    """
    taps: list[tuple[int, int, int]]
    size: int
    places: int
    before: int
    behind: int

    @classmethod
    def of(cls, kernel: int, stride: int, padding: int, length: int, out: int) -> "_Phases":
        taps = [(phase, (phase + padding - at) // stride, at) for phase in range(stride) for at in range(kernel)
                if (phase + padding - at) % stride == 0]
        count = ceil(out / stride)
        least = min(0, *(place for _, place, _ in taps)) if taps else 0
        most = max(length - count, *(place for _, place, _ in taps)) if taps else max(0, length - count)
        return cls([(phase, place - least, at) for phase, place, at in taps], most - least + 1, count, -least,
                   count + most - length)


def _dense(weight, groups, dilation):
    """Weights (C, F, kh, kw) of a transposed convolution without groups and dilation."""
    channels, share, rows, cols = weight.shape
    full = weight.new_zeros(channels, share * groups, (rows - 1) * dilation[0] + 1, (cols - 1) * dilation[1] + 1)
    for group in range(groups):
        own = slice(group * channels // groups, (group + 1) * channels // groups)
        full[own, group * share:(group + 1) * share, ::dilation[0], ::dilation[1]] = weight[own]
    return full


@reads("upsample_bilinear2d")
def _bilinear(node: Node) -> Found:
    """By whole factors: the nearest pixels, averaged over as many as one has become, and over two neighbours where that
    number is even, which come to lie between the pixels then."""
    view, (rows, cols) = node.views[0], node.shape[2:]
    if not view.by_channel:
        raise AlloyError(f"{node.where} interpolates channels in another order, or only some of them: do it where the "
                         "tensor is made")
    up = rows // view.size[1], cols // view.size[2]
    corners = node.arguments.get("align_corners") and view.size[1:] != (1, 1)
    if corners or (up[0] * view.size[1], up[1] * view.size[2]) != (rows, cols):
        what = "with align_corners" if corners else "by factors that are not whole"
        raise AlloyError(f"{node.where} is upsample_bilinear2d, which is not supported {what}: {supported()}")
    index = torch.nn.functional.interpolate(whole(view.size).double(), (rows, cols)).long()
    layers: list[Layer] = moves(index[0].numpy(), view.size) or []
    # Of one pixel there is nothing between.
    kernel = [count if size > 1 else 1 for count, size in zip(up, view.size[1:], strict=True)]
    windows = [] if max(kernel) == 1 else [(kernel, [count // 2 for count in kernel])]
    even = [2 - count % 2 for count in kernel]
    windows += [(even, [0, 0])] if max(even) > 1 else []
    return _chain(node, view, layers, windows), None


def _chain(node, view, layers, windows):
    """Operations one after the other: ``layers`` and averages over ``windows`` (kernel, padding); the last has the
    node's name."""
    ops: list[Op] = []
    names = [*(f"{node.name}_step{number}" for number in range(len(layers) + len(windows) - 1)), node.name]
    for layer, name in zip(layers, names, strict=False):
        layer.name, layer.output, layer.sources = name, name, (view.value,)
        ops.append(Apply(name=name, inputs=(view.value,), layer=layer))
        size = layer.shape(view.size)
        view = View(name, whole(size), size)
    for (kernel, padding), name in zip(windows, names[len(layers):], strict=True):
        op = apply_layer(Node(name, node.where, "avg_pool2d", {"self": view}, (BATCH, *view.size)), "avg_pool2d", {
            "self": view, "kernel_size": kernel, "stride": [1, 1], "padding": padding, "ceil_mode": False,
            "count_include_pad": False, "divisor_override": None})
        ops.append(op)
        size = op.shape(view.size)
        view = View(name, whole(size), size)
    return ops
