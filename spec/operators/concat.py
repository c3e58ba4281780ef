"""Concatenation of the channels of several tensors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..errors import AlloyError
from ..numerics import round_shift
from .operator import Call, Layer, Operator, register
from .windows import MULT_BITS, SHIFT_MAX

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["Concat", "ConcatLayer"]


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Concat(Operator):
    """``clip(round_shift((a - zero_in) * mult, shift) + zero_out)`` of each of several tensors, one behind the other;
    the clip is to the codes of the output.

    Attributes
    ----------
    others : names of the tensors behind ``input``.
    mult : int32 array, the multiplier of each tensor, 0 .. 2**16-1; with ``2**shift`` and the zero point of the output
        its codes stay as they are.
    """
    others: tuple[str, ...]
    mult: np.ndarray
    shift: int
    kind = "concat"

    @property
    def inputs(self) -> list[str]:
        return [self.input, *self.others]

    def shape(self, network: "Network") -> tuple[int, int, int]:
        shapes = [network.tensors[name].shape for name in self.inputs]
        if len({shape[1:] for shape in shapes}) > 1:
            raise AlloyError(f"layer {self.name} concatenates the channels of maps of "
                             f"{' and '.join(f'{h}x{w}' for _, h, w in shapes)} pixels: they need one size")
        return sum(shape[0] for shape in shapes), *shapes[0][1:]

    def check(self, network: "Network") -> None:
        super().check(network)
        if not 1 <= self.shift <= SHIFT_MAX:
            raise AlloyError(f"layer {self.name} shifts by {self.shift}: the requantizer shifts by 1 to {SHIFT_MAX}")
        if self.mult.shape != (len(self.inputs),):
            raise AlloyError(f"layer {self.name} needs one mult for each of its {len(self.inputs)} tensors")
        if self.mult.min() < 0 or int(self.mult.max()) >> MULT_BITS:
            raise AlloyError(f"layer {self.name} has a multiplier outside 0..{(1 << MULT_BITS) - 1}")

    def run(self, network: "Network", *codes: np.ndarray) -> np.ndarray:
        out = network.tensors[self.output]
        parts = [round_shift((code - network.tensors[name].zero) * int(mult), self.shift) + out.zero
                 for name, code, mult in zip(self.inputs, codes, self.mult, strict=True)]
        return np.concatenate(parts, 1).clip(0, (1 << out.bits) - 1)

    def lower(self, builder: Any) -> None:
        """Each tensor makes its channels of the output."""
        at = 0
        for name, mult in zip(self.inputs, self.mult.tolist(), strict=True):
            builder.part(self, name, at, mult=mult, shift=self.shift)
            at += builder.channels(name)


@register
@dataclass(eq=False, kw_only=True)
class ConcatLayer(Layer):
    """The channels of several tensors, ``channels`` of each, one behind the other."""
    channels: tuple[int, ...]

    calls = ("cat", "concat", "concatenate")
    joins = True

    @classmethod
    def read(cls, call: Call) -> Self:
        dim = call.arguments["dim"]
        if dim % 4 != 1:
            raise AlloyError(f"{call.where} concatenates along dimension {dim}: only channels, dimension 1, can be")
        return cls(name=call.name, sources=call.sources, output=call.name,
                   channels=tuple(shape[0] for shape in call.shapes))

    def shape(self, *shapes: tuple[int, int, int]) -> tuple[int, int, int]:
        return sum(shape[0] for shape in shapes), *shapes[0][1:]

    def apply(self, torch: Any, *sources: Any) -> Any:
        return torch.cat(sources, 1)

    def _parts(self):
        """The channels of the output that each source becomes."""
        ends = np.cumsum(self.channels).tolist()
        return [slice(end - count, end) for count, end in zip(self.channels, ends, strict=True)]

    def origins(self, *channels: int) -> list[np.ndarray]:
        out = np.arange(sum(channels))
        return [np.where((out >= part.start) & (out < part.stop), out - part.start, -1) for part in self._parts()]

    def needs(self, live: Any) -> list[Any]:
        return [live[part] for part in self._parts()]

    def export(self, net: Any) -> Concat:
        out = float(net.step(self.output).double())
        factors = np.array([float(net.step(name).double()) / out for name in self.sources])
        mult, shift = net.multipliers(factors)
        return Concat(name=self.name, input=self.input, others=self.sources[1:], output=self.output, mult=mult,
                      shift=shift)
