"""Functions of each value alone: chains of them that begin at one value become one function of it, and what that is if
it is only a factor, an offset and a ReLU."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch

from spec.errors import AlloyError, Unsupported
from spec.operators.scaling import ScalingLayer

from .capture import INPUT, Add, Apply, Missing, Norm, Op, Pointwise, Relu, supported

__all__ = ["compose"]

# Where functions are looked at: they may bend anywhere, and far out.
PLACES = torch.cat([torch.linspace(-12, 12, 961, dtype=torch.float64), torch.logspace(-5, 4, 181, dtype=torch.float64),
                    -torch.logspace(-5, 4, 181, dtype=torch.float64)]).sort()[0]
CLOSE = 1e-9        # relative difference of values that are the same but for rounding
DIGITS = 12         # of the factors that are found
# Of two values: whether it is the larger one.
EXTREMES = {"max": True, "maximum": True, "fmax": True, "min": False, "minimum": False, "fmin": False}


@dataclass(frozen=True)
class _Composed:
    """``outer`` of what each of ``inner`` makes of one value."""
    outer: Callable[..., torch.Tensor]
    inner: tuple[Callable[..., torch.Tensor], ...]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(*(inner(x) for inner in self.inner))


def compose(ops: list[Op], output: str, shape: tuple[int, int, int]) -> tuple[list[Op], list[Unsupported]]:
    """The operations with :class:`quant.capture.Pointwise` ones of a single value each, as few as possible, and what
    is a function of several values and not supported; ``output`` is that of the model, ``shape`` its input's."""
    ops = _needed(_merged(_needed(_joined(ops), output), output), output)
    shapes, out, refused = {INPUT: shape}, [], []
    for op in ops:
        size = shapes[op.name] = op.shape(*(shapes[name] for name in op.inputs))
        if isinstance(op, Pointwise) and op.what == "mul" and len(op.inputs) == 2 and size[1:] == (1, 1):
            layer = ScalingLayer(name=op.name, sources=op.inputs, output=op.name)
            op = Apply(name=op.name, inputs=op.inputs, where=op.where, layer=layer)
        elif isinstance(op, Pointwise) and op.what in EXTREMES and len(op.inputs) == 2:
            out += _extreme(op, size[0])
            continue
        elif isinstance(op, Pointwise) and len(op.inputs) > 1:
            refused.append(Unsupported.of(AlloyError(
                f"{op.where} is {op.what}, which is not supported of two tensors, none of which is a function of the "
                f"other: {supported()}"), op.where))
            op = Missing(name=op.name, inputs=op.inputs, where=op.where, size=size)
        out += _plain(op, size[0])
    return out, refused


def _extreme(op, channels):
    """The larger one is ``b + relu(a - b)``, the smaller one ``a - relu(a - b)``."""
    (one, other), zero = op.inputs, torch.zeros(channels, dtype=torch.float64)

    def negative(name, source):
        return Norm(name=f"{op.name}_{name}", inputs=(source,), where=op.where, mean=zero, scale=zero - 1, bias=zero)
    less = negative("scaled", other)
    rest = Add(name=f"{op.name}_rest", inputs=(one, less.name), where=op.where)
    more = Relu(name=f"{op.name}_bounded", inputs=(rest.name,), where=op.where)
    if EXTREMES[op.what]:
        return [less, rest, more, Add(name=op.name, inputs=(more.name, other), where=op.where)]
    back = negative("parts", more.name)
    return [less, rest, more, back, Add(name=op.name, inputs=(one, back.name), where=op.where)]


def _function(op: Op) -> Callable[..., torch.Tensor] | None:
    """What an operation makes of each value alone, None if it is none that does so, or not the same for all
    channels."""
    if isinstance(op, Pointwise):
        return op.function
    if isinstance(op, Norm) and op.gain is None and all((v == v[0]).all() for v in (op.mean, op.scale, op.bias)):
        return _Line(float(op.scale[0]), float(op.bias[0].double() - op.mean[0].double() * op.scale[0].double()))
    if isinstance(op, Relu):
        return _Ramp(op.cap)
    return torch.add if isinstance(op, Add) else None


@dataclass(frozen=True)
class _Line:
    factor: float
    offset: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor + self.offset


@dataclass(frozen=True)
class _Ramp:
    cap: float | None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(0, self.cap)


def _same(x: torch.Tensor) -> torch.Tensor:
    return x


