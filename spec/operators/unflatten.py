"""A map from the values of a vector, such as behind the first linear layer of a decoder."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import AlloyError
from .operator import Layer, Operator, register
from .windows import Window

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["Unflatten", "UnflattenLayer"]


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Unflatten(Operator):
    """``out[c, y, x] = a[index[c, y, x]]`` of a source of one pixel, the code of 0 where the index is -1.

    Attributes
    ----------
    index : int32 array (out_channels, height, width), channels of the source
    """
    index: np.ndarray
    kind = "unflatten"

    def shape(self, network: "Network") -> tuple[int, int, int]:
        if self.index.ndim != 3:
            raise AlloyError(f"layer {self.name} has an index of {self.index.ndim} dimensions: give it the 3 of a map")
        return self.index.shape

    def check(self, network: "Network") -> None:
        source, out = network.tensors[self.input], network.tensors[self.output]
        super().check(network)
        if source.shape[1:] != (1, 1):
            raise AlloyError(f"layer {self.name} makes a map of one of {source.height}x{source.width} pixels: its "
                             "source has one")
        if self.index.min() < -1 or self.index.max() >= source.channels:
            raise AlloyError(f"layer {self.name} takes the values {self.index.min()}..{self.index.max()} of "
                             f"{source.channels}")
        if (source.bits, source.zero) != (out.bits, out.zero):
            raise AlloyError(f"layer {self.name} changes bits or zero point of what it moves")

    def run(self, network: "Network", *codes: np.ndarray) -> np.ndarray:
        given, = codes
        return np.where(self.index >= 0, given[:, :, 0, 0][:, self.index], network.tensors[self.input].zero)

    def lower(self, builder: Any) -> None:
        """A convolution whose window covers the whole output: each of its positions sees the one pixel at a tap of its
        own."""
        (channels, height, width), (c, y, x) = self.index.shape, np.nonzero(self.index >= 0)
        weight = np.zeros((channels, builder.channels(self.input), height, width), np.int64)
        weight[c, self.index[c, y, x], height - 1 - y, width - 1 - x] = 1
        builder.select(self, weight, Window((height, width), (1, 1), (height - 1, width - 1)))


@register
@dataclass(eq=False, kw_only=True)
class UnflattenLayer(Layer):
    """The same of real values; ``channels`` are those of the source."""
    channels: int
    index: np.ndarray

    keeps = True

    def shape(self, *shapes: tuple[int, int, int]) -> tuple[int, int, int]:
        count, height, width = self.index.shape
        return count, height, width

    def apply(self, torch: Any, *sources: Any) -> Any:
        index = torch.from_numpy(self.index).long().to(sources[0].device)
        return sources[0].flatten(1)[:, index.clamp_min(0)] * (index >= 0).to(sources[0])

    def origins(self, *channels: int) -> list[np.ndarray]:
        return [self.index.reshape(len(self.index), -1).T]

    def needs(self, live: Any) -> list[Any]:
        needed = live.new_zeros(self.channels)
        taken = self.index[live.numpy()]
        needed[taken[taken >= 0]] = True
        return [needed]

    def export(self, net: Any) -> Unflatten:
        return Unflatten(name=self.name, input=self.input, output=self.output, index=self.index.astype(np.int32))
