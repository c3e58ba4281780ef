"""What the compiler's passes work on: values, and the graph of the operations on them. Nothing is changed in place."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from spec.program import HOLE

from .im2col import Im2col

if TYPE_CHECKING:
    from .operations import Operation

__all__ = ["Value", "Graph", "without_holes"]


def without_holes(order: tuple[int, ...]) -> tuple[int, ...]:
    """The channels of an order, one after the other."""
    return tuple(channel for channel in order if channel != HOLE)


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor on its way through the engine; who makes it and who reads it have the same object.

    ``phases`` (rows, columns) are the planes that it is split into: every so many-th row or column is in the same.
    ``order[position]`` is the channel at that position (positions fill groups of ``ic``), -1 where there is none.
    Each is None until the pass that chooses it.
    """
    name: str
    channels: int
    height: int
    width: int
    bits: int
    zero: int
    phases: tuple[int, int] | None = None
    order: tuple[int, ...] | None = None

    def groups(self, ic: int) -> int:
        """Channel groups of ``ic`` channels."""
        return -(-(self.channels if self.order is None else len(self.order)) // ic)

    def ordered(self) -> np.ndarray:
        """The channel at each position."""
        assert self.order is not None, f"{self.name} has no order yet"
        return np.array(self.order)

    @property
    def sequence(self) -> tuple[int, ...] | None:
        """The channels in their order, without the holes."""
        return None if self.order is None else without_holes(self.order)

    def positions(self) -> np.ndarray:
        """The position of each channel."""
        return np.argsort(self.ordered(), kind="stable")[-self.channels:]


@dataclass(frozen=True, eq=False)
class Graph:
    """Operations in the order of execution; ``im2col`` is how ``input`` is made of the image, and the host may read the
    values ``kept``, the output among them."""
    input: Value
    output: Value
    ops: tuple["Operation", ...]
    im2col: Im2col
    kept: frozenset[Value] = frozenset()

    @property
    def values(self) -> Iterator[Value]:
        """The input, then what the operations make, each once."""
        yield from dict.fromkeys((self.input, *(op.output for op in self.ops)))

    def mapped(self, change: Callable[[Value], Value]) -> "Graph":
        """The graph with ``change(value)`` for each value, wherever it is made or read."""
        known: dict[Value, Value] = {}

        def once(value):
            if value not in known:
                known[value] = change(value)
            return known[value]
        return replace(self, input=once(self.input), ops=tuple(op.mapped(once) for op in self.ops),
                       output=once(self.output), kept=frozenset(map(once, self.kept)))
