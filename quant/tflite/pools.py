"""Pools and reductions of TFLite: maxima, and averages as its kernels round them."""

from dataclasses import replace

import numpy as np

from spec.operators.average_pool import AveragePool
from spec.operators.max_pool import MaxPool
from spec.operators.windows import MULT_BITS, Window

from ..grids.emit import codes_tensor, finding_of
from ..grids.rounding import NEAR
from ..grids.values import Codes, Sum
from ..requantizer import largest_shift
from .arithmetic import multiplier, times
from .reader import Reader, four, mapped, reads, whole
from .step import Step, View
from .window import window_of

__all__: list[str] = []


@reads("MAX_POOL_2D")
def _max_pool(reader: Reader, step: Step) -> View:
    view = step.view(0)
    reader.check_same(step, view)
    codes = reader.settle(view, step.where)
    kernel = int(step.option("filterHeight", 1)), int(step.option("filterWidth", 1))
    return _clipped(reader, step, mapped(_maxima(reader, step, codes, window_of(step, codes.shape[1:], kernel))))


def _maxima(reader, step, codes, window):
    name = reader.unique(step.name)
    shape = (codes.shape[0], *window.size(codes.shape[1:]))
    tensor = replace(reader.tensors[codes.name], name=name, height=shape[1], width=shape[2])
    reader.append(MaxPool(name=name, input=codes.name, output=name, kernel=window.kernel, stride=window.stride,
                          padding=window.padding, padding_end=window.padding_end, hi=(1 << tensor.bits) - 1), tensor,
                  finding_of(step.where, name))
    return Codes(name, codes.grid, shape)


def _clipped(reader, step, view):
    """The fused activation of what rounds nothing."""
    grid = step.grid()
    return reader.table(view, np.clip(np.arange(grid.low, grid.high + 1), *step.limits()), grid, step)


def _mean(total, count):
    """As the kernels divide: to the nearest, halves away from zero."""
    return np.where(total > 0, (total + count // 2) // count, -((count // 2 - total) // count))


@reads("AVERAGE_POOL_2D")
def _average(reader: Reader, step: Step) -> View:
    view, grid = step.view(0), step.grid()
    reader.check_same(step, view)
    codes, kernel = reader.settle(view, step.where), (int(step.option("filterHeight", 1)),
                                                      int(step.option("filterWidth", 1)))
    window = window_of(step, codes.shape[1:], kernel)
    counts = window.over(np.ones((1, 1, *codes.shape[1:]), np.int64), 0).sum((4, 5))[0, 0]
    if (counts != counts.flat[0]).any():
        return mapped(_uneven(reader, step, codes, window, counts))
    count = int(counts.flat[0])
    made = _of_ones(step, codes, window, grid.scale / count,
                    lambda acc, res, pick: _mean(acc + count * grid.zero, count))
    return mapped(reader.round(made, grid, step.limits()))


def _of_ones(step, codes, window, factor, exact):
    channels = codes.shape[0]
    return Sum(step.where, step.name, codes, np.ones((channels, 1, *window.kernel), np.int64), window,
               np.full(channels, factor), np.zeros(channels), exact=exact)


def _uneven(reader, step, codes, window, counts):
    """Averages whose windows reach over the border, where fewer values count: a multiplier for each number of them."""
    grid, (low, high) = step.grid(), step.limits()
    shift = largest_shift(1 / counts.min())
    mults, off, total, most = np.zeros(counts.shape, np.int32), 0, 0, 0
    for count in np.unique(counts).tolist():
        sums = np.arange(count * (grid.low - grid.zero), count * (grid.high - grid.zero) + 1)
        right = np.clip(_mean(sums + count * grid.zero, count), low, high)
        tried = np.clip(round(2 ** shift / count) + np.arange(-NEAR, NEAR + 1), 0, (1 << MULT_BITS) - 1)
        made = np.clip((sums * tried[:, None] + (1 << shift - 1) >> shift) + grid.zero, low, high)
        best = int((made != right).sum(1).argmin())
        mults[counts == count] = tried[best]
        off, total = off + int((made[best] != right).sum()), total + len(sums)
        most = max(most, int(np.abs(made[best] - right).max()))
    name, shape = reader.unique(step.name), (codes.shape[0], *counts.shape)
    node = AveragePool(name=name, input=codes.name, output=name, kernel=window.kernel, stride=window.stride,
                       padding=window.padding, padding_end=window.padding_end, mult=int(mults.max()), shift=shift,
                       mults=mults, lo=low - grid.low, hi=high - grid.low)

    def source(network, codes, change=0.0):
        found = window.over(codes - codes_zero, 0).sum((4, 5))
        return np.clip(_mean(found + counts * grid.zero, counts), low, high) - grid.low
    codes_zero = grid.zero - grid.low
    reader.append(node, codes_tensor(name, shape, grid), finding_of(step.where, name, off / total, most, source=source))
    return Codes(name, grid, shape)


def _over_space(step, view):
    """(window of the whole map, file's shape of the result) of a reduction over all dimensions but the last."""
    rank = view.index.ndim
    axes = {axis % rank for axis in step.ints(1)}
    left = [at for at in range(rank - 1) if at not in axes and view.index.shape[at] > 1]
    if rank - 1 in axes or left:
        step.refuse(f"reduces the dimensions {sorted(axes)} of {'x'.join(map(str, view.index.shape))} values: rows and "
                    "columns together are supported")
    keeps = bool(step.option("keepDims", False))
    shape = tuple(1 if at in axes else size for at, size in enumerate(view.index.shape) if keeps or at not in axes)
    return Window(four(view.index.shape, step.where)[:2]), shape


@reads("MEAN")
def _reduced(reader: Reader, step: Step) -> View:
    view, grid = step.view(0), step.grid()
    window, shape = _over_space(step, view)
    codes = reader.settle(view, step.where)
    source, count = step.grid_in(0), int(np.prod(window.kernel))
    mult, shift = multiplier(float(np.float32(source.scale)) / float(np.float32(grid.scale)))
    down = min(count.bit_length() - 1, 32, 31 + int(shift))
    mult, shift = (mult << down) // count, shift - down
    made = _of_ones(step, codes, window, source.scale / count,
                    lambda acc, res, pick: times(acc, mult, shift) + grid.zero)
    return whole(reader.round(made, grid, (grid.low, grid.high)), shape)


@reads("REDUCE_MAX")
def _reduced_maximum(reader: Reader, step: Step) -> View:
    view = step.view(0)
    reader.check_same(step, view)
    window, shape = _over_space(step, view)
    return whole(_maxima(reader, step, reader.settle(view, step.where), window), shape)
