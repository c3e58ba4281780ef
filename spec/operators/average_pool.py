"""Average pooling."""

from dataclasses import dataclass

import numpy as np

from ..errors import AlloyError
from ..numerics import Scheme, round_shift
from .operator import register
from .pool import Pool
from .windows import windows

__all__ = ["AveragePool"]


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
        builder.convolution(self, weight=np.ones((count, 1, *self.kernel), np.int64), scheme=np.full(count, Scheme.FIXED4),
                            mult=np.full(count, self.mult, np.int64), bias=np.zeros(count, np.int64))
