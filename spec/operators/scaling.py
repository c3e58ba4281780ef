"""Scaling of each channel of a map by a number that the network computes: squeeze-and-excite, gates."""

from dataclasses import dataclass, field
from math import log2, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import AlloyError
from ..numerics import requantize
from .operator import Layer, Operator, register
from .windows import MULT_BITS, check_clip

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["Scaling", "ScalingLayer", "WEIGHT", "SHIFT", "res_mult_limit"]

WEIGHT = 7          # the largest weight: one digit of a multiplier
SHIFT = 30          # the largest shift
ROOM = 2            # for a residual whose steps grow in training


def res_mult_limit(zero: int) -> int:
    """The largest multiplier of a residual, for factors whose code of 0 is ``zero``: with signed factors the sum is 16
    times as large on its way."""
    return (1 << MULT_BITS) // (16 if zero else 1) - 1


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Scaling(Operator):
    """``weight * (x - zero_x) * (s - zero_s)``, then :func:`spec.numerics.requantize` with the multiplier 1, where s is
    the code of the same channel in the tensor ``factor`` of 1x1 pixels.

    Attributes
    ----------
    weight : 1 .. 7
    shift : 1 .. 30
    residual, res_mult, table : as in :class:`spec.operators.convolution.Conv`; ``res_mult`` is less than 4096 if
        ``factor`` has a zero point
    """
    factor: str
    weight: int
    shift: int
    lo: int
    hi: int
    residual: str | None = None
    res_mult: int = 0
    table: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    kind = "scaling"

    @property
    def inputs(self) -> list[str]:
        return [self.input, self.factor] if self.residual is None else [self.input, self.factor, self.residual]

    def shape(self, network: "Network") -> tuple[int, int, int]:
        return network.tensors[self.input].shape

    def check(self, network: "Network") -> None:
        super().check(network)
        where, out, factor = f"layer {self.name}", network.tensors[self.output], network.tensors[self.factor]
        if factor.shape != (out.channels, 1, 1):
            raise AlloyError(f"{where} scales {out.channels} channels by tensor {factor.name} of "
                             f"{'x'.join(map(str, factor.shape))}: it needs one number for each channel")
        check_clip(self, 8 if self.table.size else out.bits, "its table" if self.table.size else f"tensor {out.name}")
        if not 1 <= self.weight <= WEIGHT or self.shift > SHIFT:
            raise AlloyError(f"{where} has the weight {self.weight} and shifts by {self.shift}: the weight is 1 to "
                             f"{WEIGHT}, the shift 1 to {SHIFT}")
        limit = res_mult_limit(factor.zero)
        if not 0 <= self.res_mult <= limit:
            raise AlloyError(f"{where} has the multiplier {self.res_mult} of its residual, outside 0..{limit}")
        if self.table.size not in (0, 256) or self.table.size and int(self.table.max()) >> out.bits:
            raise AlloyError(f"{where} has a table that is not 256 codes of the {out.bits} bits of its output")
        if self.residual is not None and network.tensors[self.residual].shape != out.shape:
            raise AlloyError(f"{where} adds tensor {self.residual} of another shape than its output")

    def run(self, network: "Network", *codes: np.ndarray) -> np.ndarray:
        x, s, *res = (part - network.tensors[name].zero for name, part in zip(self.inputs, codes, strict=True))
        return requantize(self.weight * x * s, 1, 0, self.shift, lo=self.lo, hi=self.hi,
                          out_zero=network.tensors[self.output].zero, res=res[0] if res else 0, res_mult=self.res_mult,
                          table=self.table)

    def macs(self, network: "Network") -> int:
        return int(np.prod(network.tensors[self.output].shape))

    def lower(self, builder: Any) -> None:
        builder.scaling(self, factor=self.factor, weight=self.weight, residual=self.residual, res_mult=self.res_mult,
                        table=self.table if self.table.size else None)


@register
@dataclass(eq=False, kw_only=True)
class ScalingLayer(Layer):
    """Each channel of the first source times the number of that channel in the second, (C, 1, 1)."""
    product = True

    @property
    def tied(self) -> tuple[str, ...]:
        return self.sources[:1]

    @property
    def fresh(self) -> bool:
        return not self.relu and self.residual is None

    def apply(self, torch: Any, *sources: Any) -> Any:
        return sources[0] * sources[1]

    def ratio(self, net: Any, wanted: float) -> float:
        each = self._residual(net)
        limit = res_mult_limit(net.zeros[self.sources[1]]) / ROOM
        weights = [w for w in range(1, WEIGHT + 1)
                   if w * each <= limit and not (net.single_scale and w & (w - 1))]
        if not weights:
            raise AlloyError(f"layer {self.name} makes products that are far smaller than the steps of "
                             f"{self.residual}, which is added to them: scale one of the two in the model")
        ratios = [2.0 ** shift / weight for weight in weights for shift in range(1, SHIFT + 1)]
        return min((ratio for ratio in ratios if ratio >= wanted * (1 - 1e-6)), default=max(ratios))

    def export(self, net: Any) -> Scaling:
        each, limit = self._residual(net), res_mult_limit(net.zeros[self.sources[1]])
        ratio = float(net.step(self.output).detach().double()) / self._unit(net)
        fit = [(weight * each <= limit, weight, round(log2(weight * ratio))) for weight in range(1, WEIGHT + 1)
               if abs(log2(weight * ratio) - round(log2(weight * ratio))) < 1e-3 and round(log2(weight * ratio)) > 0]
        _, weight, shift = max(fit)
        return Scaling(name=self.name, input=self.sources[0], factor=self.sources[1], output=self.output, weight=weight,
                       shift=shift, residual=self.residual, res_mult=min(limit, round(weight * each)),
                       lo=net.zeros[self.output] if self.relu else 0, hi=net.top(self),
                       table=net.tables.get(self.output, np.zeros(0, np.uint8)))

    def _unit(self, net):
        """Real value of the product of one code of each source."""
        return prod(float(net.step(name).detach().double()) for name in self.sources)

    def _residual(self, net):
        """The multiplier of the residual for a weight of 1; 0 without a residual."""
        return float(net.step(self.residual).detach().double()) / self._unit(net) if self.residual else 0.0
