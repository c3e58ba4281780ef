"""How images and tensors lie in DRAM."""

from dataclasses import dataclass

import numpy as np

from ..errors import AlloyError
from ..records import check_types

__all__ = ["HOLE", "Image", "Region"]


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
    def pixel(self) -> int:
        """Bytes of one pixel."""
        return self.groups * self.group_bytes

    @property
    def stride(self) -> int:
        """Bytes of one row."""
        return self.width * self.pixel

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        return self.height * self.stride

    def unpack(self, data: bytes) -> np.ndarray:
        """The codes, int64 (C, H, W), in the bytes of the region."""
        whole = np.frombuffer(data, np.uint8).reshape(self.height, self.width, self.groups, self.group_bytes)
        flat = whole[..., :self.ic].reshape(self.height, self.width, -1)
        return flat[..., self._positions].transpose(2, 0, 1).astype(np.int64)

    @property
    def _positions(self) -> np.ndarray:
        """Of each channel."""
        return np.argsort(self.order, kind="stable")[-self.channels:]


@dataclass(frozen=True)
class Image:
    """An image in DRAM as a camera or a decoder leaves it: rows of ``stride`` bytes, in each ``width`` pixels of
    ``pixel`` bytes, of which the first ``channels`` are codes. What is no code makes no difference."""
    offset: int
    channels: int
    height: int
    width: int
    pixel: int
    stride: int

    def __post_init__(self):
        check_types(self, "image")
        if min(self.channels, self.height, self.width) < 1:
            raise AlloyError(f"the image is {self.channels}x{self.height}x{self.width}: give 1 or more of each")
        if self.pixel < self.channels:
            raise AlloyError(f"a pixel of the image has {self.pixel} bytes and {self.channels} channels: give "
                             f"{self.channels} or more")
        if self.stride < self.width * self.pixel:
            raise AlloyError(f"a row of the image has {self.stride} bytes and {self.width} pixels of {self.pixel}: "
                             f"give {self.width * self.pixel} or more")

    @property
    def size(self) -> int:
        """Bytes from the first pixel to the last."""
        return (self.height - 1) * self.stride + self.width * self.pixel

    def pack(self, codes: np.ndarray) -> bytes:
        """Codes (C, H, W) to the bytes of the image; 0 between them."""
        out = np.zeros((self.height, self.stride), np.uint8)
        pixels = out[:, :self.width * self.pixel].reshape(self.height, self.width, self.pixel)
        pixels[..., :self.channels] = np.asarray(codes).transpose(1, 2, 0)
        return out.tobytes()[:self.size]
