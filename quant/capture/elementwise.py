"""Functions of each value alone, and sums."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from spec.errors import AlloyError

from .layers import reduced
from .nodes import Found, Node, View, reads, supported
from .ops import Add, Norm, Pointwise, Relu
from .scaling import read_product

__all__ = ["NORM"]

NORM = "_native_batch_norm_legit_no_training"       # with running statistics
# What PyTorch computes of each value alone, or of several at the same place.
POINTWISE = tuple((
    "abs acos acosh asin asinh atan atan2 atanh ceil celu clamp_max clip copysign cos cosh elu eq erf erfc exp "
    "exp2 expm1 floor floor_divide fmax fmin fmod frac full_like ge gelu gt hardshrink hardsigmoid hardswish "
    "heaviside hypot isnan le leaky_relu lerp log log10 log1p log2 log_sigmoid log_sigmoid_forward logaddexp "
    "logical_and logical_not logical_or logical_xor logit lt masked_fill max maximum min minimum mish nan_to_num "
    "ne ones_like pow reciprocal remainder round rsqrt selu sgn sigmoid sign silu sin sinh softplus softshrink "
    "special_expit sqrt square tan tanh threshold trunc where xlogy zeros_like").split())


@dataclass(frozen=True, eq=False)
class _Function:
    """A call of ``target`` with ``arguments`` by name, some of which are the values that it is called with
    (:data:`VALUE`), in their order."""

    target: Callable[..., Any]
    arguments: dict[str, Any]

    def __call__(self, *x: torch.Tensor) -> torch.Tensor:
        values = iter(x)
        given = {name: next(values) if value is VALUE else value for name, value in self.arguments.items()}
        given |= {name: given[name].bool() for name in ("condition", "mask") if name in given}
        out = self.target(**given)
        return out[0] if isinstance(out, tuple) else out


VALUE = object()


@reads(*POINTWISE)
def _pointwise(node: Node) -> Found:
    if node.function == "max" and "other" not in node.arguments:     # one name, two functions
        return reduced(node)
    first, views = node.views[0], node.views
    alike = all(view.size == first.size and torch.equal(view.index, first.index) for view in views)
    if not alike or node.shape != tuple(first.index.shape):
        raise AlloyError(f"{node.where} is {node.function} of tensors of several shapes, or whose values stand in "
                         f"another order, which is not supported: {supported()}")
    assert node.target is not None
    arguments = {name: VALUE if isinstance(value, View) else _number(value, node)
                 for name, value in node.arguments.items()}
    return Pointwise(name=node.name, inputs=tuple(view.value for view in views), what=node.function,
                     function=_Function(node.target, arguments)), first.index


def _number(value, node):
    """A constant argument as one number."""
    if not isinstance(value, torch.Tensor):
        return value
    value = value.double() if value.is_floating_point() else value
    if value.numel() and (value == value.flatten()[0]).all():
        return value.flatten()[0]
    raise AlloyError(f"{node.where} is {node.function} with a constant of shape {tuple(value.shape)}: only one number "
                     "for all values is supported")


@reads(NORM, "batch_norm")
def _norm(node: Node) -> Found:
    if node.arguments.get("training"):
        raise AlloyError(f"{node.where} is batch_norm, which is not supported with the statistics of its images: use "
                         "running ones")
    given, view = node.arguments, node.views[0]
    mean, var, weight, bias = (given[name] for name in ("running_mean", "running_var", "weight", "bias"))
    gain = torch.ones_like(mean) if weight is None else weight
    offset = torch.zeros_like(mean) if bias is None else bias
    if not view.by_channel:
        raise AlloyError(f"{node.where} works on channels in another order, or only on some of them: do it where the "
                         "tensor is made")
    # NumPy's root is rounded right on every machine, PyTorch's is not: an ONNX file whose exporter has folded the norm
    # holds the very same weights.
    scale = gain / torch.from_numpy(np.sqrt((var + given["eps"]).numpy(force=True)))
    return Norm(name=node.name, inputs=(view.value,), mean=mean.clone(), bias=offset.clone(), gain=gain.clone(),
                scale=scale), view.index


@reads("add", "sub", "rsub", "mul", "div", "neg")
def _arithmetic(node: Node) -> Found:
    if len(node.views) == 1:
        return _affine(node)
    if node.function in ("add", "sub", "rsub"):
        return _sum(node)
    one, other = node.views
    if node.function == "mul" and not torch.equal(one.index, other.index):
        return read_product(node)
    return _pointwise(node)


def _affine(node):
    """What a function makes of a tensor and a constant: a factor and an offset."""
    given, view, function = node.arguments, node.views[0], node.function
    constant = given.get("self") if given.get("other") is view else given.get("other")
    constant = torch.as_tensor(0.0 if constant is None else constant).double()
    first, alpha = given["self"] is view, float(given.get("alpha", 1))
    one = torch.ones_like(constant)
    if function == "rsub":      # the other less alpha times this one
        first, function = not first, "sub"
    sign = -1 if function == "sub" else 1
    match function:
        case "neg":
            scale, offset = -one, constant
        case "mul":
            scale, offset = constant, 0 * constant
        case "div":
            if not first or given.get("rounding_mode"):
                return _pointwise(node)
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
    view, given = node.arguments["self"], node.arguments
    low, high = 0, None
    match node.function:
        case "relu6":
            high = 6
        case "hardtanh":
            low, high = given["min_val"], given["max_val"]
        case "clamp" | "clamp_min":
            low, high = given["min"], given.get("max")
    if any(isinstance(bound, torch.Tensor) for bound in (low, high)) or low != 0 or high is not None and high <= 0:
        return _pointwise(node)
    return Relu(name=node.name, inputs=(view.value,), cap=None if high is None else float(high)), view.index


@reads("prelu")
def _prelu(node: Node) -> Found:
    """With a slope for each channel: ``(1 - slope) * relu(x) + slope * x``."""
    view, slope = node.views[0], node.arguments["weight"].double()
    if slope.numel() == 1:
        return _pointwise(node)
    slope = _per_channel(slope.reshape(-1, *[1] * (view.index.dim() - 2)), view, node, 1.0)
    name, zero = node.name, 0 * slope
    bounded = Relu(name=f"{name}_bounded", inputs=(view.value,))
    rest = Norm(name=f"{name}_rest", inputs=(bounded.name,), mean=zero, scale=1 - slope, bias=zero)
    scaled = Norm(name=f"{name}_scaled", inputs=(view.value,), mean=zero, scale=slope, bias=zero)
    return [bounded, rest, scaled, Add(name=name, inputs=(rest.name, scaled.name))], view.index
