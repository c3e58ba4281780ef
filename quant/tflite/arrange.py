"""Steps of the engine that put values where an operator wants them."""

from typing import NamedTuple

import numpy as np

from spec.operators.select import SelectLayer

__all__ = ["Border", "Chosen", "apart", "border", "chosen", "is_whole", "repeated"]

UPS = tuple(up for count in (2, 3, 5, 7) for up in ((count, count), (count, 1), (1, count)))


class Chosen(NamedTuple):
    """Of :class:`spec.operators.select.Select`."""
    channel: np.ndarray
    row: np.ndarray
    col: np.ndarray
    size: tuple[int, int]
    stride: tuple[int, int]


class Border(NamedTuple):
    """Pixels around a map: above and left, below and right."""
    before: tuple[int, int] = (0, 0)
    behind: tuple[int, int] = (0, 0)


def is_whole(wanted: np.ndarray, shape: tuple[int, int, int]) -> bool:
    """Whether an index (C, H, W) is that of all values of a tensor of ``shape``, in order."""
    return wanted.shape == shape and np.array_equal(wanted.ravel(), np.arange(wanted.size))


def border(wanted: np.ndarray, shape: tuple[int, int, int]) -> Border | None:
    """What is around the whole tensor in ``wanted``, (C, H, W), -1 for the code of 0; None if that is something
    else."""
    rows, cols = (np.flatnonzero((wanted >= 0).any(axis)) for axis in ((0, 2), (0, 1)))
    if not len(rows):
        return None
    inner = wanted[:, rows[0]:rows[-1] + 1, cols[0]:cols[-1] + 1]
    if not is_whole(inner, shape):
        return None
    return Border((int(rows[0]), int(cols[0])), (wanted.shape[1] - int(rows[-1]) - 1,
                                                 wanted.shape[2] - int(cols[-1]) - 1))


def chosen(wanted: np.ndarray, shape: tuple[int, int, int]) -> Chosen | None:
    """The index ``wanted`` (C, H, W) as one selection from a tensor of ``shape``; None if they are none."""
    valid = wanted >= 0
    found = np.unravel_index(np.maximum(wanted, 0), shape)
    strides, starts = [], []
    for axis in (1, 2):
        both = np.take(valid, range(1, valid.shape[axis]), axis) & np.take(valid, range(valid.shape[axis] - 1), axis)
        steps = np.unique(np.diff(found[axis], axis=axis)[both])
        if len(steps) > 1 or len(steps) and steps[0] < 1:
            return None
        strides.append(int(steps[0]) if len(steps) else 1)
        at = np.arange(wanted.shape[axis]).reshape(-1, 1) if axis == 1 else np.arange(wanted.shape[axis])
        starts.append(_largest(found[axis] - at * strides[-1], valid, 0))
    made = Chosen(_largest(found[0], valid, -1), starts[0], starts[1], wanted.shape[1:], (strides[0], strides[1]))
    layer = SelectLayer(name="", sources=("",), output="", channels=shape[0], **made._asdict())
    return made if np.array_equal(layer.index(*shape[1:]), wanted) else None


def _largest(values, valid, default):
    """(C,) of values (C, H, W), among those that are valid."""
    low = np.iinfo(np.int32).min
    top = np.where(valid, values, low).max((1, 2))
    return np.where(top == low, default, top).astype(np.int32)


def repeated(wanted: np.ndarray) -> tuple[tuple[int, int], np.ndarray] | None:
    """(up, index) of the tensor whose pixels are repeated; None if they are not."""
    for up in UPS:
        inner = wanted[:, ::up[0], ::up[1]]
        if inner.size < wanted.size and np.array_equal(inner.repeat(up[0], 1).repeat(up[1], 2)[
                :, :wanted.shape[1], :wanted.shape[2]], wanted) and inner.size * up[0] * up[1] == wanted.size:
            return up, inner
    return None


def apart(wanted: np.ndarray, shape: tuple[int, int, int]) -> tuple[tuple[int, int], np.ndarray] | None:
    """(up, index) of the tensor of ``shape`` or a selection from it whose channels become neighbouring pixels; None if
    there is none."""
    for up in UPS:
        if wanted.shape[1] % up[0] or wanted.shape[2] % up[1]:
            continue
        inner = np.concatenate([wanted[:, y::up[0], x::up[1]] for y, x in np.ndindex(*up)])
        if is_whole(inner, shape) or chosen(inner, shape):
            return up, inner
    return None
