"""Convolutions, products of matrices, pools and normalization."""

import operator
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .given import Given, function

__all__ = ["Larger", "larger", "window_of"]

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d}
MAXIMA = {1: F.max_pool1d, 2: F.max_pool2d}
AVERAGES = {1: F.avg_pool1d, 2: F.avg_pool2d}


def window_of(given: Given, x: Tensor, kernel: Sequence[int]) -> tuple[list[int], list[int], list[int], list[int]]:
    """(strides, dilations, padding before, padding behind) for a map ``x`` (N, C, ..) and the ``kernel``'s size."""
    count = x.dim() - 2
    if count not in CONVOLUTIONS or len(kernel) != count:
        given.refuse(f"has a window of {len(kernel)} dimensions over a tensor of {x.dim()}: use 2-D layers on images "
                     "(N, C, H, W), fold a third dimension into channels or into the batch")
    strides = list(given.attributes.get("strides") or [1] * count)
    dilations = list(given.attributes.get("dilations") or [1] * count)
    auto = given.attributes.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        pads = list(given.attributes.get("pads") or [0] * (2 * count))
        return strides, dilations, pads[:count], pads[count:]
    before, behind = [0] * count, [0] * count
    for axis in range(count if auto != "VALID" else 0):
        size, stride = x.shape[2 + axis], strides[axis]
        total = max(0, (-(-size // stride) - 1) * stride + (kernel[axis] - 1) * dilations[axis] + 1 - size)
        before[axis] = (total + (auto == "SAME_LOWER")) // 2
        behind[axis] = total - before[axis]
    return strides, dilations, before, behind


def _padded(x, before, behind, value=0.0, most=None):
    """(x, what is still to be padded on both sides): padding that differs from side to side, or of more than ``most``,
    is added here."""
    if before == behind and (most is None or all(map(operator.le, before, most))):
        return x, before
    pairs = chain.from_iterable(zip(reversed(before), reversed(behind), strict=True))
    return F.pad(x, list(pairs), value=value), [0] * len(before)


@function("Conv")
def _conv(given: Given, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    strides, dilations, before, behind = window_of(given, x, weight.shape[2:])
    x, padding = _padded(x, before, behind)
    return CONVOLUTIONS[x.dim() - 2](x, weight, bias, strides, padding, dilations, given.attributes.get("group", 1))


class Larger(NamedTuple):
    """How a transposed convolution moves over its map, a number for each axis: ``more`` is added at the end."""
    strides: list[int]
    dilations: list[int]
    before: list[int]
    behind: list[int]
    more: list[int]


def larger(given: Given, x: Tensor, kernel: Sequence[int]) -> Larger:
    """The window of a ConvTranspose that reads ``x``."""
    strides, dilations, before, behind = window_of(given, x, kernel)
    more = list(given.attributes.get("output_padding") or [0] * len(strides))
    auto, wanted = given.attributes.get("auto_pad", "NOTSET"), given.attributes.get("output_shape")
    if wanted or auto.startswith("SAME"):
        for axis, step in enumerate(strides):
            full = step * (x.shape[2 + axis] - 1) + more[axis] + (kernel[axis] - 1) * dilations[axis] + 1
            total = full - (list(wanted)[axis - len(strides)] if wanted else x.shape[2 + axis] * step)
            more[axis], total = more[axis] + max(0, -total), max(0, total)
            before[axis] = (total + (auto != "SAME_UPPER")) // 2
            behind[axis] = total - before[axis]
    return Larger(strides, dilations, before, behind, more)


@function("ConvTranspose")
def _conv_transpose(given: Given, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    strides, dilations, before, behind, more = larger(given, x, weight.shape[2:])
    padding = [min(pair) for pair in zip(before, behind, strict=True)]
    out = TRANSPOSED[x.dim() - 2](x, weight, bias, strides, padding, more, given.attributes.get("group", 1), dilations)
    for axis, (one, two, both) in enumerate(zip(before, behind, padding, strict=True), 2):
        if (one, two) != (both, both):
            out = out.narrow(axis, one - both, out.shape[axis] - one - two + 2 * both)
    return out


@function("Gemm")
def _gemm(given: Given, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    alpha, beta = given.attributes.get("alpha", 1.0), given.attributes.get("beta", 1.0)
    x = x.t() if given.attributes.get("transA", 0) else x
    weight = weight if given.attributes.get("transB", 0) else weight.t()
    weight = weight if alpha == 1 else weight * alpha
    if bias is None or beta == 0:
        return F.linear(x, weight)
    bias = bias if beta == 1 else bias * beta
    if bias.numel() in (1, len(weight)) and bias.shape[-1:].numel() == bias.numel():
        return F.linear(x, weight, bias.flatten().expand(len(weight)))
    return F.linear(x, weight) + bias


@function("MatMul")
def _matmul(given: Given, x: Tensor, other: Tensor) -> Tensor:
    if other.dim() == 2:
        return F.linear(x, other.t())
    return torch.matmul(x, other)


@function("BatchNormalization")
def _batch_norm(given: Given, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    if given.attributes.get("training_mode", 0) or given.outputs > 1:
        given.refuse("is a batch norm that trains: export the model in eval mode")
    if not given.attributes.get("spatial", 1):
        given.refuse("is a batch norm of single values (spatial=0): normalize whole channels")
    return F.batch_norm(x, mean, var, scale, bias, eps=given.attributes.get("epsilon", 1e-5))


def _pool(given, x, average):
    """Pads, and whether the last windows may reach beyond them, so that PyTorch makes the same windows: (x, kernel,
    strides, padding, dilations, ceil_mode)."""
    kernel, inside = list(given.attributes["kernel_shape"]), bool(given.attributes.get("count_include_pad", 0))
    strides, dilations, before, behind = window_of(given, x, kernel)
    ceil, most = bool(given.attributes.get("ceil_mode", 0)), [size // 2 for size in kernel]
    if before != behind and not ceil and not (average and inside) and all(map(operator.le, before, most)):
        spans = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        counts = [(size + one + two - span - 1) // step + 1 for size, one, two, span, step in zip(
            x.shape[2:], before, behind, spans, strides, strict=True)]
        reach = [-(-(size + 2 * one - span - 1) // step) + 1 for size, one, span, step in zip(
            x.shape[2:], before, spans, strides, strict=True)]
        if counts == reach and all((n - 1) * step < size + one for n, step, size, one in zip(
                counts, strides, x.shape[2:], before, strict=True)):
            return x, kernel, strides, before, dilations, True
    padded, padding = _padded(x, before, behind, 0.0 if average else float("-inf"), most)
    if average and padded is not x and not inside:
        given.refuse("averages over padding that is not counted and differs from side to side, or is wider than half "
                     "the window: pad evenly")
    return padded, kernel, strides, padding, dilations, ceil


@function("MaxPool")
def _max_pool(given: Given, x: Tensor) -> Tensor:
    if given.outputs > 1:
        given.refuse("returns the places of its maxima, which is not supported: leave out return_indices")
    x, *window = _pool(given, x, False)
    return MAXIMA[x.dim() - 2](x, *window)


@function("AveragePool")
def _average_pool(given: Given, x: Tensor) -> Tensor:
    x, kernel, strides, padding, dilations, ceil = _pool(given, x, True)
    if any(one != 1 for one in dilations):
        given.refuse("averages over a dilated window: use dilation 1")
    return AVERAGES[x.dim() - 2](x, kernel, strides, padding, ceil, bool(given.attributes.get("count_include_pad", 0)))


@function("GlobalAveragePool")
def _global_average(given: Given, x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, 1) if x.dim() == 4 else x.mean(list(range(2, x.dim())), keepdim=True)


@function("GlobalMaxPool")
def _global_maximum(given: Given, x: Tensor) -> Tensor:
    return F.adaptive_max_pool2d(x, 1) if x.dim() == 4 else x.amax(list(range(2, x.dim())), keepdim=True)


def _axes(given, x):
    axes = given.ints(1, "axes")
    if not axes:
        return [] if given.attributes.get("noop_with_empty_axes", 0) else list(range(x.dim()))
    return [axis % x.dim() for axis in axes]


@function("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceProd")
def _reduce(given: Given, x: Tensor, axes: Tensor | None = None) -> Tensor:
    dims, keep = _axes(given, x), bool(given.attributes.get("keepdims", 1))
    if not dims:
        return x
    match given.op_type:
        case "ReduceMean":
            return x.mean(dims, keepdim=keep)
        case "ReduceMax":
            return x.amax(dims, keepdim=keep)
        case "ReduceMin":
            return x.amin(dims, keepdim=keep)
        case "ReduceSum":
            return x.sum(dims, keepdim=keep)
    for dim in sorted(dims, reverse=True):
        x = x.prod(dim, keepdim=keep)
    return x
