"""Average pooling."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..errors import AlloyError
from ..numerics import Scheme, round_shift
from .operator import Call, register
from .pool import Pool, PoolLayer
from .windows import MULT_BITS, Window

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["AveragePool", "AveragePoolLayer"]


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class AveragePool(Pool):
    """``clip(round_shift(sum(a - zero_in) * mult, shift) + zero_out, lo, hi)`` of each window; padding adds 0.

    ``mults``, int32 (rows, columns), has the multiplier of each pixel of the output where windows at the border count
    fewer values; empty: it is ``mult``.
    """
    op: str = "avg"
    mults: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    optional = (*Pool.optional, "mults")

    def check(self, network: "Network") -> None:
        super().check(network)
        if self.mults.size and (self.mults.shape != network.tensors[self.output].shape[1:] or self.mults.min() < 0
                                or int(self.mults.max()) >> MULT_BITS):
            raise AlloyError(f"layer {self.name} has multipliers {self.mults.shape} from {self.mults.min()} to "
                             f"{self.mults.max()}: each pixel of its output needs one of 0..{(1 << MULT_BITS) - 1}")

    def run(self, network: "Network", *codes: np.ndarray) -> np.ndarray:
        source, out = network.tensors[self.input], network.tensors[self.output]
        total = Window.of(self).over(codes[0] - source.zero, 0).sum((4, 5))
        mult = self.mults.astype(np.int64) if self.mults.size else self.mult
        return np.clip(round_shift(total * mult, self.shift) + out.zero, self.lo, self.hi)

    def lower(self, builder: Any) -> None:
        """A depthwise convolution of ones."""
        count = builder.channels(self.input)
        mult = int(self.mults.max()) if self.mults.size else self.mult
        builder.convolution(self, weight=np.ones((count, 1, *self.kernel), np.int64),
                            scheme=np.full(count, Scheme.FIXED4), mult=np.full(count, mult, np.int64),
                            bias=np.zeros(count, np.int64), regions=_regions(self.mults))


def _regions(mults):
    """((first row, end, first column, end), multiplier) of the fewest bands of rows, and of columns in these, that have
    one multiplier each."""
    def bands(values):
        ends = [i for i in range(1, len(values)) if (values[i] != values[i - 1]).any()] + [len(values)]
        return list(zip([0, *ends], ends, strict=False)) if len(values) else []
    return tuple(((y0, y1, x0, x1), int(mults[y0, x0])) for y0, y1 in bands(mults)
                 for x0, x1 in bands(mults[y0][:, None]))


@register
@dataclass(eq=False, kw_only=True)
class AveragePoolLayer(PoolLayer):
    """The sum of each window divided by ``divisor``, None: the number of values that count. These are those of the map
    and of so much padding (:class:`Window`'s two sides) as ``counted`` says, None: of all. The window is the whole map
    for what pools adaptively to 1x1."""
    divisor: int | None = None
    counted: tuple[tuple[int, int], tuple[int, int]] | None = None

    calls = ("avg_pool2d",)

    @property
    def translates(self) -> bool:
        return self.divisor is None

    @classmethod
    def read(cls, call: Call) -> Self:
        layer, given = super().read(call), call.arguments
        counted = (layer.padding, layer.padding) if given["count_include_pad"] else ((0, 0), (0, 0))
        whole = given["divisor_override"] or counted == (layer.padding, Window.of(layer).end)
        return cls._calm(replace(layer, divisor=given["divisor_override"], counted=None if whole else counted),
                         call.shapes[0][1:])

    def divisors(self, size: Sequence[int]) -> np.ndarray:
        """Of each pixel of the output for a map of ``size``, int (rows, columns)."""
        window = Window.of(self)
        if self.divisor or self.counted is None:
            return np.full(window.size(size), self.divisor or self.kernel[0] * self.kernel[1])
        ones = np.ones([length + start + end for length, start, end in zip(size, *self.counted, strict=True)], int)
        before, behind = ((pads[0] - counts[0], pads[1] - counts[1]) for pads, counts in zip(
            (window.padding, window.end), self.counted, strict=True))
        return replace(window, padding=before, padding_end=behind).over(ones[None, None], 0).sum((4, 5))[0, 0]

    @staticmethod
    def _calm(layer, size):
        """The stride is 1 where there is only one window at every stride."""
        count = replace(Window.of(layer), stride=(1, 1)).size(size)
        return replace(layer, stride=tuple(1 if n == 1 else s for n, s in zip(count, layer.stride, strict=True)))

    def apply(self, torch: Any, *sources: Any) -> Any:
        x, padding = Window.of(self).padded(torch, sources[0])
        total = torch.nn.functional.avg_pool2d(x, self.kernel, self.stride, padding, divisor_override=1)
        return total / torch.from_numpy(self.divisors(sources[0].shape[2:])).to(total)

    def export(self, net: Any) -> AveragePool:
        one, two = (float(net.step(name).double()) for name in (self.input, self.output))
        factors = one / two / self.divisors(net.tensor(self.input).shape[1:])
        mults, shift = net.multipliers(factors)
        mult = int(mults.max())
        several = {} if (mults == mult).all() else {"mults": mults}
        return AveragePool(name=self.name, input=self.input, output=self.output, mult=mult, shift=shift,
                           hi=net.top(self), **asdict(Window.of(self)), **several)
