"""Kernel windows over a map, and what requantizes their sums: shared by the operators that have them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import AlloyError

__all__ = ["MULT_BITS", "BIAS_BITS", "SHIFT_MAX", "map_size", "windows", "check_window", "check_clip", "pair"]

MULT_BITS = 16          # requantizer multiplier, unsigned
BIAS_BITS = 47          # requantizer bias, signed
SHIFT_MAX = 46


def map_size(size: Sequence[int], kernel: Sequence[int], stride: Sequence[int],
             padding: Sequence[int]) -> tuple[int, int]:
    """(rows, columns) of the output for a map of ``size``; each argument is (vertical, horizontal)."""
    rows, cols = ((s + 2 * p - k) // st + 1 for s, k, st, p in zip(size, kernel, stride, padding, strict=True))
    return rows, cols


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """(vertical, horizontal) of what PyTorch lets be one number for both."""
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])


def windows(codes: np.ndarray, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int],
            fill: int) -> np.ndarray:
    """Kernel windows of (N, C, H, W) as a view (N, C, rows, cols, kernel_h, kernel_w); padding reads ``fill``."""
    padded = np.pad(codes, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2), constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))
    return view[:, :, ::stride[0], ::stride[1]]


def check_window(node: Any) -> None:
    """A window that moves."""
    if min(node.stride) < 1 or min(node.padding) < 0:
        raise AlloyError(f"layer {node.name} has stride {node.stride} and padding {node.padding}: strides are 1 or "
                         "more, padding 0 or more")


def check_clip(node: Any, bits: int, what: str) -> None:
    """Shift, and a clip to ``lo`` and ``hi`` within the ``bits`` of ``what``."""
    if not 0 <= node.lo <= node.hi < 1 << bits:
        raise AlloyError(f"layer {node.name} clips to {node.lo}..{node.hi}, outside the {bits} bits of {what}")
    if not 1 <= node.shift <= SHIFT_MAX:
        raise AlloyError(f"layer {node.name} shifts by {node.shift}: the requantizer shifts by 1 to {SHIFT_MAX}")
