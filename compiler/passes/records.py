"""What is scaled by the network's own numbers gets the operations that write them into parameter records."""

from dataclasses import replace

from spec.config import EngineConfig

from ..graph import Graph
from ..operations import Operation
from ..scaling import Product

__all__ = ["make_records"]


def make_records(graph: Graph, config: EngineConfig) -> Graph:
    """Each :class:`compiler.scaling.Product` behind those that make its records."""
    ops: list[Operation] = []
    for op in graph.ops:
        ops += op.expanded(config) if isinstance(op, Product) else [op]
    return replace(graph, ops=tuple(ops))
