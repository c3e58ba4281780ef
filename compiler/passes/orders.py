"""The order of channels in memory."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from spec.config import EngineConfig

from ..graph import Graph, Value

__all__ = ["order_channels"]


def order_channels(graph: Graph, config: EngineConfig) -> Graph:
    """``order`` of every value, interleaved by the kind of column that makes each channel.

    Values that meet in an addition, a pool or a depthwise convolution (``Operation.ties``) share one.
    """
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
    orders: dict[Value, tuple[int, ...]] = {}
    fixed = {graph.input, *(value for op in graph.ops for value in op.ordered)}
    for values in classes.values():
        makers = [op for op in graph.ops if op.output in values and op.made_by() is not None]
        order = _interleaved(values[0].channels, [] if fixed & {*values} else makers)
        orders |= dict.fromkeys(values, order)
    return graph.mapped(lambda value: replace(value, order=orders[value]))


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
