"""Filters to columns of the array."""

from dataclasses import replace

from spec.config import EngineConfig

from ..graph import Graph

__all__ = ["choose_columns"]


def choose_columns(graph: Graph, config: EngineConfig) -> Graph:
    """Each filter is given to a kind of column: ``columns`` of every convolution."""
    return replace(graph, ops=tuple(op.assigned(config) for op in graph.ops))
