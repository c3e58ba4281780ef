"""Average pooling."""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..errors import AlloyError
from ..numerics import Scheme, round_shift
from .operator import Call, register
from .pool import Pool, PoolLayer
from .windows import Window, pair

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["AveragePool", "AveragePoolLayer"]


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class AveragePool(Pool):
    """``clip(round_shift(sum(a - zero_in) * mult, shift) + zero_out, lo, hi)`` of each window; padding adds 0."""
    op: str = "avg"

    def run(self, network: "Network", *codes: np.ndarray) -> np.ndarray:
        source, out = network.tensors[self.input], network.tensors[self.output]
        total = Window.of(self).over(codes[0] - source.zero, 0).sum((4, 5))
        return np.clip(round_shift(total * self.mult, self.shift) + out.zero, self.lo, self.hi)

    def lower(self, builder: Any) -> None:
        """A depthwise convolution of ones."""
        count = builder.channels(self.input)
        builder.convolution(self, weight=np.ones((count, 1, *self.kernel), np.int64),
                            scheme=np.full(count, Scheme.FIXED4),
                            mult=np.full(count, self.mult, np.int64), bias=np.zeros(count, np.int64))


@register
@dataclass(eq=False, kw_only=True)
class AveragePoolLayer(PoolLayer):
    """The sum of each window divided by ``divisor``, None: the size of the kernel. The window is the whole map for what
    pools adaptively to 1x1."""
    divisor: int | None = None

    calls = ("avg_pool2d", "adaptive_avg_pool2d")

    @classmethod
    def read(cls, call: Call) -> Self:
        given, size = call.arguments, call.shapes[0][1:]
        if call.function == "avg_pool2d":
            layer, divisor = super().read(call), given["divisor_override"]
            around = (*layer.padding, *Window.of(layer).end)
            if divisor is None and any(around) and (layer.padding_end or not given["count_include_pad"]):
                raise AlloyError(f"{call.where} averages windows of several sizes: leave out ceil_mode and "
                                 "count_include_pad=False, or pad the tensor before it")
            return cls._calm(replace(layer, divisor=divisor), size)
        wanted = pair(given["output_size"])
        if any(s % w for s, w in zip(size, wanted, strict=True)):
            raise AlloyError(f"{call.where} pools {size[0]}x{size[1]} to {wanted[0]}x{wanted[1]} pixels, windows of "
                             "several sizes: give an output size that divides the map's")
        kernel = size[0] // wanted[0], size[1] // wanted[1]
        return cls._calm(cls(name=call.name, sources=call.sources, output=call.name, kernel=kernel, stride=kernel,
                             padding=(0, 0)), size)

    @staticmethod
    def _calm(layer, size):
        """The stride is 1 where there is only one window."""
        count = Window.of(layer).size(size)
        return replace(layer, stride=tuple(1 if n == 1 else s for n, s in zip(count, layer.stride, strict=True)))

    def apply(self, torch: Any, *sources: Any) -> Any:
        x, padding = Window.of(self).padded(torch, sources[0])
        return torch.nn.functional.avg_pool2d(x, self.kernel, self.stride, padding, divisor_override=self.divisor)

    def export(self, net: Any) -> AveragePool:
        one, two = (float(net.step(name).double()) for name in (self.input, self.output))
        mult, shift = net.multiplier(one / two / (self.divisor or self.kernel[0] * self.kernel[1]))
        return AveragePool(name=self.name, input=self.input, output=self.output, mult=mult, shift=shift,
                           hi=net.top(self), **asdict(Window.of(self)))
