"""Functions that move values, leave some out or repeat them, and constants."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .given import LARGEST, Given, function

__all__: list[str] = []


@function("Dropout")
def _dropout(given: Given, x: Tensor, *rest: Tensor | None) -> Tensor:
    if given.outputs > 1:
        given.refuse("returns its mask, which is not supported: export the model in eval mode")
    return x


@function("Concat")
def _concat(given: Given, *x: Tensor) -> Tensor:
    return torch.cat(x, given.attributes["axis"])


@function("Transpose")
def _transpose(given: Given, x: Tensor) -> Tensor:
    return x.permute(*(given.attributes.get("perm") or range(x.dim())[::-1]))


@function("Reshape")
def _reshape(given: Given, x: Tensor, shape: Tensor) -> Tensor:
    target = given.ints(1) or []
    if not given.attributes.get("allowzero", 0):
        target = [x.shape[axis] if size == 0 else size for axis, size in enumerate(target)]
    # A file for one image, or for a fixed number of them, says that number where it means the batch.
    if target and target[0] == given.batch:
        target[0] = x.shape[0]
    return x.reshape(target)


@function("Flatten")
def _flatten(given: Given, x: Tensor) -> Tensor:
    axis = given.attributes.get("axis", 1)
    return x.flatten(1) if axis == 1 else x.reshape(math.prod(x.shape[:axis]), -1)


@function("Squeeze")
def _squeeze(given: Given, x: Tensor, *rest: Tensor | None) -> Tensor:
    axes = given.ints(1, "axes")
    return x.squeeze([axis for axis, size in enumerate(x.shape) if size == 1] if axes is None else axes)


@function("Unsqueeze")
def _unsqueeze(given: Given, x: Tensor, *rest: Tensor | None) -> Tensor:
    axes = given.ints(1, "axes") or []
    for axis in sorted(axis % (x.dim() + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


@function("Split")
def _split(given: Given, x: Tensor, *rest: Tensor | None) -> tuple[Tensor, ...]:
    axis, sizes = given.attributes.get("axis", 0), given.ints(1, "split")
    count = given.attributes.get("num_outputs", given.outputs)
    return torch.split(x, -(-x.shape[axis] // count) if sizes is None else sizes, axis)


@function("Slice")
def _slice(given: Given, x: Tensor, *rest: Tensor | None) -> Tensor:
    starts, ends = given.ints(1, "starts") or [], given.ints(2, "ends") or []
    axes = given.ints(3, "axes") or list(range(len(starts)))
    steps = given.ints(4, "steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        positions = range(x.shape[axis])[start:end:step]
        if step < 0:
            x, positions = x.flip(axis), range(x.shape[axis])[slice(*_turned(positions, x.shape[axis]))]
        index = [slice(None)] * x.dim()
        index[axis] = slice(positions.start, positions.stop, positions.step)
        x = x[tuple(index)]
    return x


def _turned(positions, size):
    """Start, end and step of descending places, counted from the other end."""
    first = size - 1 - positions.start
    return first, first + len(positions) * -positions.step, -positions.step


@function("Gather")
def _gather(given: Given, x: Tensor, index: Tensor) -> Tensor:
    axis, known = given.attributes.get("axis", 0) % x.dim(), given.constant(1)
    assert known is not None
    positions = np.where(known < 0, known + x.shape[axis], known)
    if known.ndim == 0:
        return x.select(axis, int(positions))
    out = x.index_select(axis, torch.as_tensor(positions.ravel(), device=x.device))
    return out if known.ndim == 1 else out.unflatten(axis, known.shape)


@function("Pad")
def _pad(given: Given, x: Tensor, *rest: Tensor | None) -> Tensor:
    pads, axes = given.ints(1, "pads") or [], given.ints(3, "axes") or list(range(x.dim()))
    both = {axis % x.dim(): (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    first = min((axis for axis, pair in both.items() if any(pair)), default=None)
    if first is None:
        return x
    pairs = [value for axis in reversed(range(first, x.dim())) for value in both.get(axis, (0, 0))]
    mode = {"edge": "replicate", "wrap": "circular"}.get(given.attributes.get("mode", "constant"),
                                                        given.attributes.get("mode", "constant"))
    if mode == "constant":
        return F.pad(x, pairs, value=given.number(2, "value") or 0.0)
    return F.pad(x, pairs, mode=mode)


@function("DepthToSpace", "SpaceToDepth")
def _blocks(given: Given, x: Tensor) -> Tensor:
    block, (count, channels, rows, cols) = given.attributes["blocksize"], x.shape
    if given.op_type == "SpaceToDepth":
        x = x.reshape(count, channels, rows // block, block, cols // block, block).permute(
            *((0, 1, 3, 5, 2, 4) if given.attributes.get("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)))
        return x.reshape(count, -1, rows // block, cols // block)
    if given.attributes.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, block)
    x = x.reshape(count, block, block, -1, rows, cols).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(count, -1, rows * block, cols * block)


@function("Resize", "Upsample")
def _resize(given: Given, x: Tensor, *rest: Tensor | None) -> Tensor:
    sizes, scales = _resized(given, x)
    if sizes[:2] != list(x.shape[:2]) or x.dim() != 4:
        given.refuse("resizes more than rows and columns: only they are supported")
    mode = given.attributes.get("mode", "nearest")
    where = given.attributes.get("coordinate_transformation_mode", "half_pixel" if given.opset > 10 else "asymmetric")
    exact = all(old * scale == new and (where != "pytorch_half_pixel" or new > 1)
                for old, new, scale in zip(x.shape[2:], sizes[2:], scales[2:], strict=True))
    if mode == "linear" and exact and where in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return F.interpolate(x, sizes[2:], mode="bilinear", align_corners=where == "align_corners")
    if mode != "nearest":
        given.refuse(f"resizes with the mode {mode} ({where}), which is not supported: use nearest")
    positions = [_nearest(given, where, *axis) for axis in zip(x.shape[2:], sizes[2:], scales[2:], strict=True)]
    if all(np.array_equal(found, np.arange(new) * old // new) and new % old == 0
           for found, old, new in zip(positions, x.shape[2:], sizes[2:], strict=True)):
        return F.interpolate(x, sizes[2:], mode="nearest")
    for axis, found in enumerate(positions, 2):
        x = x.index_select(axis, torch.as_tensor(found, device=x.device))
    return x


def _resized(given, x):
    """(sizes, scales) of all dimensions after a resize."""
    if given.op_type == "Upsample" or given.opset < 11:
        scales, sizes = given.attributes.get("scales") or given.constant(1), None
    else:
        scales, sizes = given.constant(2), given.constant(3)
    scales = [] if scales is None else [float(one) for one in scales]
    axes = [axis % x.dim() for axis in given.attributes.get("axes") or range(x.dim())]
    full, factors = list(x.shape), [1.0] * x.dim()
    if given.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch" or given.attributes.get("antialias"):
        given.refuse("resizes with antialias or keeps the aspect ratio: leave that out")
    for at, axis in enumerate(axes):
        if scales:
            factors[axis], full[axis] = scales[at], math.floor(x.shape[axis] * scales[at])
        elif sizes is not None and axis:
            full[axis] = int(sizes[at])
            factors[axis] = full[axis] / x.shape[axis]
    return full, factors


def _nearest(given, where, old, new, scale):
    """For each of ``new`` places the one of ``old`` that ONNX takes."""
    at = np.arange(new, dtype=np.float64)
    match where:
        case "asymmetric":
            at = at / scale
        case "align_corners":
            at = at * (old - 1) / max(new - 1, 1)
        case "half_pixel" | "pytorch_half_pixel":
            at = (at + 0.5) / scale - 0.5 if where == "half_pixel" or new > 1 else 0 * at
        case _:
            given.refuse(f"resizes with the coordinates {where}, which is not supported: use asymmetric")
    match given.attributes.get("nearest_mode", "round_prefer_floor" if given.opset > 10 else "floor"):
        case "floor":
            at = np.floor(at)
        case "ceil":
            at = np.ceil(at)
        case "round_prefer_ceil":
            at = np.floor(at + 0.5)
        case _:
            at = np.ceil(at - 0.5)
    return np.clip(at, 0, old - 1).astype(np.int64)


@function("Expand")
def _expand(given: Given, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, given.ints(1) or []))


@function("Tile")
def _tile(given: Given, x: Tensor, *rest: Tensor) -> Tensor:
    return x.repeat(given.ints(1) or [])


@function("ConstantOfShape")
def _constant_of_shape(given: Given, shape: Tensor) -> Tensor:
    sizes, value = given.ints(0) or [], given.attributes.get("value")
    if math.prod(sizes) > LARGEST:
        given.refuse(f"makes a constant of {math.prod(sizes)} values, more than {LARGEST}: make it smaller")
    if value is None:
        return torch.zeros(sizes)
    return torch.full(sizes, value.flatten()[0].item(), dtype=value.dtype)


@function("Range")
def _range(given: Given, *ends: Tensor) -> Tensor:
    start, stop, step = (given.number(index) or 0.0 for index in range(3))
    if not step or abs((stop - start) / step) > LARGEST:
        given.refuse(f"counts from {start:g} to {stop:g} by {step:g}, which are too many values: make it smaller")
    return torch.from_numpy(np.arange(start, stop, step)).to(ends[0].dtype)
