"""Few-channel inputs are folded: kernel positions become channels, as many as one vector of the array holds."""

from dataclasses import replace

from spec.config import EngineConfig
from spec.operators.windows import Window
from spec.program import Fold

from ..graph import Graph, Value
from ..operations import Convolution

__all__ = ["fold_input"]


def fold_input(graph: Graph, config: EngineConfig) -> Graph:
    """If a convolution alone reads the input, all its taps (or those of a row) become channels, if they fit one group.

    The host lays the image out so (:class:`spec.program.Fold`), and the first layer takes one step for each window (or
    row of one) instead of one for each tap.
    """
    readers, source = [op for op in graph.ops if graph.input in op.reads], graph.input
    if len(readers) != 1 or not readers[0].foldable:
        return graph
    op = readers[0]
    assert isinstance(op, Convolution)
    (kh, kw), channels, end = op.kernel, source.channels, op.windows.end
    if channels * kh * kw <= config.ic:
        fold = Fold(op.kernel, op.stride, op.padding, end, op.dilation, source.zero)
        weight, rest = op.weight.reshape(len(op.weight), -1, 1, 1), Window((1, 1))
    elif channels * kw <= config.ic and kw > 1:
        fold = Fold((1, kw), (1, op.stride[1]), (0, op.padding[1]), (0, end[1]), (1, op.dilation[1]), source.zero)
        weight = op.weight.transpose(0, 1, 3, 2).reshape(len(op.weight), channels * kw, kh, 1)
        rest = Window((kh, 1), (op.stride[0], 1), (op.padding[0], 0), (end[0], 0), (op.dilation[0], 1))
    else:
        return graph
    rows, cols = fold.size((source.height, source.width))
    folded = Value(source.name, weight.shape[1], rows, cols, source.bits, source.zero)
    new = replace(op, input=folded, weight=weight, stride=rest.stride, padding=rest.padding,
                  padding_end=rest.padding_end, dilation=rest.dilation)
    return replace(graph, input=folded, fold=fold, ops=tuple(new if one is op else one for one in graph.ops))
