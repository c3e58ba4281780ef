"""What pools have in common: a window over the map of each channel, and one file form."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from ..errors import AlloyError
from .operator import Call, Layer, Operator
from .windows import MULT_BITS, check_clip, check_window, map_size, pair

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["Pool", "PoolLayer"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool(Operator):
    """A pool of the kind ``op``, which its class says. Each channel of the output is made of the same channel of the
    input."""
    op: str
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    mult: int = 1
    shift: int = 1
    lo: int = 0
    hi: int = 255
    kind = "pool"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_window(self)
        if min(self.kernel) < 1:
            raise AlloyError(f"layer {self.name} pools with kernel {self.kernel}: its sides must be 1 or more")

    def shape(self, network: "Network") -> tuple[int, int, int]:
        channels, *size = network.tensors[self.input].shape
        return channels, *map_size(size, self.kernel, self.stride, self.padding)

    def check(self, network: "Network") -> None:
        super().check(network)
        out = network.tensors[self.output]
        check_clip(self, out.bits, f"tensor {out.name}")
        if not 0 <= self.mult < 1 << MULT_BITS:
            raise AlloyError(f"layer {self.name} has multiplier {self.mult}, outside 0..{(1 << MULT_BITS) - 1}")


@dataclass(eq=False, kw_only=True)
class PoolLayer(Layer):
    """A pool on real values; ``kernel``, ``stride`` and ``padding`` are (vertical, horizontal)."""
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @classmethod
    def read(cls, call: Call) -> Self:
        given, kernel = call.arguments, pair(call.arguments["kernel_size"])
        if given["ceil_mode"] or pair(given.get("dilation", 1)) != (1, 1):
            raise AlloyError(f"{call.where} pools with ceil_mode or dilation: use floor mode and dilation 1")
        return cls(name=call.name, sources=call.sources, output=call.name, kernel=kernel,
                   stride=pair(given["stride"] or kernel), padding=pair(given["padding"]))

    def shape(self, *shapes: tuple[int, int, int]) -> tuple[int, int, int]:
        channels, *size = shapes[0]
        return channels, *map_size(size, self.kernel, self.stride, self.padding)
