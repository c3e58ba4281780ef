"""Pixels that become several: nearest upsampling, and channels that become pixels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import AlloyError
from .operator import Layer, Operator, register

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["Spread", "SpreadLayer"]


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Spread(Operator):
    """Each pixel becomes ``up`` (vertical, horizontal) pixels: ``out[c, y, x] = a[c, y // up_y, x // up_x]``.
    If they are ``apart`` in the channels of the input, which are those of the first pixel, then those of the one right
    of it and so on, ``out[c, y, x] = a[(y % up_y * up_x + x % up_x) * C + c, y // up_y, x // up_x]``."""
    up: tuple[int, int]
    apart: bool = False
    kind = "spread"

    def shape(self, network: "Network") -> tuple[int, int, int]:
        channels, height, width = network.tensors[self.input].shape
        parts = self.up[0] * self.up[1] if self.apart else 1
        if min(self.up) < 1:
            raise AlloyError(f"layer {self.name} makes {self.up[0]}x{self.up[1]} pixels of one: 1 or more in each "
                             "direction are needed")
        if channels % parts:
            raise AlloyError(f"layer {self.name} makes {parts} pixels of {channels} channels, which they do not share")
        return channels // parts, height * self.up[0], width * self.up[1]

    def check(self, network: "Network") -> None:
        super().check(network)
        source, out = network.tensors[self.input], network.tensors[self.output]
        if (source.bits, source.zero) != (out.bits, out.zero):
            raise AlloyError(f"layer {self.name} changes bits or zero point of what it spreads")

    def run(self, network: "Network", *codes: np.ndarray) -> np.ndarray:
        channels, height, width = network.tensors[self.output].shape
        out = np.zeros((len(codes[0]), channels, height, width), np.int64)
        for part, (y, x) in enumerate(np.ndindex(*self.up)):
            first = part * channels if self.apart else 0
            out[:, :, y::self.up[0], x::self.up[1]] = codes[0][:, first:first + channels]
        return out

    def lower(self, builder: Any) -> None:
        builder.spread(self, self.up, apart=self.apart)


@register
@dataclass(eq=False, kw_only=True)
class SpreadLayer(Layer):
    """The same of real values."""
    up: tuple[int, int]
    apart: bool = False

    keeps = True

    @property
    def parts(self) -> int:
        """Channels of the source for each of the output."""
        return self.up[0] * self.up[1] if self.apart else 1

    def shape(self, *shapes: tuple[int, int, int]) -> tuple[int, int, int]:
        channels, height, width = shapes[0]
        return channels // self.parts, height * self.up[0], width * self.up[1]

    def apply(self, torch: Any, *sources: Any) -> Any:
        if not self.apart:
            return sources[0].repeat_interleave(self.up[0], 2).repeat_interleave(self.up[1], 3)
        x = sources[0].unflatten(1, (*self.up, -1))         # (N, up_y, up_x, C, H, W)
        return x.permute(0, 3, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)

    def origins(self, *channels: int) -> list[np.ndarray]:
        return [np.arange(channels[0]).reshape(self.parts, -1)]

    def needs(self, live: Any) -> list[Any]:
        return [live.repeat(self.parts)]

    def export(self, net: Any) -> Spread:
        return Spread(name=self.name, input=self.input, output=self.output, up=self.up, apart=self.apart)
