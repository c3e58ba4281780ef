"""Channels that become pixels lie in whole groups."""

from dataclasses import replace

import numpy as np

from spec.config import EngineConfig
from spec.numerics import Scheme

from ..graph import Graph, Value
from ..operations import Convolution, Operation, Spread

__all__ = ["align_parts"]


def align_parts(graph: Graph, config: EngineConfig) -> Graph:
    """What a :class:`Spread` reads apart gets channels of zeros behind those of each pixel, so that these fill groups:
    by the convolution that makes it, if nothing else reads it, or a copy."""
    ops: list[Operation] = []
    for op in graph.ops:
        count = op.output.channels
        if not isinstance(op, Spread) or not op.apart or count % config.ic == 0:
            ops.append(op)
            continue
        wide = -(-count // config.ic) * config.ic
        at = (np.arange(op.parts)[:, None] * wide + np.arange(count)).flatten()
        out = replace(op.input, name=f"{op.input.name}.apart", channels=op.parts * wide)
        maker = next((one for one in ops if one.output is op.input), None)
        alone = [one for one in graph.ops if op.input in one.reads] == [op] and op.input not in graph.kept
        if alone and isinstance(maker, Convolution) and maker.at is None and maker.residual is None \
                and maker.weight.shape[1] == maker.input.channels:
            ops[ops.index(maker)] = _padded(maker, out, at)
        else:
            ones = np.ones(op.input.channels, np.int64)
            copy = Convolution(out.name, op.tag, op.input, op.input, weight=np.eye(len(ones), dtype=np.int64)[
                :, :, None, None], scheme=Scheme.FIXED2 * ones, mult=2 * ones, bias=0 * ones, shift=1,
                hi=(1 << out.bits) - 1)
            ops.append(_padded(copy, out, at))
        ops.append(replace(op, input=out))
    return replace(graph, ops=tuple(ops))


def _padded(op: Convolution, out: Value, at: np.ndarray) -> Convolution:
    """``op`` with its filters at places ``at`` of ``out``, the others are the last one's with weights of 0."""
    def spread(values, zero):
        new = np.repeat(values[-1:] * (not zero), out.channels, 0)
        new[at] = values
        return new
    return replace(op, output=out, weight=spread(op.weight, True), scheme=spread(op.scheme, False),
                   mult=spread(op.mult, False), bias=spread(op.bias, True))
