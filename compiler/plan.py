"""Operations with the places of their values, in the parts that the engine works on one after the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from .graph import Graph, Value
from .layout import Placement

if TYPE_CHECKING:
    from .operations import Operation

__all__ = ["Plan", "Step", "Strip"]


@dataclass(frozen=True)
class Strip:
    """Output rows and columns ``[y0, y1) x [x0, x1)`` and channel groups ``[g0, g1)`` of one operation, and where its
    operands lie.

    ``input_at`` is the tensor coordinate of the stored input's first pixel; scratch regions hold just the strip.
    """
    y0: int
    y1: int
    x0: int
    x1: int
    g0: int
    g1: int
    input: Placement
    input_at: tuple[int, int]
    output: Placement
    output_at: tuple[int, int]
    residual: Placement | None = None
    residual_at: tuple[int, int] = (0, 0)

    def first_read(self, op: "Operation") -> tuple[int, int]:
        """The stored input's pixel that the first output pixel reads at the first position of the kernel."""
        return (self.y0 * op.stride[0] - op.padding[0] - self.input_at[0],
                self.x0 * op.stride[1] - op.padding[1] - self.input_at[1])


@dataclass(frozen=True, eq=False)
class Step:
    """One operation; ``dram`` are those of its operands that are loaded and stored strip by strip, ``ahead`` if those
    of one strip do not lie where those of the next one do. Where it makes its output for the next step alone, strips
    may overlap. Those of the same channel groups come one after the other."""
    op: "Operation"
    strips: tuple[Strip, ...]
    dram: frozenset[Value] = frozenset()
    ahead: bool = False


@dataclass(frozen=True, eq=False)
class Plan:
    """The steps in the order of execution: those of one of the ``turns`` have as many strips, and of each in turn the
    first is worked on, then the second, and so on. ``input`` is where the input is on the chip, None if it is not."""
    graph: Graph
    turns: tuple[tuple[Step, ...], ...]
    input: Placement | None

    @property
    def steps(self) -> Iterator[Step]:
        """All of them."""
        return chain.from_iterable(self.turns)
