"""Products with constant matrices, of any dimension of a tensor: convolutions."""

from math import gcd

import torch

from spec.errors import AlloyError

from .layers import apply_layer
from .nodes import BATCH, Found, Node, View, reads, supported, whole
from .ops import Op

__all__ = ["mixed"]


@reads("linear")
def _linear(node: Node) -> Found:
    given = node.arguments
    if not isinstance(given["input"], View) or len(node.views) > 1:
        raise _unknown(node)
    return mixed(node, given["input"].index, given["weight"], given["bias"])


@reads("matmul", "bmm", "mm")
def _matmul(node: Node) -> Found:
    given = node.arguments
    return _product(node, given["self"], given["other" if node.function == "matmul" else "mat2"], None)


@reads("addmm", "baddbmm")
def _added(node: Node) -> Found:
    given = node.arguments
    bias, names = given["self"], ("mat1", "mat2") if node.function == "addmm" else ("batch1", "batch2")
    if isinstance(bias, View) or given["beta"] != 1 or given["alpha"] != 1:
        raise _unknown(node)
    return _product(node, given[names[0]], given[names[1]], bias)


@reads("einsum")
def _einsum(node: Node) -> Found:
    """A sum of products whose constant has no letter but those of what it sums over and of what it makes."""
    terms, _, result = node.arguments["equation"].replace(" ", "").partition("->")
    operands, letters = node.arguments["tensors"], terms.split(",")
    if len(node.views) != 1 or len(operands) != 2 or "." in terms or not result:
        raise _unknown(node)
    at = next(i for i, one in enumerate(operands) if isinstance(one, View))
    (mine, others), constant = (letters[at], letters[1 - at]), operands[1 - at]
    summed = [letter for letter in mine if letter in others and letter not in result]
    made = [letter for letter in others if letter not in mine]
    kept = [letter for letter in mine if letter not in summed]
    whole_terms = sorted(made + summed) == sorted(others) and sorted(kept + made) == sorted(result)
    if not whole_terms or not summed or mine[0] in summed:
        raise _unknown(node)
    index = node.views[0].index.permute(*(mine.index(letter) for letter in kept + summed))
    weight = constant.permute(*(others.index(letter) for letter in made + summed))
    shape = weight.shape[:len(made)]
    op, found = mixed(node, index.reshape(*index.shape[:len(kept)], -1), weight.reshape(int(shape.numel()), -1), None)
    order = [(kept + made).index(letter) for letter in result]
    return op, found.reshape(*index.shape[:len(kept)], *shape).permute(*order)


def _unknown(node):
    return AlloyError(f"{node.where} is {node.function}, which is not supported: {supported()}")


def _product(node, left, right, bias):
    """A product of a tensor and a constant matrix, either of them first."""
    if len(node.views) > 1:
        raise _unknown(node)
    first = isinstance(left, View)
    view, weight = (left, right) if first else (right, left)
    while weight.dim() > 2 and bool((weight == weight[:1]).all()):
        weight = weight[0]
    if weight.dim() == 1 and first:
        weight = weight[:, None]
    if weight.dim() != 2 or bias is not None and bias.numel() not in (1, node.shape[-1]):
        raise _unknown(node)
    if first:
        full = None if bias is None else bias.flatten().expand(weight.shape[1])
        op, found = mixed(node, view.index, weight.t(), full)
        return op, found.reshape(node.shape)
    if bias is not None or view.index.dim() < 3:
        raise _unknown(node)
    op, found = mixed(node, view.index.transpose(-1, -2), weight, None)
    return op, found.transpose(-1, -2)


def mixed(node: Node, index: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> tuple[Op, torch.Tensor]:
    """``weight`` (M, K) times the last dimension of what ``index`` (batch, ..., K) shows, plus ``bias`` (M,): (batch,
    ..., M). It is a convolution where each of the others sees the same places of the map, moved as a whole.
    """
    view = node.views[0]
    channels, rows, cols = view.size
    elements = index[0].reshape(-1, index.shape[-1])
    channel, y, x = elements // (rows * cols), elements % (rows * cols) // cols, elements % cols
    down, right = (axis[:, :1] - axis.amin(0)[:1] for axis in (y, x))
    if not (torch.equal(channel, channel[:1].expand_as(channel)) and bool((y - down == (y - down)[:1]).all())
            and bool((x - right == (x - right)[:1]).all())):
        raise AlloyError(f"{node.where} is applied to {tuple(index.shape[1:])}, whose last dimension is not the "
                         "channels of a pixel: flatten the whole tensor before it, or move the channels last")
    lone = len(elements) == 1
    kernel = (rows, cols) if lone else (int((y - down).max()) + 1, int((x - right).max()) + 1)
    stride = [max(1, gcd(*axis.flatten().tolist())) for axis in (down, right)]
    element = (channel[0] * kernel[0] + (y - down)[0]) * kernel[1] + (x - right)[0]
    full = weight.new_zeros(len(weight), channels * kernel[0] * kernel[1]).index_add(1, element, weight)
    op = apply_layer(node, "conv2d", {
        "weight": full.reshape(-1, channels, *kernel), "bias": bias, "stride": stride, "padding": [0, 0],
        "dilation": [1, 1], "groups": 1})
    out = op.shape(view.size)
    at = down[:, 0] // stride[0] * out[2] + right[:, 0] // stride[1]
    found = whole(out).reshape(BATCH, len(weight), -1)[:, :, at]
    return op, found.movedim(1, -1).reshape(*index.shape[:-1], len(weight))
