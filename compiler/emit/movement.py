"""Tensors between DRAM and the activation memories."""

from collections.abc import Mapping
from itertools import product

from spec.commands import FIELDS, Opcode
from spec.program import Image, Region

from ..graph import Value
from ..hazards import Access
from ..im2col import Im2col
from ..layout import Placement
from ..plan import Strip
from .listing import Listing, whole

__all__ = ["Movement", "Source"]

LARGEST = (1 << FIELDS["rows"].width) - 1


class Movement:
    """LOAD_ACT and STORE_ACT of values that have a region in DRAM, and LOAD_ACT of the image; where they lie in the
    window comes later.

    More than two planes in a direction take a command for each row of each, which moves single pixels. So does one that
    moves some of the channel groups, of all pixels that lie one behind the other.
    """

    def __init__(self, listing: Listing, regions: Mapping[Value, Region | Image], image: Value, im2col: Im2col):
        self._listing, self._regions, self._image, self._im2col = listing, regions, image, im2col

    @property
    def lanes(self) -> int:
        """Ports that bring rows in turn."""
        return self._listing.config.act_lanes

    def store(self, value: Value, place: Placement, rows: tuple[int, int], cols: tuple[int, int], tag: int,
              at: tuple[int, int] = (0, 0)) -> None:
        """Tensor rows and columns [lo, hi) from where the placement holds them (``at``: its first pixel)."""
        self._move(Opcode.STORE_ACT, value, place, rows, cols, tag, at, [whole(place, False)])

    def load(self, value: Value, place: Placement, rows: tuple[int, int], cols: tuple[int, int], tag: int,
             at: tuple[int, int], accesses: list[Access]) -> None:
        """The other way; ``accesses`` are those on the chip."""
        if value is self._image and not self._im2col.is_region(self._listing.config):
            self._windows(place, rows, cols, tag, at, [*accesses, Access(("dram", value.name), *rows, False)])
            return
        self._move(Opcode.LOAD_ACT, value, place, rows, cols, tag, at, accesses)

    def _move(self, opcode, value, place, rows, cols, tag, at, accesses):
        region = self._regions[value]
        accesses = [*accesses, Access(("dram", value.name), rows[0], rows[1], opcode == Opcode.STORE_ACT)]
        common = dict(tag=tag, value=value, mem_out=place.mem)
        if place.groups < value.groups(self._listing.config.ic):
            assert isinstance(region, Region) and (*cols, place.pitch) == (0, value.width, value.width), "no whole rows"
            most = LARGEST // value.width
            for row in range(rows[0], rows[1], most):
                self._listing.add(opcode, accesses, dram=row * region.stride + place.first * region.group_bytes,
                                  stride=region.pixel, rows=min(most, rows[1] - row) * value.width, cols=1, **common,
                                  **place.line("out", y=row - at[0], x=0))
            return
        if max(place.phases) <= 2:
            self._listing.add(opcode, accesses, dram=rows[0] * region.stride + cols[0] * region.pixel,
                              stride=region.stride, rows=rows[1] - rows[0], cols=cols[1] - cols[0], **common,
                              **place.view("out", y=rows[0] - at[0], x=cols[0] - at[1]))
            return
        for row, col in product(range(*rows), range(cols[0], min(cols[1], cols[0] + place.phases[1]))):
            self._listing.add(opcode, accesses, dram=row * region.stride + col * region.pixel,
                              stride=place.phases[1] * region.pixel, rows=len(range(col, cols[1], place.phases[1])),
                              cols=1, **common, **place.line("out", y=row - at[0], x=col - at[1]))

    def _windows(self, place, rows, cols, tag, at, accesses):
        """Rows and columns of what is made of the image."""
        config, apart = self._listing.config, place.phases[1]
        if max(place.phases) <= 2:
            parts = [(rows, cols, 1, place.view)]
        else:
            parts = [((row, row + 1), (col, cols[1]), apart, place.line) for row, col in product(
                range(*rows), range(cols[0], min(cols[1], cols[0] + apart)))]
        for area, across, step, view in parts:
            for group, fields in self._im2col.loads(config, area, across, step):
                self._listing.add(Opcode.LOAD_ACT, accesses, tag=tag, value=self._image, mem_out=place.mem, **fields,
                                  **view("out", y=area[0] - at[0], x=across[0] - at[1], group=group))


class Source:
    """The input of a strip, loaded from DRAM in parts: rows just ahead of the commands that read them.

    The first part takes the whole placement; what follows conflicts only with the commands that read those rows.
    """

    def __init__(self, movement: Movement, value: Value, strip: Strip, tag: int):
        self._movement, self._value, self._tag = movement, value, tag
        self._place, self._at = strip.input, strip.input_at
        self._loaded, self.stop = strip.input_at[0], strip.input_at[0] + strip.input.height
        self._rows, self._lanes = ("rows", object()), movement.lanes

    def read(self, stop: int, stage: str | None) -> Access:
        """The access of a command that reads tensor rows below ``stop``; loads those that are missing."""
        y, x = self._at
        whole_turns = y + -(-(stop - y) // self._lanes) * self._lanes       # over all ports that rows come by
        low, self._loaded = self._loaded, max(self._loaded, min(whole_turns, self.stop))
        if low < self._loaded:
            accesses = [Access(self._rows, low, self._loaded, True)] + [whole(self._place, True)] * (low == y)
            self._movement.load(self._value, self._place, (low, self._loaded), (x, x + self._place.width), self._tag,
                                self._at, accesses)
        return Access(self._rows, y, self._loaded, False, stage)
