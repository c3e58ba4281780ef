"""What works on each value alone and is no convolution's: a factor and an offset for each channel, addition, ReLU."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..numerics import Scheme
from .convolution import Conv, ConvLayer

__all__ = ["AffineLayer"]


@dataclass(eq=False, kw_only=True)
class AffineLayer(ConvLayer):
    """``x * weight + bias`` of each channel, then addition and ReLU: batch norm, sums and ReLU that no convolution
    takes.

    ``weight`` (C, 1, 1, 1) and ``bias`` (C,), of 64 bits as imported. It becomes a convolution by channel whose weights
    are 1 or -1: the factor is the requantizer's multiplier of 16 bits, and no number system can spoil it.
    """
    calls = ()
    weighted = False
    narrows = False

    @classmethod
    def of(cls, torch: Any, name: str, source: str, channels: int) -> "AffineLayer":
        """The one that changes nothing."""
        ones = torch.ones(channels, 1, 1, 1, dtype=torch.float64)
        return cls(name=name, sources=(source,), output=name, weight=ones, bias=0 * ones.flatten(), groups=channels)

    def shape(self, *shapes: tuple[int, int, int]) -> tuple[int, int, int]:
        return shapes[0]

    def apply(self, torch: Any, *sources: Any, weight: Any = None, bias: Any = None) -> Any:
        weight, bias = self.weight if weight is None else weight, self.bias if bias is None else bias
        x = sources[0]
        return x * weight.to(x)[:, 0] + bias.to(x)[:, None, None]

    def export(self, net: Any) -> Conv:
        weight = np.sign(net.weights[self.name].numpy()).astype(np.int16)
        return self.integers(net, net.requantizer(self)[0], weight,
                             scheme=np.full(len(weight), Scheme.FIXED2, np.uint8), codebook=np.zeros(0, np.int16))
