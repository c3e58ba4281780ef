"""Kernel windows over a map, and what requantizes their sums: shared by the operators that have them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import AlloyError

__all__ = ["MULT_BITS", "BIAS_BITS", "SHIFT_MAX", "Window", "check_window", "check_clip", "pair"]

MULT_BITS = 16          # requantizer multiplier, unsigned
BIAS_BITS = 47          # requantizer bias, signed
SHIFT_MAX = 46


@dataclass(frozen=True)
class Window:
    """How a kernel moves over a map; every pair is (vertical, horizontal).

    Attributes
    ----------
    padding, padding_end : pixels around the map, above and left, and below and right; None: as at the other side. What
        is less than 0 is cut off.
    dilation : distance of two positions of the kernel.
    """
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    padding_end: tuple[int, int] | None = None
    dilation: tuple[int, int] = (1, 1)

    @classmethod
    def of(cls, thing: Any) -> "Window":
        """That of what has attributes of these names: a node, a layer, an operation."""
        rows, cols = thing.kernel
        return cls((rows, cols), thing.stride, thing.padding, thing.padding_end, thing.dilation)

    @property
    def end(self) -> tuple[int, int]:
        """Padding below and right."""
        return self.padding if self.padding_end is None else self.padding_end

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns of the map from the first position of the kernel to the last."""
        rows, cols = ((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))
        return rows, cols

    def size(self, size: Sequence[int]) -> tuple[int, int]:
        """(rows, columns) of the output for a map of ``size``."""
        rows, cols = ((s + p + e - r) // st + 1 for s, p, e, r, st in zip(
            size, self.padding, self.end, self.reach, self.stride, strict=True))
        return rows, cols

    def over(self, codes: np.ndarray, fill: int) -> np.ndarray:
        """The windows of (N, C, H, W): (N, C, rows, cols, kernel_h, kernel_w), a view; padding reads ``fill``."""
        around = [(0, 0), (0, 0), *zip(self.padding, self.end, strict=True)]
        kept = codes[tuple(slice(max(0, -lo), size - max(0, -hi)) for (lo, hi), size in zip(
            around, codes.shape, strict=True))]
        padded = np.pad(kept, [(max(0, lo), max(0, hi)) for lo, hi in around], constant_values=fill)
        view = np.lib.stride_tricks.sliding_window_view(padded, self.reach, axis=(2, 3))
        return view[:, :, ::self.stride[0], ::self.stride[1], ::self.dilation[0], ::self.dilation[1]]

    def padded(self, torch: Any, x: Any, value: float = 0.0) -> tuple[Any, tuple[int, int]]:
        """(the tensor, the padding that is left to a function of PyTorch, which pads both sides alike)."""
        if self.end == self.padding:
            return x, self.padding
        (top, left), (bottom, right) = self.padding, self.end
        return torch.nn.functional.pad(x, (left, right, top, bottom), value=value), (0, 0)


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """(vertical, horizontal) of what PyTorch lets be one number for both."""
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])


def check_window(node: Any) -> None:
    """A window that moves; its padding has one form where both sides are alike."""
    if node.padding_end == node.padding:
        object.__setattr__(node, "padding_end", None)
    end = node.padding if node.padding_end is None else node.padding_end
    if min(node.stride) < 1 or min(*node.padding, *end) < 0 or min(node.dilation) < 1:
        raise AlloyError(f"layer {node.name} has stride {node.stride}, padding {node.padding} to {end} and dilation "
                         f"{node.dilation}: strides and dilations are 1 or more, padding 0 or more")


def check_clip(node: Any, bits: int, what: str) -> None:
    """Shift, and a clip to ``lo`` and ``hi`` within the ``bits`` of ``what``."""
    if not 0 <= node.lo <= node.hi < 1 << bits:
        raise AlloyError(f"layer {node.name} clips to {node.lo}..{node.hi}, outside the {bits} bits of {what}")
    if not 1 <= node.shift <= SHIFT_MAX:
        raise AlloyError(f"layer {node.name} shifts by {node.shift}: the requantizer shifts by 1 to {SHIFT_MAX}")
