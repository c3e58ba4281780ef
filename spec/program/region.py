"""How tensors lie in DRAM, and how the host makes the engine's input of an image."""

from dataclasses import dataclass

import numpy as np

from ..errors import AlloyError
from ..operators.windows import Window
from ..records import check_types

__all__ = ["Fold", "Region"]


@dataclass(frozen=True)
class Fold(Window):
    """How the host turns an image (C, H, W) into the engine's input: kernel positions become channels."""
    kernel: tuple[int, int] = (1, 1)
    zero: int = 0

    def __post_init__(self):
        check_types(self, "fold")

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """(C, H, W) to (C*kernel_h*kernel_w, rows, columns); padding becomes the zero point."""
        view = self.over(codes[None], self.zero)[0]
        return view.transpose(0, 3, 4, 1, 2).reshape(-1, *view.shape[1:3])


HOLE = -1           # in the order of channels: a position without one


@dataclass(frozen=True)
class Region:
    """A tensor in DRAM: rows of ``stride`` bytes, in each pixel ``groups`` groups of ``group_bytes``.

    ``order[position]`` is the channel at a position, :data:`HOLE` where there is none; ``ic`` positions make a group.
    """
    offset: int
    channels: int
    height: int
    width: int
    groups: int
    group_bytes: int
    ic: int
    order: tuple[int, ...]

    def __post_init__(self):
        check_types(self, "region")
        fits = 1 <= self.ic <= self.group_bytes and len(self.order) <= self.groups * self.ic
        if min(self.channels, self.height, self.width) < 1 or not fits:
            raise AlloyError(f"region of {self.channels}x{self.height}x{self.width} does not fit {self.groups} groups "
                             f"of {self.ic} channels in {self.group_bytes} bytes")
        held = [channel for channel in self.order if channel != HOLE]
        if len(held) != self.channels or sorted(held) != list(range(self.channels)):
            raise AlloyError(f"region of {self.channels} channels has an order that is not one of them")

    @property
    def stride(self) -> int:
        """Bytes of one row."""
        return self.width * self.groups * self.group_bytes

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        return self.height * self.stride

    def pack(self, codes: np.ndarray) -> bytes:
        """Codes (C, H, W) to the bytes of the region."""
        out = np.zeros((self.height, self.width, self.groups, self.group_bytes), np.uint8)
        flat = np.zeros((self.height, self.width, self.groups * self.ic), np.uint8)
        flat[..., self._positions] = np.asarray(codes).transpose(1, 2, 0)
        out[..., :self.ic] = flat.reshape(self.height, self.width, self.groups, self.ic)
        return out.tobytes()

    def unpack(self, data: bytes) -> np.ndarray:
        """Inverse of :meth:`pack`: int64 (C, H, W)."""
        whole = np.frombuffer(data, np.uint8).reshape(self.height, self.width, self.groups, self.group_bytes)
        flat = whole[..., :self.ic].reshape(self.height, self.width, -1)
        return flat[..., self._positions].transpose(2, 0, 1).astype(np.int64)

    @property
    def _positions(self) -> np.ndarray:
        """Of each channel."""
        return np.argsort(self.order, kind="stable")[-self.channels:]
