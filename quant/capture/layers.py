"""Layers of :data:`spec.operators.LAYERS`, and linear layers."""

import torch

from spec.errors import AlloyError
from spec.operators import LAYERS, Call

from .nodes import BATCH, Found, Node, View, reads, supported, whole
from .ops import Apply

__all__ = ["read_layer"]


def read_layer(node: Node) -> Found:
    """A layer of maps; one that reads chosen channels reads all of them, with weights of 0."""
    sources = tuple(view.value for view in node.views)
    channels = [_channels(view, node.where) for view in node.views]
    rest = {key: value for key, value in node.arguments.items()
            if not any(isinstance(one, View) for one in (value if isinstance(value, list | tuple) else [value]))}
    shapes = tuple(view.size for view in node.views)
    if any(chosen is not None for chosen in channels):
        if node.function != "conv2d" or rest["groups"] != 1:
            raise AlloyError(f"{node.where} reads channels in another order, or only some of them, which only "
                             "convolutions without groups and linear layers can: make them one")
        full = rest["weight"].new_zeros(len(rest["weight"]), shapes[0][0], *rest["weight"].shape[2:])
        rest["weight"] = full.index_add(1, channels[0], rest["weight"])
    layer = next(layer for layer in LAYERS if node.function in layer.calls)
    call = Call(node.name, node.where, node.function, sources, shapes, rest)
    return Apply(name=node.name, inputs=sources, layer=layer.read(call)), None


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


@reads("linear", "matmul")
def _linear(node: Node) -> Found:
    """A linear layer: a convolution over the whole map, or of 1x1 where its features are the channels of pixels."""
    given = node.arguments
    if node.function == "linear":
        view, weight, bias = given["input"], given["weight"], given["bias"]
    else:
        view, weight, bias = given["self"], given["other"], None
        if len(node.views) > 1 or not isinstance(view, View):
            raise AlloyError(f"{node.where} is matmul, which is not supported: {supported()}")
        weight = weight.t()
    channels, rows, cols = view.size
    index, size = view.index[0], rows * cols
    if index.dim() == 1:
        full = weight.new_zeros(len(weight), channels * size).index_add(1, index, weight)
        full, moved = full.reshape(-1, *view.size), None
    else:
        pixels = index.reshape(-1, index.shape[-1])
        first = pixels[0] // size
        if not torch.equal(pixels, first * size + torch.arange(len(pixels))[:, None]) or len(pixels) != size:
            raise AlloyError(f"{node.where} is applied to {tuple(index.shape)}, whose last dimension is not the "
                             "channels of a pixel: flatten the whole tensor before it, or move the channels last")
        full = weight.new_zeros(len(weight), channels).index_add(1, first, weight)[:, :, None, None]
        moved = whole((len(weight), rows, cols)).movedim(1, -1).reshape(BATCH, *index.shape[:-1], -1)
    rest = {"weight": full, "bias": bias, "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}
    layer = next(layer for layer in LAYERS if "conv2d" in layer.calls)
    call = Call(node.name, node.where, "conv2d", (view.value,), (view.size,), rest)
    return Apply(name=node.name, inputs=(view.value,), layer=layer.read(call)), moved
