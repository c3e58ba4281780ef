"""Max pooling."""

from dataclasses import asdict, dataclass
from functools import reduce
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import AlloyError
from .operator import register
from .pool import Pool, PoolLayer
from .windows import Window

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["MaxPool", "MaxPoolLayer"]


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class MaxPool(Pool):
    """The largest code of each window; padding never wins. The output has the bits and the zero point of the input.

    ``mult``, ``shift``, ``lo`` and ``hi`` have no part in it.
    """
    op: str = "max"

    def check(self, network: "Network") -> None:
        super().check(network)
        source, out = network.tensors[self.input], network.tensors[self.output]
        if (source.bits, source.zero) != (out.bits, out.zero):
            raise AlloyError(f"layer {self.name} changes bits or zero point in a max pool")

    def run(self, network: "Network", *codes: np.ndarray) -> np.ndarray:
        view = Window.of(self).over(codes[0], 0)
        return reduce(np.maximum, (view[..., y, x] for y, x in np.ndindex(*self.kernel)))

    def lower(self, builder: Any) -> None:
        builder.maximum(self, self.kernel)


@register
class MaxPoolLayer(PoolLayer):
    """The largest value of each window."""
    calls = ("max_pool2d",)
    keeps = True

    def apply(self, torch: Any, *sources: Any) -> Any:
        x, padding = Window.of(self).padded(torch, sources[0], -inf)
        return torch.nn.functional.max_pool2d(x, self.kernel, self.stride, padding, self.dilation)

    def export(self, net: Any) -> MaxPool:
        return MaxPool(name=self.name, input=self.input, output=self.output, hi=net.top(self),
                       **asdict(Window.of(self)))
