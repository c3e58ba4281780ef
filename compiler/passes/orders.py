"""The order of channels in memory."""

from collections.abc import Container, Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from spec.commands import FIELDS
from spec.config import EngineConfig
from spec.program import HOLE

from .. import emit
from ..graph import Graph, Value
from ..operations import Convolution, Maximum, Operation
from ..slots import HELD, slots_of

__all__ = ["array_cycles", "close_groups", "order_channels"]

GROUPS = 1 << FIELDS["out_groups"].width


def order_channels(graph: Graph, config: EngineConfig) -> Graph:
    """``order`` of every value, interleaved by the kind of column that makes each channel.

    Values that meet in an addition, a pool or a depthwise convolution (``Operation.ties``) share one. Where that is
    quicker, a group has no more channels than the array makes together, and holes behind them: then no tile of filters
    makes channels of two groups, nor reads those of two where it could read one.
    """
    classes = _classes(graph)
    orders = {value: order for values in classes for value, order in _dense(graph, values, config).items()}

    def ordered(op):
        return op.mapped(lambda value: replace(value, order=orders[value]))
    for values in classes:
        near = [op for op in graph.ops if {*op.reads, op.output} & {*values}]
        holed = _holed(near, values, orders[values[0]], config)
        if holed is None or {graph.input, graph.output} & {*values}:
            continue
        dense = {value: orders[value] for value in values}
        before = array_cycles(map(ordered, near), config)
        orders |= dict.fromkeys(values, holed)
        if array_cycles(map(ordered, near), config) >= before:
            orders |= dense
    return graph.mapped(lambda value: replace(value, order=orders[value]))


def close_groups(graph: Graph, some: Container[Value] | None = None) -> Graph:
    """The graph without holes in the groups of channels; with ``some`` values, of those and what shares their order."""
    closed = {value for values in _classes(graph) if graph.input not in values and (
        some is None or any(value in some for value in values)) for value in values}
    return graph.mapped(lambda value: replace(
        value, order=tuple(channel for channel in value.order or () if channel != HOLE)) if value in closed else value)


def array_cycles(ops: Iterable[Operation], config: EngineConfig) -> int:
    """Of all convolutions, if the array never waits for anything but the post unit."""
    return sum(emit.array_cycles(op, config) for op in ops if isinstance(op, Convolution))


def _classes(graph: Graph) -> list[list[Value]]:
    """Values that share one order."""
    parent: dict[Value, Value] = {}

    def find(value):
        while parent.get(value, value) is not value:
            value = parent[value]
        return value
    for op in graph.ops:
        for one, other in op.ties():
            parent[find(one)] = find(other)
    classes: dict[Value, list[Value]] = {}
    for value in graph.values:
        classes.setdefault(find(value), []).append(value)
    return list(classes.values())


def _fixed(graph: Graph, values: list[Value]) -> bool:
    return not {graph.output, *(value for op in graph.ops for value in op.ordered)}.isdisjoint(values)


def _makers(graph: Graph, values: list[Value]) -> list[Operation]:
    return [op for op in graph.ops if op.output in values and op.made_by() is not None]


def _dense(graph: Graph, values: list[Value], config: EngineConfig) -> dict[Value, tuple[int, ...]]:
    if graph.input in values:
        return dict.fromkeys(values, graph.im2col.order(config.ic))
    makers = [] if _fixed(graph, values) else _makers(graph, values)
    return dict.fromkeys(values, _interleaved(values[0].channels, makers))


def _interleaved(channels, makers):
    """Channels so that those of each combination of columns, of all ``makers``, are spread evenly; where these make
    parts of a value, within each part."""
    columns: dict[Value, np.ndarray] = {}       # the column of each channel
    for op in makers:
        columns.setdefault(op.output, np.full(channels, -1))[op.makes] = op.made_by()
    edges = sorted({0, channels, *(edge for op in makers for edge in (op.makes.start, op.makes.stop))})
    position = np.arange(channels, dtype=float)
    for low, high in pairwise(edges) if columns else ():
        stacked = np.stack([column[low:high] for column in columns.values()], 1)
        for key in np.unique(stacked, axis=0):
            same = low + np.flatnonzero((stacked == key).all(1))
            position[same] = (np.arange(len(same)) + 0.5) / len(same)
    return tuple(np.lexsort((position, np.searchsorted(edges, np.arange(channels), "right"))).tolist())


def _holed(near: list[Operation], values: list[Value], order: tuple[int, ...],
           config: EngineConfig) -> tuple[int, ...] | None:
    """The ``order`` of values with as many channels in each group as one tile of each maker holds; None where that
    needs no holes. What is ``near``, but not of convolutions or maxima, counts on groups without holes."""
    columns = [op.columns for op in near if isinstance(op, Convolution) and op.output in values]
    held = [column.tolist() for column in columns if column is not None]
    if not held or not all(isinstance(op, Convolution) and op.at is None or isinstance(op, Maximum) for op in near):
        return None
    groups: list[list[int]] = []
    waiting = list(order)
    while waiting:
        left, later, at = [slots_of(config) for _ in held], [], 0
        groups.append([])
        while at < len(waiting) and len(groups[-1]) < config.ic and all(any(mine.values()) for mine in left):
            takes = [(mine, *HELD[column[waiting[at]]]) for mine, column in zip(left, held, strict=True)]
            if all(mine[column] >= count for mine, column, count in takes):
                groups[-1].append(waiting[at])
                for mine, column, count in takes:
                    mine[column] -= count
            else:
                later.append(waiting[at])
            at += 1
        waiting = later + waiting[at:]
    if len(groups) == -(-values[0].channels // config.ic) or len(groups) >= GROUPS:
        return None
    last = groups.pop()
    return (*(at for group in groups for at in (*group, *[HOLE] * (config.ic - len(group)))), *last)
