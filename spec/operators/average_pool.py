"""Average pooling."""

from dataclasses import dataclass

import numpy as np

from ..errors import AlloyError
from ..numerics import Scheme, round_shift
from .operator import Call, register
from .pool import Pool, PoolLayer
from .windows import pair, windows

__all__ = ["AveragePool", "AveragePoolLayer"]


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class AveragePool(Pool):
    """``clip(round_shift(sum(a - zero_in) * mult, shift) + zero_out, lo, hi)`` of each window, without padding."""
    op: str = "avg"

    def check(self, network) -> None:
        super().check(network)
        if any(self.padding):
            raise AlloyError(f"layer {self.name} averages over padding: use padding 0")

    def run(self, network, *codes):
        source, out = network.tensors[self.input], network.tensors[self.output]
        total = windows(codes[0] - source.zero, self.kernel, self.stride, self.padding, 0).sum((4, 5))
        return np.clip(round_shift(total * self.mult, self.shift) + out.zero, self.lo, self.hi)

    def lower(self, builder) -> None:
        """A depthwise convolution of ones."""
        count = builder.channels(self.input)
        builder.convolution(self, weight=np.ones((count, 1, *self.kernel), np.int64),
                            scheme=np.full(count, Scheme.FIXED4),
                            mult=np.full(count, self.mult, np.int64), bias=np.zeros(count, np.int64))


@register
class AveragePoolLayer(PoolLayer):
    """The mean of each window; of the whole map for AdaptiveAvgPool2d(1)."""
    modules = ("AvgPool2d", "AdaptiveAvgPool2d")

    @classmethod
    def read(cls, call: Call):
        module = call.module
        if not hasattr(module, "output_size"):
            if module.divisor_override:
                raise AlloyError(f"{call.where} averages with divisor_override: leave it out")
            if pair(module.padding) != (0, 0):
                raise AlloyError(f"{call.where} averages over padding: use padding 0")
            return super().read(call)
        if pair(module.output_size) != (1, 1):
            raise AlloyError(f"{call.where} (AdaptiveAvgPool2d of output size {module.output_size}) is not supported: "
                             "use output size 1")
        return cls(name=call.name, sources=call.sources, output=call.name, kernel=call.shapes[0][1:], stride=(1, 1),
                   padding=(0, 0))

    def apply(self, torch, *sources):
        return torch.nn.functional.avg_pool2d(sources[0], self.kernel, self.stride)

    def export(self, net) -> AveragePool:
        one, two = (float(net.step(name).double()) for name in (self.input, self.output))
        factor = one / two / (self.kernel[0] * self.kernel[1])
        mult, shift = net.multiplier(factor)
        return AveragePool(name=self.name, input=self.input, output=self.output, kernel=self.kernel, stride=self.stride,
                           mult=mult, shift=shift, hi=net.top(self))
