"""Operators that put values elsewhere: what they do to an array says what they do to a tensor, whose array has the
position of each value."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ..grids.draft import LARGEST
from .step import Step

__all__ = ["MOVES"]

Arrays = np.ndarray | tuple[np.ndarray, ...]
MOVES: dict[str, Callable[[Step, np.ndarray], Arrays]] = {}


def moves(*op_types: str) -> Callable:
    """Decorator: does operators of these names to an array, which has -1 where there is the code of 0."""
    def enter(one):
        MOVES.update(dict.fromkeys(op_types, one))
        return one
    return enter


def _sized(step, shape):
    """A shape that fits into memory."""
    if min(shape, default=1) < 0 or prod(shape) > LARGEST:
        step.refuse(f"makes {'x'.join(map(str, shape))} values, which is not supported: {LARGEST} are the most")
    return tuple(shape)


@moves("RESHAPE")
def _reshape(step: Step, x: np.ndarray) -> np.ndarray:
    shape = step.ints(1) if step.has(1) else [int(one) for one in step.option("newShape", [])]
    return x.reshape(shape)


@moves("SQUEEZE")
def _squeeze(step: Step, x: np.ndarray) -> np.ndarray:
    axes = [int(one) for one in step.option("squeezeDims", None) or []]
    return x.squeeze(tuple(axes) if axes else None)


@moves("EXPAND_DIMS")
def _expand_dims(step: Step, x: np.ndarray) -> np.ndarray:
    return np.expand_dims(x, step.ints(1)[0])


@moves("TRANSPOSE")
def _transpose(step: Step, x: np.ndarray) -> np.ndarray:
    return x.transpose(step.ints(1))


@moves("PAD", "PADV2")
def _pad(step: Step, x: np.ndarray) -> np.ndarray:
    width = np.array(step.ints(1)).reshape(-1, 2)
    if (width < 0).any() or len(width) != x.ndim:
        step.refuse(f"pads {x.ndim} dimensions by {width.tolist()}: widths are 0 or more, two for each dimension")
    _sized(step, (np.array(x.shape) + width.sum(1)).tolist())
    return np.pad(x, width, constant_values=-1)


@moves("SLICE")
def _slice(step: Step, x: np.ndarray) -> np.ndarray:
    return x[tuple(slice(begin, None if size < 0 else begin + size) for begin, size in zip(
        step.ints(1), step.ints(2), strict=True))]


@moves("STRIDED_SLICE")
def _strided_slice(step: Step, x: np.ndarray) -> np.ndarray:
    masks = {name: int(step.option(f"{name}Mask", 0)) for name in (
        "begin", "end", "ellipsis", "newAxis", "shrinkAxis")}
    chosen: list[Any] = []
    for at, (begin, end, stride) in enumerate(zip(step.ints(1), step.ints(2), step.ints(3), strict=True)):
        masked = {name for name, bits in masks.items() if bits >> at & 1}
        if "ellipsis" in masked:
            chosen.append(Ellipsis)
        elif "newAxis" in masked:
            chosen.append(np.newaxis)
        elif "shrinkAxis" in masked:
            chosen.append(begin)
        else:
            stop = begin + end if step.option("offset", False) else end
            chosen.append(slice(None if "begin" in masked else begin, None if "end" in masked else stop, stride))
    return x[tuple(chosen)]


@moves("SPLIT")
def _split(step: Step, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.split(x, int(step.option("numSplits", 1)), step.ints(0)[0]))


@moves("SPLIT_V")
def _split_sizes(step: Step, x: np.ndarray) -> tuple[np.ndarray, ...]:
    sizes, axis = step.ints(1), step.ints(2)[0]
    left = x.shape[axis] - sum(size for size in sizes if size >= 0)
    return tuple(np.split(x, np.cumsum([left if size < 0 else size for size in sizes])[:-1], axis))


@moves("UNPACK")
def _unpack(step: Step, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.moveaxis(x, int(step.option("axis", 0)), 0))


@moves("GATHER")
def _gather(step: Step, x: np.ndarray) -> np.ndarray:
    if step.option("batchDims", 0):
        step.refuse("takes other values for each image of a batch, which is not supported: use batch_dims=0")
    return np.take(x, np.array(step.ints(1)).reshape(step.array(1).shape), int(step.option("axis", 0)))


@moves("DEPTH_TO_SPACE")
def _depth_to_space(step: Step, x: np.ndarray) -> np.ndarray:
    size, (batch, rows, cols, channels) = int(step.option("blockSize", 1)), x.shape
    parts = x.reshape(batch, rows, cols, size, size, channels // size ** 2)
    return parts.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows * size, cols * size, -1)


@moves("SPACE_TO_DEPTH")
def _space_to_depth(step: Step, x: np.ndarray) -> np.ndarray:
    size, (batch, rows, cols, _) = int(step.option("blockSize", 1)), x.shape
    parts = x.reshape(batch, rows // size, size, cols // size, size, -1)
    return parts.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows // size, cols // size, -1)


@moves("RESIZE_NEAREST_NEIGHBOR")
def _resize(step: Step, x: np.ndarray) -> np.ndarray:
    sizes, corners, half = step.ints(1), step.option("alignCorners", False), step.option("halfPixelCenters", False)
    _sized(step, (x.shape[0], *sizes, x.shape[3]))
    for axis, size in enumerate(sizes, 1):
        old = x.shape[axis]
        scale = np.float32(old - 1) / np.float32(size - 1) if corners and size > 1 else (
            np.float32(old) / np.float32(size))
        at = (np.arange(size, dtype=np.float32) + np.float32(0.5 if half else 0)) * scale
        positions = np.floor(at + np.float32(0.5)) if corners else np.floor(at)
        x = np.take(x, np.minimum(positions.astype(np.int64), old - 1), axis)
    return x
