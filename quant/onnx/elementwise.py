"""Functions of each value alone, sums and products."""

import math
from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from .given import Given, function

__all__ = ["TYPES"]

PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "Relu": F.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "HardSwish": F.hardswish, "Mish": F.mish,
    "Softplus": F.softplus, "Softsign": F.softsign, "Erf": torch.erf, "Exp": torch.exp, "Log": torch.log,
    "Sqrt": torch.sqrt, "Reciprocal": torch.reciprocal, "Abs": torch.abs, "Neg": torch.neg, "Floor": torch.floor,
    "Ceil": torch.ceil, "Round": torch.round, "Not": torch.logical_not, "Identity": lambda x: x}
TWO: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Pow": torch.pow, "Equal": torch.eq, "Less": torch.lt,
    "Greater": torch.gt, "And": torch.logical_and, "Or": torch.logical_or}
MANY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Sum": torch.add, "Min": torch.minimum, "Max": torch.maximum}
# Types of ONNX's numbers (onnx.TensorProto) as they are computed with: real ones are 32-bit numbers.
TYPES = {1: torch.float32, 10: torch.float32, 11: torch.float32, 16: torch.float32, 2: torch.uint8, 3: torch.int8,
         6: torch.int32, 7: torch.int64, 9: torch.bool}


@function(*PLAIN)
def _plain(given: Given, x: Tensor) -> Tensor:
    return PLAIN[given.op_type](x)


@function(*TWO)
def _two(given: Given, x: Tensor, y: Tensor) -> Tensor:
    return TWO[given.op_type](x, y)


@function("Div")
def _div(given: Given, x: Tensor, y: Tensor) -> Tensor:
    whole = not (x.is_floating_point() or y.is_floating_point())
    return torch.div(x, y, rounding_mode="trunc") if whole else torch.div(x, y)


@function(*MANY)
def _many(given: Given, *x: Tensor) -> Tensor:
    return reduce(MANY[given.op_type], x)


@function("Where")
def _where(given: Given, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.where(condition, x, y)


@function("Clip")
def _clip(given: Given, x: Tensor, *bounds: Tensor | None) -> Tensor:
    low, high = given.number(1, "min"), given.number(2, "max")
    low, high = (None if one is None or abs(one) > 3e38 else one for one in (low, high))
    if low is None and high is None:
        return x
    if low == 0 and high is None:
        return F.relu(x)
    return torch.clamp(x, low, high)


@function("LeakyRelu")
def _leaky_relu(given: Given, x: Tensor) -> Tensor:
    return F.leaky_relu(x, given.attributes.get("alpha", 0.01))


@function("Elu", "Celu")
def _elu(given: Given, x: Tensor) -> Tensor:
    alpha = given.attributes.get("alpha", 1.0)
    return F.elu(x, alpha) if given.op_type == "Elu" else F.celu(x, alpha)


@function("Selu")
def _selu(given: Given, x: Tensor) -> Tensor:
    alpha, gamma = given.attributes.get("alpha", 1.67326), given.attributes.get("gamma", 1.0507)
    if math.isclose(alpha, 1.67326, rel_tol=1e-5) and math.isclose(gamma, 1.0507, rel_tol=1e-5):
        return F.selu(x)
    return gamma * F.elu(x, alpha)


@function("HardSigmoid")
def _hard_sigmoid(given: Given, x: Tensor) -> Tensor:
    alpha, beta = given.attributes.get("alpha", 0.2), given.attributes.get("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return F.hardsigmoid(x)
    return torch.clamp(x * alpha + beta, 0, 1)


@function("Gelu")
def _gelu(given: Given, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=given.attributes.get("approximate", "none"))


@function("ThresholdedRelu")
def _threshold(given: Given, x: Tensor) -> Tensor:
    return F.threshold(x, given.attributes.get("alpha", 1.0), 0.0)


@function("PRelu")
def _prelu(given: Given, x: Tensor, slope: Tensor) -> Tensor:
    if slope.numel() == 1 or slope.numel() == x.shape[1] and slope.shape[:1].numel() == slope.numel():
        return F.prelu(x, slope.flatten())
    given.refuse(f"has slopes of shape {tuple(slope.shape)}: one for all values or one for each channel is supported")


@function("Cast", "CastLike")
def _cast(given: Given, x: Tensor, like: Tensor | None = None) -> Tensor:
    to = like.dtype if like is not None else TYPES.get(given.attributes["to"])
    if to is None:
        given.refuse(f"casts to type {given.attributes['to']} of ONNX, which is not supported: leave it out")
    return x if x.dtype == to else x.to(to)


@function("Softmax", "LogSoftmax")
def _softmax(given: Given, x: Tensor) -> Tensor:
    compute = F.softmax if given.op_type == "Softmax" else F.log_softmax
    axis = given.attributes.get("axis", -1 if given.opset >= 13 else 1) % x.dim()
    if given.opset >= 13 or axis == x.dim() - 1:
        return compute(x, axis)
    return compute(x.flatten(axis), axis).reshape(x.shape)
