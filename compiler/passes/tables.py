"""Tables go behind the convolution that makes what they look up."""

from dataclasses import replace

from spec.config import EngineConfig

from ..graph import Graph
from ..operations import Convolution

__all__ = ["merge_tables"]


def merge_tables(graph: Graph, config: EngineConfig) -> Graph:
    """A convolution that only looks up codes (:attr:`Convolution.looks_up`) becomes the table of the convolution that
    makes them, if nothing else reads them. The codes themselves are no value of the graph any more."""
    ops: list = []
    for op in graph.ops:
        makers = [one for one in ops if one.output is op.input]
        before = makers[0] if len(makers) == 1 else None        # of parts of a value each would need the table
        readers = [one for one in graph.ops if op.input in one.reads]
        if (isinstance(op, Convolution) and op.looks_up and isinstance(before, Convolution) and readers == [op]
                and op.input is not graph.output):
            ops[ops.index(before)] = _merged(before, op)
        else:
            ops.append(op)
    return replace(graph, ops=tuple(ops), kept=graph.kept & {op.output for op in ops})


def _merged(before, op):
    """The post unit adds the output's zero point before it looks up: the bias makes up for the difference."""
    assert op.table is not None
    table = op.table if before.table is None else op.table[before.table]
    zeros = before.output.zero - op.output.zero
    return replace(before, output=op.output, table=table, bias=before.bias + (zeros << before.shift))
