"""Maxima over large windows are taken in parts: those of what lies in one row, then those of these."""

from collections.abc import Iterator
from dataclasses import replace

from spec.config import EngineConfig

from ..graph import Graph, Value
from ..operations import Maximum, Operation

__all__ = ["separate_maxima"]


def separate_maxima(graph: Graph, config: EngineConfig) -> Graph:
    """A maximum over rows and columns becomes one over columns and one over rows, where its taps do not fit the table
    or that takes less than half of the cycles; one over a long row becomes maxima of its parts, and one of those."""
    return replace(graph, ops=tuple(part for op in graph.ops for part in _parts(op, config.tap_depth)))


def _parts(op: Operation, most: int) -> Iterator[Operation]:
    """``op``, or operations that do the same with at most ``most`` taps."""
    if not isinstance(op, Maximum):
        yield op
        return
    (kh, kw), out = op.kernel, op.output.height * op.output.width
    apart = op.input.height * op.output.width * kw + out * kh
    if min(kh, kw) > 1 and (kh * kw > most or 2 * apart <= out * kh * kw):
        value = replace(op.input, name=f"{op.name}.rows", width=op.output.width)
        yield from _parts(_along(op, 1, op.input, value, *_axis(op, 1)), most)
        yield from _parts(_along(op, 0, value, op.output, *_axis(op, 0)), most)
    elif kh * kw > most:
        axis = int(kw > 1)
        yield from _shorter(op, axis, (op.output.height, op.output.width)[axis], most)
    else:
        yield op


def _shorter(op, axis, count, most):
    """Windows along one axis as maxima over parts of them, which begin ``step`` positions apart."""
    kernel, stride, start, _, dilation = _axis(op, axis)
    parts = next(n for n in range(2, kernel) if n * n >= kernel)
    step = kernel // parts
    part = kernel - (parts - 1) * step          # at least a step: parts may overlap
    # Of one window only the parts that it has, else those of every place.
    length, every = (parts, step * dilation) if count == 1 else (
        (count - 1) * stride + (parts - 1) * step * dilation + 1, 1)
    size = (op.input.height, op.input.width)[axis]
    end = (length - 1) * every + (part - 1) * dilation + 1 - size - start
    value = replace(op.input, name=f"{op.name}.{part}", **{("height", "width")[axis]: length})
    yield from _parts(_along(op, axis, op.input, value, part, every, start, end, dilation), most)
    yield from _parts(_along(op, axis, value, op.output, parts, 1 if count == 1 else stride, 0, 0,
                             1 if count == 1 else step * dilation), most)


def _axis(op, axis):
    """Kernel, stride, padding at both sides and dilation."""
    return tuple(pair[axis] for pair in (op.kernel, op.stride, op.padding, op.windows.end, op.dilation))


def _along(op: Maximum, axis: int, source: Value, out: Value, *window: int) -> Maximum:
    """The maximum over ``window`` (as :func:`_axis` has it) of ``source``, which moves along one axis only."""
    kernel, stride, start, end, dilation = (
        (value, plain) if axis == 0 else (plain, value) for value, plain in zip(window, (1, 1, 0, 0, 1), strict=True))
    name = op.name if out is op.output else out.name
    return replace(op, name=name, input=source, output=out, window=kernel, stride=stride, padding=start,
                   padding_end=end, dilation=dilation)
