"""What a reader of a function of ATen gets, and the table of readers: each module of this folder that reads functions
enters them there."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import torch
from torch import nn

from spec.errors import Unsupported
from spec.operators import LAYERS

from .ops import Op

__all__ = ["BATCH", "READERS", "Named", "View", "Node", "Found", "reads", "flat", "views", "whole", "supported"]

BATCH = 2       # images that are exported: more than one, so that what mixes them is seen


class Named(nn.Module):
    """A module that names the layers of its own operations, as those of ``torch.nn`` do. ``where`` tells its place in
    messages: "layer NAME (place)". ``refusal``: it stands for something that is not supported."""

    where: str
    refusal: Unsupported | None = None


@dataclass(frozen=True, eq=False)
class View:
    """What a node of the exported program stands for: ``index``, of its shape (``BATCH`` images), are positions in the
    ``value`` (N, C, H, W), flat; ``size`` is (C, H, W) of that."""

    value: str
    index: torch.Tensor
    size: tuple[int, int, int]

    @property
    def plain(self) -> bool:
        """Whether it shows the whole value, element by element in its order; its shape may be another."""
        return self._whole or torch.equal(self.index.flatten(), whole(self.size).flatten())

    @property
    def padded(self) -> bool:
        """Whether it shows zeros that are not in the value."""
        return not self._whole and bool((self.index < 0).any())

    @property
    def _whole(self):
        """Whether its index is that of the whole value in another shape, which their places in memory tell at once."""
        index, places = self.index, whole(self.size)
        return index.data_ptr() == places.data_ptr() and index.numel() == places.numel() and index.is_contiguous()

    @property
    def whole(self) -> bool:
        """Whether it shows each element of the value once, in any order."""
        return self._whole or torch.equal(self.index.flatten().sort()[0], whole(self.size).flatten())

    @property
    def by_channel(self) -> bool:
        """Whether it is plain and its first dimension behind the batch are the channels."""
        return self.plain and self.index.shape[1] == self.size[0]


@dataclass(frozen=True, eq=False)
class Node:
    """A call of a function of ATen.

    Attributes
    ----------
    name : of the value that it will make; ``where`` names the layer in messages; ``function`` is the function's name,
        ``target`` itself, if PyTorch calls it so.
    arguments : all arguments by name, those with a default included: a :class:`View`, a tensor that depends on weights
        alone, a number, or lists of them.
    shape : of what it returns, with the batch.
    """

    name: str
    where: str
    function: str
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]
    target: Callable[..., Any] | None = None

    @property
    def views(self) -> list[View]:
        """Those among the arguments, in their order."""
        return views(self.arguments)


# An operation, or several of which the last makes the value, and where the elements that the node returns stand in it;
# None: all in their order.
Found: TypeAlias = tuple[Op | list[Op], torch.Tensor | None]
READERS: dict[str, Callable[[Node], Found]] = {}


def reads(*functions: str) -> Callable:
    """Decorator: reads calls of the functions of ATen of these names."""
    def enter(reader):
        READERS.update(dict.fromkeys(functions, reader))
        return reader
    return enter


def flat(values: Any) -> Iterator[Any]:
    """The values of nested lists."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from flat(value)
        else:
            yield value


def views(arguments: Mapping[str, Any]) -> list[View]:
    """Those among arguments, in their order."""
    return [value for value in flat(arguments.values()) if isinstance(value, View)]


@lru_cache(maxsize=32)
def whole(shape: tuple[int, int, int]) -> torch.Tensor:
    """The index of a whole value of ``shape`` (C, H, W), which nobody writes into."""
    return torch.arange(BATCH * shape[0] * shape[1] * shape[2]).reshape(BATCH, *shape)


def supported() -> str:
    """What can be imported, as the end of a sentence."""
    layers = ", ".join(name for layer in LAYERS for name in layer.calls)
    return (f"{layers}, the same of sequences, mean, sum and amax over pixels, linear, matmul, batch norm, sums, "
            "constants, functions of each value alone, and what only moves values are supported")
