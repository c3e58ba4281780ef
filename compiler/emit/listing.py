"""Where emitted commands and image gather, and how commands name what they touch on the chip."""

from typing import Any

from spec.commands import Opcode
from spec.config import EngineConfig

from ..costs import Costs
from ..hazards import Access, Groups, Item
from ..layout import Placement
from .image import Image

__all__ = ["Listing", "some", "whole"]


class Listing:
    """Commands in the order in which they were thought of, which :mod:`compiler.schedule` changes."""

    def __init__(self, config: EngineConfig):
        self.config, self.image, self.costs = config, Image(config), Costs(config)
        self.items: list[Item] = []

    def add(self, opcode: Opcode, accesses: list[Access], **fields: Any) -> Item:
        """Append a command."""
        item = Item(opcode, tuple(accesses), fields)
        self.items.append(item)
        return item


def whole(place: Placement, writes: bool, stage: str | None = None) -> Access:
    """The access to all words of a placement."""
    return Access(("act", place.mem), place.base, place.base + place.words, writes, stage)


def some(place: Placement, rows: tuple[int, int], groups: tuple[int, int], writes: bool,
         stage: str | None = None) -> list[Access]:
    """Those to rows and channel groups [lo, hi) of a placement."""
    return [Access(("act", place.mem), lo, hi, writes, stage, Groups(place.base, place.groups, *groups))
            for lo, hi in place.ranges(*rows)]
