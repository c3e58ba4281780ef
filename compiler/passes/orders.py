"""The order of channels in memory."""

from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from itertools import chain, pairwise, product

import numpy as np

from spec.commands import FIELDS
from spec.config import EngineConfig
from spec.program import HOLE

from .. import emit
from ..graph import Graph, Value, without_holes
from ..operations import Convolution, Maximum, Operation
from ..rows import lanes_of
from ..slots import HELD, slots_of
from .groups import in_groups

__all__ = ["array_cycles", "close_groups", "order_channels"]

GROUPS = 1 << FIELDS["out_groups"].width


def order_channels(graph: Graph, config: EngineConfig) -> Graph:
    """``order`` of every value, interleaved by the kind of column that makes each channel.

    Values that meet in an addition or a pool (``Operation.ties``) share one, input and output of a depthwise
    convolution (``Operation.follows``) the sequence. Where that is quicker, a group has no more channels than the array
    makes together, and holes behind them: then no tile of filters makes channels of two groups, nor reads those of two
    where it could read one. That may be so for what depthwise convolutions read alone: who reads what they make goes
    through all groups of it.
    """
    orders: dict[Value, tuple[int, ...]] = {}
    classes, alike = _classes(graph, True), _classes(graph, False)
    for values in classes:
        orders |= _dense(graph, values, config)

    def cycles(near):
        return array_cycles(_in_rows((op.mapped(lambda value: replace(value, order=orders[value])) for op in near),
                                     config), config)
    for values in classes:
        if graph.input in values or _fixed(graph, values):
            continue
        near = _near(graph, values)
        read = {one for op in near for one, _ in op.follows()}
        best = cycles(near), {value: orders[value] for value in values}
        apart = [value for some in alike if not read.isdisjoint(some) for value in some]
        readers = [op.columns for op in near if isinstance(op, Convolution) and op.input in apart and op.by_channel]
        one = readers if config.row_taps > 1 and len(readers) == 1 else []
        for some, reader in product((apart, values), (None, *one)):
            holed = _holed(graph, some, without_holes(orders[values[0]]), config, reader)
            if holed is not None:
                orders |= dict.fromkeys(values, without_holes(holed)) | dict.fromkeys(some, holed)
                best = min(best, (cycles(near), {value: orders[value] for value in values}), key=lambda one: one[0])
                orders |= best[1]
    graph = graph.mapped(lambda value: replace(value, order=orders[value]))
    return replace(graph, ops=tuple(_in_rows(graph.ops, config)))


def close_groups(graph: Graph, some: Container[Value] | None = None) -> Graph:
    """The graph without holes in the groups of channels; with ``some`` values, of those and what shares their order."""
    closed = {value for values in _classes(graph, False) if graph.input not in values and (
        some is None or any(value in some for value in values)) for value in values}
    ops = (replace(op, row_taps=1) if op.input in closed and isinstance(op, Convolution) else op for op in graph.ops)
    return replace(graph, ops=tuple(ops)).mapped(
        lambda value: replace(value, order=value.sequence) if value in closed else value)


def array_cycles(ops: Iterable[Operation], config: EngineConfig) -> int:
    """Of all convolutions, if the array never waits for anything but the post unit."""
    return sum(emit.array_cycles(op, config) for op in ops if isinstance(op, Convolution))


def _classes(graph: Graph, loose: bool) -> list[list[Value]]:
    """Values that share one order; ``loose``: or one that differs in holes."""
    parent: dict[Value, Value] = {}

    def find(value):
        while parent.get(value, value) is not value:
            value = parent[value]
        return value
    for op in graph.ops:
        for one, other in chain(op.ties(), op.follows() if loose else ()):
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


def _on_lanes(group: list[int], columns: np.ndarray, config: EngineConfig) -> list[int]:
    """The channels of a group, each on the lane of the slot that takes it."""
    group = sorted(group, key=lambda channel: -int(columns[channel]))
    lanes = lanes_of(columns[group], config)
    assert lanes is not None
    out = [HOLE] * (lanes[-1] + 1)
    for lane, channel in zip(lanes, group, strict=True):
        out[lane] = channel
    return out


def _near(graph: Graph, values: Iterable[Value]) -> list[Operation]:
    return [op for op in graph.ops if {*op.reads, op.output} & {*values}]


def _in_rows(ops: Iterable[Operation], config: EngineConfig) -> Iterator[Operation]:
    """The operations with as many taps of a row in each k-step as the orders allow."""
    return (op.in_rows(config) if isinstance(op, Convolution) else op for op in ops)


def _slots(held: list[list[int]], order: tuple[int, ...], config: EngineConfig) -> tuple[np.ndarray, np.ndarray]:
    """What each channel needs of a group: slots of each kind, and of all, in each layer that ``held`` says the columns
    of, and itself; and what a group has."""
    slots = slots_of(config)
    needs, room = [np.ones(len(order), int)], [config.ic]
    counts = np.array([[count * (kind is column) for kind in slots] for column, count in HELD])
    for columns in held:
        takes = counts[np.array(columns)[[*order]]]
        needs += [*takes.T, takes.sum(1)]
        room += [*slots.values(), config.slots]
    return np.stack(needs, 1), np.array(room)


def _holed(graph: Graph, values: list[Value], order: tuple[int, ...], config: EngineConfig,
           reader: np.ndarray | None = None) -> tuple[int, ...] | None:
    """The ``order`` of values with as many channels in each group as one tile of each maker holds; None where that
    needs no holes. What is near, but not of convolutions or maxima, counts on groups without holes. With the columns of
    a ``reader``, a group is one of its tiles too, each channel on the lane of its slot."""
    near = _near(graph, values)
    columns = [op.columns for op in near if isinstance(op, Convolution) and op.output in values]
    held = [column.tolist() for column in (*columns, reader) if column is not None]
    if not held or not all(isinstance(op, Convolution) and op.at is None or isinstance(op, Maximum) for op in near):
        return None
    needs, room = _slots(held, order, config)
    groups = [[order[item] for item in group] for group in in_groups(needs, room)]
    if len(groups) >= GROUPS:
        return None
    if reader is not None:
        groups = [_on_lanes(group, reader, config) for group in groups]
    last = groups.pop()
    holed = (*(at for group in groups for at in (*group, *[HOLE] * (config.ic - len(group)))), *last)
    return None if holed == order else holed