def _needed(ops, output):
    """Without what nothing reads."""
    needed, kept = {output}, []
    for op in reversed(ops):
        if op.name in needed:
            needed.update(op.inputs)
            kept.append(op)
    return kept[::-1]


def _joined(ops):
    """Functions of several values that come from one value by functions become functions of that."""
    made: dict[str, Op] = {}
    for op in ops:
        function = _function(op)
        if function is not None and len(op.inputs) > 1:
            ways = [dict(_way(name, made)) for name in op.inputs]
            common = next((name for name in ways[0] if all(name in way for way in ways)), None)
            if common is not None:
                op = _pointwise(op, common, _Composed(function, tuple(way[common] for way in ways)))
        made[op.name] = op
    return list(made.values())


def _way(name: str, made: dict[str, Op]) -> Iterator[tuple[str, Callable]]:
    """Values that a value is a function of, the nearest first, and the function."""
    steps: list[Callable] = []
    while True:
        yield name, reduce(lambda outer, inner: _Composed(outer, (inner,)), steps, _same) if steps else _same
        op = made.get(name)
        function = None if op is None or len(op.inputs) > 1 else _function(op)
        if op is None or function is None:
            return
        steps.append(function)
        name = op.inputs[0]


def _pointwise(op, source, function):
    what = op.what if isinstance(op, Pointwise) else ""
    return Pointwise(name=op.name, inputs=(source,), where=op.where, function=function, what=what)


def _merged(ops, output):
    """A function of what a function makes for it alone is one with that, unless both are what convolutions take."""
    reads = Counter([output, *(name for op in ops for name in op.inputs)])
    made: dict[str, Op] = {}
    for op in ops:
        while op.inputs and (before := made.get(op.inputs[0])) is not None and reads[before.name] == 1:
            together = _together(op, before)
            if together is None:
                break
            op = _pointwise(op, made.pop(before.name).inputs[0], together)
        made[op.name] = op
    return list(made.values())


def _together(op, before):
    """The function of an operation and the one before it; None if they stay two."""
    outer, inner = _function(op), _function(before)
    if outer is None or inner is None or len(op.inputs) > 1 or len(before.inputs) > 1:
        return None
    both = _Composed(outer, (inner,))
    if isinstance(op, Pointwise) or isinstance(before, Pointwise):
        return both
    return both if isinstance(op, Norm) and isinstance(before, Relu) and _ramp(both) else None


def _plain(op: Op, channels: int) -> list[Op]:
    """The operations of a function; a factor, an offset and a ReLU if it is no more than that."""
    found = _ramp(op.function) if isinstance(op, Pointwise) and len(op.inputs) == 1 else None
    if found is None:
        return [op]
    factor, offset, bounded, cap = found
    scale, bias = (torch.full((channels,), value, dtype=torch.float64) for value in (factor, offset))
    norm = Norm(name=op.name, inputs=op.inputs, where=op.where, mean=0 * bias, scale=scale, bias=bias)
    if not bounded:
        return [norm]
    if (factor, offset) == (1, 0):
        return [Relu(name=op.name, inputs=op.inputs, where=op.where, cap=cap)]
    norm = replace(norm, name=f"{op.name}_scaled")
    return [norm, Relu(name=op.name, inputs=(norm.name,), where=op.where, cap=cap)]


def _ramp(function: Any) -> tuple[float, float, bool, float | None] | None:
    """(factor, offset, whether it is bounded by 0 and, if not None, by a cap) if a function is just that."""
    y = function(PLACES)
    if not y.is_floating_point() or not torch.isfinite(y).all():
        return None
    for bounded in (False, True):
        top = float(y.max())
        cap = top if bounded and top > 0 and (y == top).sum() > 1 and top in (float(y[0]), float(y[-1])) else None
        inside = ((y > 0) & (y < (float("inf") if cap is None else cap))).nonzero()[:, 0] if bounded else torch.arange(
            len(y))
        if len(inside) < 2:
            continue
        first, last, near = inside[0], inside[-1], inside[PLACES[inside].abs().argmin()]
        slope = (y[last] - y[first]) / (PLACES[last] - PLACES[first])
        factor, offset = (float(f"{float(value):.{DIGITS}g}") for value in (slope, y[near] - slope * PLACES[near]))
        offset = 0.0 if abs(offset) < CLOSE * max(1.0, abs(factor)) else offset
        line = factor * PLACES + offset
        line = line.clamp(0, cap) if bounded else line
        if ((line - y).abs() <= CLOSE * (y.abs() + abs(offset) + abs(factor))).all():
            return factor, offset, bounded, cap
    return None
