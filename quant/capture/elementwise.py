"""Functions of each value alone, and sums."""

import torch

from spec.errors import AlloyError

from .nodes import Found, Node, View, reads, supported
from .ops import Add, Norm, Relu

__all__ = ["NORM"]

NORM = "_native_batch_norm_legit_no_training"       # with running statistics
# (scale, offset) of what a function makes of x and a constant.
AFFINE = {"mul": lambda c: (c, 0 * c), "div": lambda c: (1 / c, 0 * c), "add": lambda c: (0 * c + 1, c),
          "sub": lambda c: (0 * c + 1, -c)}


@reads(NORM)
def _norm(node: Node) -> Found:
    given, view = node.arguments, node.views[0]
    mean, var, weight, bias = (given[name] for name in ("running_mean", "running_var", "weight", "bias"))
    gain = torch.ones_like(mean) if weight is None else weight
    offset = torch.zeros_like(mean) if bias is None else bias
    _channels_stay(view, node)
    return Norm(name=node.name, inputs=(view.value,), mean=mean.clone(), bias=offset.clone(), gain=gain.clone(),
                scale=gain / torch.sqrt(var + given["eps"])), view.index


@reads(*AFFINE)
def _arithmetic(node: Node) -> Found:
    if len(node.views) == 1:
        return _affine(node)
    if node.function == "add":
        return _sum(node)
    raise AlloyError(f"{node.where} is {node.function}, which is not supported: {supported()}")


def _affine(node):
    given, view, kind = node.arguments, node.views[0], node.function
    channels, other = view.size[0], given["other"]
    constant = torch.as_tensor(given["self"] if isinstance(other, View) else other).float()
    if isinstance(other, View) and kind in ("sub", "div") or given.get("alpha", 1) != 1:
        raise AlloyError(f"{node.where} is {kind} of a constant and a tensor, which is not supported: {supported()}")
    _channels_stay(view, node)
    while constant.dim() > 1 and constant.shape[0] == 1:
        constant = constant[0]
    if constant.numel() not in (1, channels) or constant.numel() > 1 and constant.dim() != view.index.dim() - 1:
        raise AlloyError(f"{node.where} has a constant of shape {tuple(constant.shape)}: only one for all values or "
                         "one for each channel is supported")
    scale, bias = (value.expand(channels).clone() for value in AFFINE[kind](constant.flatten()))
    return Norm(name=node.name, inputs=(view.value,), mean=torch.zeros(channels), scale=scale, bias=bias,
                what=f"{kind} with a constant"), view.index


def _channels_stay(view, node):
    """Whether channel c of a view, its first dimension behind the batch, is channel c of its value."""
    if not view.by_channel:
        raise AlloyError(f"{node.where} works on channels in another order, or only on some of them: do it where the "
                         "tensor is made")


def _sum(node):
    given = node.arguments
    one, other = given["self"], given["other"]
    if given.get("alpha", 1) != 1:
        raise AlloyError(f"{node.where} adds {given['alpha']} times a tensor: only sums are supported")
    if one.size != other.size or not torch.equal(one.index, other.index):
        texts = ["x".join(map(str, view.index.shape[1:])) for view in (one, other)]
        what = (f"of {texts[0]} and {texts[1]}, one of which is repeated" if texts[0] != texts[1] else
                "whose values stand in another order")
        raise AlloyError(f"{node.where} adds tensors {what}: give both the same shape")
    return Add(name=node.name, inputs=(one.value, other.value)), one.index


@reads("relu", "relu6", "hardtanh", "clamp", "clamp_min")
def _clamp(node: Node) -> Found:
    view = node.arguments["self"]
    return Relu(name=node.name, inputs=(view.value,), cap=_cap(node)), view.index


def _cap(node):
    """The upper bound of what clamps at 0, or None."""
    given = node.arguments
    match node.function:
        case "relu":
            return None
        case "relu6":
            return 6.0
        case "hardtanh":
            low, high = given["min_val"], given["max_val"]
        case _:
            low, high = given["min"], given.get("max")
    if low != 0 or high is not None and (not isinstance(high, int | float) or high <= 0):
        raise AlloyError(f"{node.where} clamps to {low}..{high}: only 0 and a number above it are supported")
    return None if high is None else float(high)
