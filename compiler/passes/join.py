"""Parts of a value are made where they are to be, instead of elsewhere and copied."""

from collections import Counter
from dataclasses import replace

import numpy as np

from spec.config import EngineConfig

from ..graph import Graph
from ..operations import Convolution, Operation

__all__ = ["join_parts"]


def join_parts(graph: Graph, config: EngineConfig) -> Graph:
    """A convolution whose output is read only by a copy into a part of another value makes that part itself.

    What the copy does to the codes becomes the convolution's table, if it does anything.
    """
    reads = Counter(value for op in graph.ops for value in op.reads)
    reads.update(graph.kept)
    makers = {op.output: op for op in graph.ops if isinstance(op, Convolution) and op.at is None}
    new: dict[Operation, Operation | None] = {}
    for op in graph.ops:
        maker = makers.get(op.input)
        if isinstance(op, Convolution) and op.copies and maker is not None and reads[op.input] == 1:
            joined = _joined(new.get(maker, maker), op, config)
            if joined is not None:
                new |= {maker: joined, op: None}
    return replace(graph, ops=tuple(made for op in graph.ops if (made := new.get(op, op)) is not None))


def _joined(maker, copy, config):
    """``maker`` with the output of the ``copy``; None if it cannot make it."""
    if maker is None or maker.residual is not None:
        return None
    codes = np.arange(256)
    moved = copy.requantized(codes)
    made = codes if maker.table is None else maker.table.astype(np.int64)
    table = moved[made]
    if np.array_equal(table[maker.lo:maker.hi + 1], codes[maker.lo:maker.hi + 1]):
        table = None
    elif not config.tables:
        return None
    # The requantizer adds the zero point of the output: that of the copy now.
    bias = maker.bias + (maker.output.zero - copy.output.zero << maker.shift)
    return replace(maker, output=copy.output, at=copy.at, bias=bias,
                   table=None if table is None else table.astype(np.uint8))
