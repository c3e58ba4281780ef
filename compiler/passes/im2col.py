"""The first convolution: positions of its kernel become channels of the image, where that is sooner done."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from spec.commands import FIELDS
from spec.config import EngineConfig
from spec.operators.windows import Window

from ..graph import Graph
from ..im2col import Im2col
from ..operations import Convolution

__all__ = ["im2col_input"]

GROUPS = 1 << FIELDS["out_groups"].width


def im2col_input(graph: Graph, config: EngineConfig) -> Graph:
    """If a convolution alone reads the input, the way to read the image (:class:`compiler.im2col.Im2col`) that is
    quickest: load and array work side by side. It has strides that the array takes, if there is such a way.

    Of each row of the kernel all positions may become channels, or as many as the stride; of its rows pairs, or as many
    as the stride.
    """
    readers = [op for op in graph.ops if graph.input in op.reads]
    if len(readers) != 1 or not readers[0].foldable:
        return graph
    op = readers[0]
    assert isinstance(op, Convolution)
    ways = [_made(graph.im2col, op, rows, cols) for rows, cols in product(_rows(op, config), _cols(op))]
    ways = [(way, new) for way, new in ways if way.groups(config.ic) < GROUPS and way.fits(config.ic)]

    def cost(found: tuple[Im2col, Convolution]) -> tuple[bool, float, float]:
        way, new = found
        load = way.cycles(config, new.input.height, new.input.width)
        array = new.effort(config)[0] * new.output.height * new.output.width
        return max(new.stride) > 2, max(load, array), load + array
    way, new = min(ways, key=cost)
    ops = tuple(new if one is op else one for one in graph.ops)
    return replace(graph, input=new.input, im2col=way, ops=ops)


def _rows(op: Convolution, config: EngineConfig) -> Iterator[tuple[int, int]]:
    """(rows that are read together, rows in one channel group)."""
    stride, dilation = op.stride[0], op.dilation[0]
    yield 1, 1
    if stride % 2 == 0 and dilation == 1 and config.image_lanes == 2:
        yield 2, 2
    if stride > 2 and dilation == 1:
        yield stride, 1


def _cols(op: Convolution) -> Iterator[int]:
    """How many columns are read together."""
    kernel, stride = op.kernel[1], op.stride[1]
    yield 1
    if (op.dilation[1] == 1 or kernel == 1) and max(kernel, stride) > 1:
        yield kernel
    if op.dilation[1] == 1 and 1 < stride < kernel:
        yield stride


def _made(plain: Im2col, op: Convolution, rows: tuple[int, int], cols: int) -> tuple[Im2col, Convolution]:
    """The way to read ``rows`` and ``cols`` of the image together, and the convolution of what that makes."""
    image, windows, whole = plain.image, op.windows, (op.output.height, op.output.width)
    (high, pair), pixel = rows, image.pixel
    # Rows in blocks, of which the first may begin above the image.
    top = windows.padding[0] % high
    taps_y, stride_y, before_y = -(-windows.kernel[0] // high), windows.stride[0] // high, windows.padding[0] // high
    size_y = -(-(image.height + top) // high)
    if high == 1:
        taps_y, stride_y, before_y = windows.kernel[0], windows.stride[0], windows.padding[0]
    # Columns: all of a window, blocks of the stride, or one pixel.
    if cols == 1 and windows.kernel[1] > 1 or windows.stride[1] == 1 and windows.kernel[1] == 1:
        taps_x, stride_x, before_x, step, left = windows.kernel[1], windows.stride[1], windows.padding[1], 1, 0
        size_x, dilation_x = image.width, windows.dilation[1]
    else:
        taps_x, stride_x, before_x = -(-windows.kernel[1] // cols), 1, 0
        step, left = windows.stride[1], windows.padding[1]
        size_x, dilation_x = whole[1] + taps_x - 1, 1
    way = Im2col(image, high, pair, (cols - 1) * pixel + image.channels, step * pixel, (top, left * pixel), plain.fill)
    # Channels in the order of their positions.
    kernel = np.pad(op.weight, [(0, 0), (0, 0), (0, taps_y * high - windows.kernel[0]),
                                (0, taps_x * cols - windows.kernel[1])])
    blocks = kernel.reshape(*kernel.shape[:2], taps_y, high, taps_x, cols)
    weight = blocks.transpose(0, 3, 5, 1, 2, 4).reshape(len(kernel), -1, taps_y, taps_x)
    dilation = (windows.dilation[0], dilation_x)
    reach = [(count - 1) * apart + 1 for count, apart in zip((taps_y, taps_x), dilation, strict=True)]
    end = tuple((out - 1) * stride + over - size - before for out, stride, over, size, before in zip(
        whole, (stride_y, stride_x), reach, (size_y, size_x), (before_y, before_x), strict=True))
    source = replace(op.input, channels=weight.shape[1], height=size_y, width=size_x)
    left_over = Window((taps_y, taps_x), (stride_y, stride_x), (before_y, before_x), (end[0], end[1]), dilation)
    return way, replace(op, input=source, weight=weight, stride=left_over.stride, padding=left_over.padding,
                        padding_end=left_over.padding_end, dilation=left_over.dilation)
