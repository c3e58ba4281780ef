"""Few-channel inputs are folded: kernel positions become channels, as many as one vector of the array holds."""

from dataclasses import asdict, replace
from itertools import product

import numpy as np

from spec.commands import FIELDS
from spec.config import EngineConfig
from spec.operators.windows import Window
from spec.program import Fold

from ..graph import Graph
from ..operations import Convolution

__all__ = ["fold_input"]


def fold_input(graph: Graph, config: EngineConfig) -> Graph:
    """If a convolution alone reads the input, all its taps (or those of a row) become channels, if they fit one group.

    The host lays the image out so (:class:`spec.program.Fold`), and the first layer takes one step for each window (or
    row of one) instead of one for each tap. What has strides that the array does not take, and would need a copy in
    many planes, is folded into as many groups as are quickest: all taps of a direction, or as many as the stride.
    """
    readers, source = [op for op in graph.ops if graph.input in op.reads], graph.input
    if len(readers) != 1 or not readers[0].foldable:
        return graph
    op = readers[0]
    assert isinstance(op, Convolution)
    (kh, kw), channels = op.kernel, source.channels
    found = None
    if channels * kh * kw <= config.ic:
        found = _folded(op, op.kernel)
    elif channels * kw <= config.ic and kw > 1 and op.stride[0] <= 2:
        found = _folded(op, (1, kw))
    elif max(op.stride) > 2:
        ways = [_folded(op, parts) for parts in product(*map(_parts, op.kernel, op.stride, op.dilation))]
        ways = [way for way in ways if way[1].input.groups(config.ic) < 1 << FIELDS["out_groups"].width]
        found = min(ways, key=lambda way: _cycles(way[1], config), default=None)
    if found is None:
        return graph
    fold, new = found
    return replace(graph, input=new.input, fold=fold, ops=tuple(new if one is op else one for one in graph.ops))


def _parts(kernel, stride, dilation):
    """How many positions of a kernel may become channels."""
    return {1, kernel} if stride <= 2 else {kernel, stride} if dilation == 1 else {kernel}


def _folded(op: Convolution, parts: tuple[int, int]) -> tuple[Fold, Convolution]:
    """The fold that makes ``parts`` (rows, columns) of the kernel channels, and the convolution of what it makes.

    A part of the kernel that is as long as the stride makes blocks of the image, of which each is read once.
    """
    size = (op.input.height, op.input.width)
    taps = [-(-k // part) for k, part in zip(op.kernel, parts, strict=True)]
    host, rest = [], []
    for axis, (part, count, out) in enumerate(zip(parts, taps, op.windows.size(size), strict=True)):
        stride, start, end, apart = (pair[axis] for pair in (op.stride, op.padding, op.windows.end, op.dilation))
        if part == op.kernel[axis]:
            host.append((part, stride, start, end, apart))
            rest.append((1, 1, 0, 0, 1))
        elif part == 1:
            host.append((1, 1, 0, 0, 1))
            rest.append((count, stride, start, end, apart))
        else:
            host.append((part, part, start, (out + count - 1) * part - size[axis] - start, 1))
            rest.append((count, 1, 0, 0, 1))
    fold = Fold(**asdict(Window(*zip(host[0], host[1], strict=True))), zero=op.input.zero)
    around = [(0, part * count - k) for part, count, k in zip(parts, taps, op.kernel, strict=True)]
    whole = np.pad(op.weight, [(0, 0), (0, 0), *around])
    blocks = whole.reshape(*whole.shape[:2], taps[0], parts[0], taps[1], parts[1])
    weight = blocks.transpose(0, 1, 3, 5, 2, 4).reshape(len(whole), -1, *taps)
    rows, cols = fold.size(size)
    source = replace(op.input, channels=weight.shape[1], height=rows, width=cols)
    left = Window(*zip(rest[0], rest[1], strict=True))
    return fold, replace(op, input=source, weight=weight, stride=left.stride, padding=left.padding,
                         padding_end=left.padding_end, dilation=left.dilation)


def _cycles(op: Convolution, config: EngineConfig) -> float:
    """About how many a folded convolution takes: its load, or the array."""
    groups, beats = op.input.groups(config.ic), config.act_group_bytes / config.port_bytes / config.act_lanes
    steps = groups * op.kernel[0] * op.kernel[1] * -(-len(op.weight) // config.slots) / config.pixels
    return max(op.input.height * op.input.width * groups * beats, op.output.height * op.input.width * steps)
