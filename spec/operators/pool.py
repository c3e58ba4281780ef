"""What pools have in common: a window over the map of each channel, and one file form."""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from ..errors import AlloyError
from .operator import Call, Layer, Operator
from .windows import MULT_BITS, Window, check_clip, check_window, pair

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
    padding_end: tuple[int, int] | None = None
    dilation: tuple[int, int] = (1, 1)
    kind = "pool"
    optional: ClassVar[tuple[str, ...]] = ("padding_end", "dilation")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_window(self)
        if min(self.kernel) < 1:
            raise AlloyError(f"layer {self.name} pools with kernel {self.kernel}: its sides must be 1 or more")

    def shape(self, network: "Network") -> tuple[int, int, int]:
        channels, *size = network.tensors[self.input].shape
        return channels, *Window.of(self).size(size)

    def check(self, network: "Network") -> None:
        super().check(network)
        out = network.tensors[self.output]
        check_clip(self, out.bits, f"tensor {out.name}")
        if not 0 <= self.mult < 1 << MULT_BITS:
            raise AlloyError(f"layer {self.name} has multiplier {self.mult}, outside 0..{(1 << MULT_BITS) - 1}")


@dataclass(eq=False, kw_only=True)
class PoolLayer(Layer):
    """A pool on real values; ``kernel``, ``stride``, ``padding`` and so on are those of
    :class:`spec.operators.windows.Window`."""
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    padding_end: tuple[int, int] | None = None
    dilation: tuple[int, int] = (1, 1)

    @property
    def translates(self) -> bool:
        """Whether a number that is added to its input is added to its output."""
        return True

    @classmethod
    def read(cls, call: Call) -> Self:
        given, kernel = call.arguments, pair(call.arguments["kernel_size"])
        window = Window(kernel, pair(given["stride"] or kernel), pair(given["padding"]), None,
                        pair(given.get("dilation", 1)))
        if given["ceil_mode"]:
            window = _last_started(window, call.shapes[0][1:])
        return cls(name=call.name, sources=call.sources, output=call.name, **asdict(window))

    def shape(self, *shapes: tuple[int, int, int]) -> tuple[int, int, int]:
        channels, *size = shapes[0]
        return channels, *Window.of(self).size(size)


def _last_started(window, size):
    """``window`` with so much padding at the end of a map of ``size`` that the last window, which begins in the map or
    in the padding before it, is whole (``ceil_mode``)."""
    end = []
    for length, before, after, reach, stride in zip(size, window.padding, window.end, window.reach, window.stride,
                                                    strict=True):
        count = -(-(length + before + after - reach) // stride) + 1
        count -= (count - 1) * stride >= length + before
        end.append(max(after, (count - 1) * stride + reach - length - before))
    return replace(window, padding_end=tuple(end))
