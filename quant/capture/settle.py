"""Views as layers: what moves values and no layer takes into its weights is done by selections and spreads."""

from collections.abc import Iterator
import math

import numpy as np

from spec.operators import Layer
from spec.operators.select import SelectLayer
from spec.operators.spread import SpreadLayer
from spec.operators.unflatten import UnflattenLayer

__all__ = ["bordered", "maps_of", "moves"]

FURTHEST = 8        # pixels that one selection brings together
LEVELS = 4          # of channels that become pixels
LARGEST = 1 << 25   # number of its weights


def maps_of(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The maps (C, H, W) that a tensor of this ``shape`` can be: a sequence may be one of any number of rows."""
    if 1 <= len(shape) <= 3:
        yield *shape, *(1,) * (3 - len(shape))
    if len(shape) == 2:
        yield from ((shape[0], rows, shape[1] // rows) for rows in range(1, shape[1]) if shape[1] % rows == 0)


def moves(index: np.ndarray, size: tuple[int, int, int], levels: int = LEVELS) -> list[Layer] | None:
    """Layers, to be applied one after the other, that make of a value of ``size`` (C, H, W) the map whose elements
    stand at ``index`` (C', H', W') in it, zeros at -1; None if there are none."""
    if index.shape == size and np.array_equal(index.ravel(), np.arange(index.size)):
        return []
    selected = _selection(index, size)
    if selected is not None:
        return [selected]
    for up, planes in _planes(index):
        if all(np.array_equal(planes[0], plane) for plane in planes):
            before = moves(planes[0], size, levels)
            if before is not None:
                return [*before, SpreadLayer(name="", sources=(), output="", up=up)]
    (rows, up_y, taken_y), (cols, up_x, taken_x) = (_repeated(index, axis) for axis in (1, 2))
    if max(taken_y.step, taken_x.step) > 1 < min(up_y, up_x):   # one after the other: the maps between are smaller
        rows, up_y, taken_y = np.arange(index.shape[1]), 1, slice(0, None, 1)
    full = len(index), len(rows) * up_y, len(cols) * up_x
    if max(up_y, up_x) > 1 and math.prod(full) <= LARGEST:
        before = moves(index[:, rows][:, :, cols], size, levels)
        cut = _selection(np.arange(math.prod(full)).reshape(full)[
            :, taken_y, taken_x][:, :index.shape[1], :index.shape[2]], full)
        if before is not None and cut is not None:
            return [*before, SpreadLayer(name="", sources=(), output="", up=(up_y, up_x)), cut]
    for up, planes in sorted(_planes(index), key=lambda found: not _grown(index, size, found[0])) if levels else ():
        # The map has grown, but for what was cut off.
        near = all(2 * rows > before * count for rows, before, count in zip(index.shape[1:], size[1:], up, strict=True))
        before = moves(np.concatenate(planes), size, levels - 1) if near else None
        if before is not None:
            return [*before, SpreadLayer(name="", sources=(), output="", up=up, apart=True)]
    if size[1:] == (1, 1) and index.size * size[0] <= LARGEST:
        return [UnflattenLayer(name="", sources=(), output="", channels=size[0], index=index)]
    return None


def _repeated(index: np.ndarray, axis: int) -> tuple[np.ndarray, int, slice]:
    """Rows or columns of an ``index`` of which the others repeat the nearest: their places, how often each stands in a
    map that is larger, and the rows or columns of that of which the ``index`` is made."""
    along = np.moveaxis(index, axis, 0)
    begins = np.flatnonzero([True, *(along[1:] != along[:-1]).any((1, 2))])
    count, longest = len(along), int(np.diff([*begins, len(along)]).max())
    run, place = np.searchsorted(begins, np.arange(count), "right") - 1, np.arange(count)
    # Cut off; the nearest, whose places are those of corners, or of middles.
    for up, step, start in ((longest, 1, 0), (count, len(begins), 0), (2 * count, 2 * len(begins), len(begins))):
        shared = math.gcd(up, step, start)
        if np.array_equal((place * step + start) // up, run):
            return begins, up // shared, slice(start // shared, None, step // shared)
    return place, 1, slice(0, None, 1)


def _planes(index: np.ndarray) -> Iterator[tuple[tuple[int, int], list[np.ndarray]]]:
    """The ways to split a map by the remainders of rows and columns, and the parts."""
    for count in _primes(max(index.shape[1:])):
        for up in ((count, count), (count, 1), (1, count)):
            if index.shape[1] % up[0] == index.shape[2] % up[1] == 0:
                yield up, [index[:, y::up[0], x::up[1]] for y, x in np.ndindex(*up)]


def _grown(index, size, up):
    """Whether a map of ``size`` may have become ``index`` by ``up`` pixels of one, and others."""
    return index.shape[1] % (size[1] * up[0]) == index.shape[2] % (size[2] * up[1]) == 0


def _primes(most: int) -> Iterator[int]:
    """Those up to ``most``."""
    found: list[int] = []
    for number in range(2, most + 1):
        if all(number % prime for prime in found):
            found.append(number)
            yield number


def _selection(index: np.ndarray, size: tuple[int, int, int]) -> SelectLayer | None:
    """The selection that makes all of it, if there is one."""
    channels, height, width = size
    valid = index >= 0
    channel, row, col = np.unravel_index(np.where(valid, index, 0), size)
    strides = _stride(row, valid, 1), _stride(col, valid, 2)
    if strides[0] is None or strides[1] is None:
        return None
    used = valid.any((1, 2))
    first = valid.reshape(len(index), -1).argmax(1)
    y, x = np.divmod(first, index.shape[2])
    at = np.arange(len(index)), y, x
    rows, cols = (np.where(used, position[at] - start * stride, 0)
                  for position, start, stride in zip((row, col), (y, x), strides, strict=True))
    rows, cols = (np.where(used, position, position[used][0] if used.any() else 0) for position in (rows, cols))
    layer = SelectLayer(name="", sources=(), output="", channels=channels, channel=np.where(used, channel[at], -1),
                        row=rows, col=cols, size=index.shape[1:], stride=(strides[0], strides[1]))
    reach = [int(position.max() - position.min()) + 1 for position in (rows, cols)]
    near = max(reach) <= FURTHEST and len(index) * channels * reach[0] * reach[1] <= LARGEST
    return layer if near and np.array_equal(layer.index(height, width), index) else None


def _stride(at: np.ndarray, valid: np.ndarray, axis: int) -> int | None:
    """By how much the places ``at`` grow along an axis, 1 where there are none; None if not by the same, or not."""
    both = np.logical_and(*(np.moveaxis(valid, axis, 0)[part] for part in (slice(1, None), slice(None, -1))))
    steps = np.diff(np.moveaxis(at, axis, 0), axis=0)[both]
    if not len(steps):
        return 1
    return int(steps[0]) if steps[0] > 0 and (steps == steps[0]).all() else None


def bordered(index: np.ndarray) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]] | None:
    """Of an ``index`` (N, C, H, W) that is a map with zeros around it: that of the map, and how many rows and columns
    of zeros stand above and left, below and right; None for others."""
    if index.ndim != 4 or (index < 0).all():
        return None
    rows, cols = (np.flatnonzero((index >= 0).any(axes)) for axes in ((0, 1, 3), (0, 1, 2)))
    inner = index[:, :, rows[0]:rows[-1] + 1, cols[0]:cols[-1] + 1]
    if (inner < 0).any():
        return None
    return np.ascontiguousarray(inner), (int(rows[0]), int(cols[0])), (
        int(index.shape[2] - 1 - rows[-1]), int(index.shape[3] - 1 - cols[-1]))
