"""Values of a map that are put elsewhere: chosen channels, crops, every second pixel, zeros around a map."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import AlloyError
from .operator import Layer, Operator, register
from .windows import Window

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["Select", "SelectLayer"]


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Select(Operator):
    """``out[c, y, x] = a[channel[c], y * stride_y + row[c], x * stride_x + col[c]]``, the code of 0 outside of the map
    and where the channel is -1.

    Attributes
    ----------
    channel, row, col : int32 arrays (out_channels,)
    stride, size : (vertical, horizontal); ``size`` of the output
    """
    channel: np.ndarray
    row: np.ndarray
    col: np.ndarray
    size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    kind = "select"

    def shape(self, network: "Network") -> tuple[int, int, int]:
        return len(self.channel), *self.size

    def check(self, network: "Network") -> None:
        source, out = network.tensors[self.input], network.tensors[self.output]
        shapes = {values.shape for values in (self.channel, self.row, self.col)}
        if len(shapes) > 1 or self.channel.ndim != 1:
            raise AlloyError(f"layer {self.name} needs one channel, row and col for each of its channels")
        super().check(network)
        if self.channel.min() < -1 or self.channel.max() >= source.channels:
            raise AlloyError(f"layer {self.name} selects channels {self.channel.min()}..{self.channel.max()} of "
                             f"{source.channels}")
        if min(self.stride) < 1:
            raise AlloyError(f"layer {self.name} has stride {self.stride}: strides are 1 or more")
        if (source.bits, source.zero) != (out.bits, out.zero):
            raise AlloyError(f"layer {self.name} changes bits or zero point of what it selects")

    def run(self, network: "Network", *codes: np.ndarray) -> np.ndarray:
        (given,), (_, height, width) = codes, network.tensors[self.input].shape
        out = np.full((len(given), len(self.channel), *self.size), network.tensors[self.input].zero, np.int64)
        for index, channel in enumerate(self.channel.tolist()):
            y = np.arange(self.size[0]) * self.stride[0] + self.row[index]
            x = np.arange(self.size[1]) * self.stride[1] + self.col[index]
            rows, cols = np.flatnonzero((y >= 0) & (y < height)), np.flatnonzero((x >= 0) & (x < width))
            if channel >= 0:
                out[:, index, rows[:, None], cols] = given[:, channel, y[rows][:, None], x[cols]]
        return out

    def lower(self, builder: Any) -> None:
        """A convolution, each of whose filters reads one pixel of one channel."""
        used = np.flatnonzero(self.channel >= 0)
        first = [int(at[used].min()) if len(used) else 0 for at in (self.row, self.col)]
        kernel = [int(at[used].max()) - low + 1 if len(used) else 1 for at, low in zip((self.row, self.col), first,
                                                                                         strict=True)]
        weight = np.zeros((len(self.channel), builder.channels(self.input), *kernel), np.int64)
        weight[used, self.channel[used], self.row[used] - first[0], self.col[used] - first[1]] = 1
        builder.select(self, weight, Window((kernel[0], kernel[1]), self.stride, (-first[0], -first[1])))


@register
@dataclass(eq=False, kw_only=True)
class SelectLayer(Layer):
    """The same of real values; ``channels`` are those of the source."""
    channels: int
    channel: np.ndarray
    row: np.ndarray
    col: np.ndarray
    size: tuple[int, int]
    stride: tuple[int, int]

    keeps = True

    def shape(self, *shapes: tuple[int, int, int]) -> tuple[int, int, int]:
        return len(self.channel), *self.size

    def index(self, height: int, width: int) -> np.ndarray:
        """Where each value of the output stands in a source of ``height`` x ``width`` pixels, flat; -1: it is 0."""
        y, x = (np.arange(size)[None] * stride + at[:, None] for size, stride, at in zip(
            self.size, self.stride, (self.row, self.col), strict=True))
        inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None] & (
            self.channel >= 0)[:, None, None]
        return np.where(inside, (self.channel[:, None] * height + y)[:, :, None] * width + x[:, None], -1)

    def apply(self, torch: Any, *sources: Any) -> Any:
        index = torch.from_numpy(self.index(*sources[0].shape[2:])).to(sources[0].device)
        taken = sources[0].flatten(1)[:, index.clamp_min(0).flatten()].unflatten(1, index.shape)
        return taken * (index >= 0).to(taken)

    def origins(self, *channels: int) -> list[np.ndarray]:
        return [self.channel]

    def needs(self, live: Any) -> list[Any]:
        needed = live.new_zeros(self.channels)
        needed[self.channel[live.numpy() & (self.channel >= 0)]] = True
        return [needed]

    def export(self, net: Any) -> Select:
        return Select(name=self.name, input=self.input, output=self.output, size=self.size, stride=self.stride,
                      channel=self.channel.astype(np.int32), row=self.row.astype(np.int32),
                      col=self.col.astype(np.int32))
