"""Functions of each value alone, and sums."""

import torch

from spec.errors import AlloyError

from .nodes import Found, Node, reads, supported
from .ops import Add, Norm, Relu

__all__ = ["NORM"]

NORM = "_native_batch_norm_legit_no_training"       # with running statistics
@reads(NORM)
def _norm(node: Node) -> Found:
    given, view = node.arguments, node.views[0]
    mean, var, weight, bias = (given[name] for name in ("running_mean", "running_var", "weight", "bias"))
    gain = torch.ones_like(mean) if weight is None else weight
    offset = torch.zeros_like(mean) if bias is None else bias
    if not view.by_channel:
        raise AlloyError(f"{node.where} works on channels in another order, or only on some of them: do it where the "
                         "tensor is made")
    return Norm(name=node.name, inputs=(view.value,), mean=mean.clone(), bias=offset.clone(), gain=gain.clone(),
                scale=gain / torch.sqrt(var + given["eps"])), view.index


@reads("add", "sub", "rsub", "mul", "div", "neg")
def _arithmetic(node: Node) -> Found:
    if len(node.views) == 1:
        return _affine(node)
    if node.function in ("add", "sub", "rsub"):
        return _sum(node)
    raise AlloyError(f"{node.where} is {node.function} of two tensors, which is not supported: {supported()}")


def _affine(node):
    """What a function makes of a tensor and a constant: a factor and an offset."""
    given, view, kind = node.arguments, node.views[0], node.function
    constant = given.get("self") if given.get("other") is view else given.get("other")
    constant = torch.as_tensor(0.0 if constant is None else constant).double()
    first, alpha = given["self"] is view, float(given.get("alpha", 1))
    one = torch.ones_like(constant)
    if kind == "rsub":      # the other less alpha times this one
        first, kind = not first, "sub"
    sign = -1 if kind == "sub" else 1
    match kind:
        case "neg":
            scale, offset = -one, constant
        case "mul":
            scale, offset = constant, 0 * constant
        case "div":
            if not first or given.get("rounding_mode"):
                raise AlloyError(f"{node.where} divides a constant by a tensor, or rounds the quotient, which is not "
                                 f"supported: {supported()}")
            scale, offset = 1 / constant, 0 * constant
        case _:
            scale = one if first else sign * alpha * one
            offset = sign * alpha * constant if first else constant
    scale, offset = _per_channel(scale, view, node, 1.0), _per_channel(offset, view, node, 0.0)
    return Norm(name=node.name, inputs=(view.value,), mean=0 * scale, scale=scale, bias=offset), view.index


def _per_channel(values, view, node, rest):
    """Constant ``values`` as one for each channel of what a view shows, float64 (C,); ``rest`` for the channels that it
    does not show."""
    channels, rows, cols = view.size
    shape, index = view.index.shape, view.index[0].flatten() // (rows * cols)
    values = values[0] if values.dim() == len(shape) and len(values) == 1 else values
    if node.shape == tuple(shape) and values.dim() < len(shape):
        full, out = values.expand(shape[1:]).flatten(), torch.full((channels,), rest, dtype=torch.float64)
        out[index] = full
        if torch.equal(out[index], full):
            return out
    raise AlloyError(f"{node.where} has a constant of shape {tuple(values.shape)}: only one for all values or one for "
                     "each channel is supported")


def _sum(node):
    given = node.arguments
    one, other = given["self"], given["other"]
    if node.function == "rsub":
        one, other = other, one
    factor = float(given.get("alpha", 1)) * (1 if node.function == "add" else -1)
    if one.size != other.size or not torch.equal(one.index, other.index):
        texts = ["x".join(map(str, view.index.shape[1:])) for view in (one, other)]
        what = (f"of {texts[0]} and {texts[1]}, one of which is repeated" if texts[0] != texts[1] else
                "whose values stand in another order")
        raise AlloyError(f"{node.where} adds tensors {what}: give both the same shape")
    if factor == 1:
        return Add(name=node.name, inputs=(one.value, other.value)), one.index
    scale = torch.full(other.size[:1], factor, dtype=torch.float64)
    scaled = Norm(name=f"{node.name}_scaled", inputs=(other.value,), mean=0 * scale, scale=scale, bias=0 * scale)
    return [scaled, Add(name=node.name, inputs=(one.value, scaled.name))], one.index


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
