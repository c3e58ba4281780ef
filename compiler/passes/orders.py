"""The order of channels in memory."""

from dataclasses import replace

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
    for values in classes.values():
        made = [op.made_by() for op in graph.ops if op.output in values]
        order = _interleaved(values[0].channels, [] if graph.input in values else [k for k in made if k is not None])
        orders |= dict.fromkeys(values, order)
    return graph.mapped(lambda value: replace(value, order=orders[value]))


def _interleaved(channels, keys):
    """Channels so that those of each combination of ``keys`` (arrays of one for each channel) are spread evenly."""
    place = np.arange(channels, dtype=float)
    if keys:
        stacked = np.stack(keys, 1)
        for key in np.unique(stacked, axis=0):
            same = np.flatnonzero((stacked == key).all(1))
            place[same] = (np.arange(len(same)) + 0.5) / len(same)
    return tuple(np.argsort(place, kind="stable").tolist())
