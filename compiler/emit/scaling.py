"""Scaling of channels by numbers of the network: records of parameters that the engine writes, and what uses them."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from spec.commands import Opcode
from spec.config import EngineConfig
from spec.kwords import gather
from spec.systems import DSP, empty_word

from ..hazards import Access
from ..layout import Placement
from ..plan import Strip
from ..slots import Tile
from .array import ArrayWork
from .buffers import Buffers
from .listing import Listing, whole
from .movement import Source
from .parameters import UNUSED, records
from .pool import PoolWork
from .tiles import FilterTile

if TYPE_CHECKING:
    from ..scaling import Product, Records

__all__ = ["GroupsWork", "ProductWork", "RecordsWork"]

# A position of the kernel that is outside of every map: it reads the code that stands for 0.
OUTSIDE = {"addr": 0, "rot": 0, "dy": 0, "dx": 0, "rows": 0, "cols": 0}


class GroupsWork(PoolWork):
    """A copy: the words of a 1x1 map lie as those of one pixel in each row do."""

    def commands(self, strip: Strip, source: Source | None, buffers: Buffers, listing: Listing) -> None:
        one = strip.input
        rows = Placement(one.mem, one.base, one.groups, 1, (1, 1), one.pixels, 1, one.pixels, one.at_once)
        super().commands(replace(strip, input=rows), source, buffers, listing)


class RecordsWork(ArrayWork):
    """The bytes that are the same for all codes are loaded; those that are codes come from the array."""

    def __init__(self, op: "Records", config: EngineConfig):
        self._records = op
        super().__init__(op, config, 1, _copies(op.layout, op.layout.width, config))

    def _parts(self, strip: Strip) -> list[tuple[Strip, list[FilterTile]]]:
        """The rows of whole channel groups, and the last one if it has fewer channels."""
        op, c = self._records, self._config
        full = max(strip.y0, min(strip.y1, op.channels // c.ic))
        return [(replace(strip, y0=y0, y1=y1), _copies(op.layout, self._channels(y0), c))
                for y0, y1 in ((strip.y0, full), (full, strip.y1)) if y0 < y1]

    def _channels(self, row):
        return min(self._config.ic, self._records.channels - row * self._config.ic)

    def _part(self, strip: Strip, tiles: list[FilterTile], source: Source | None, buffers: Buffers,
              listing: Listing) -> None:
        """Loads the bytes that do not depend on codes, the same in every row, and adds those that do."""
        place, fixed = strip.output, self._records.layout.row(self._channels(strip.y0))
        listing.add(Opcode.LOAD_ACT, [whole(place, True)], tag=self._records.tag, dram=listing.image.put(fixed),
                    stride=0, rows=strip.y1 - strip.y0, cols=1, mem_out=place.mem,
                    **place.view("out", y=strip.y0 - strip.output_at[0]))
        super()._part(strip, tiles, source, buffers, listing)


class ProductWork(ArrayWork):
    """Filters that pass on one channel each, with the parameters that the engine has written."""

    def __init__(self, op: "Product", config: EngineConfig):
        assert op.records is not None and op.layout is not None
        self._product, self._layout, self._records = op, op.layout, op.records
        super().__init__(op, config, 1, _passing(op, op.layout, config))

    def _count(self) -> int:
        return _positions(self._product)

    def _taps(self, strip: Strip) -> list[dict[str, int]]:
        return [*super()._taps(strip), OUTSIDE][:self._count()]

    def _batched(self, tiles: list[FilterTile], count: int, loaded: bool) -> list[FilterTile]:
        return tiles            # whose parameters the engine makes

    def _params(self, filters: FilterTile, buffers: Buffers) -> tuple[int, Access]:
        part = self._tiles.index(filters) % self._layout.parts
        return buffers.made_params(self._records, filters.tile.group, part, self._layout.size, self._product.tag)


def _words(weights, config):
    """k-words (taps, slots * ic) of (tap, channel of the group, slot, weight)."""
    taps = 1 + max(tap for tap, *_ in weights)
    words = np.tile(empty_word(config), (taps, config.ic, 1))
    for tap, channel, slot, weight in weights:
        words[tap, channel, slot] = DSP.encode(np.int64(weight))
    return gather(words.transpose(0, 2, 1))


def _copies(layout, channels, config):
    """Filters that copy the codes of the first channels of a group to their bytes."""
    c, tiles = config, []
    waiting = [(channel, *divmod(at, c.act_group_bytes))
               for channel, (_, _, at) in enumerate(layout.slots(channels))]
    while waiting:
        group = waiting[0][1]
        taken = [copy for copy in waiting if copy[1] <= group + 1][:c.dsp_filters]
        waiting = waiting[len(taken):]
        params = [UNUSED] * c.slots
        for slot, (_, at, lane) in enumerate(taken):
            params[slot], = records(2, 1, lane, at != group, False)     # half of twice the code
        words = partial(_words, [(0, channel, slot, 1) for slot, (channel, _, _) in enumerate(taken)], c)
        tile = Tile(group, tuple((at * c.ic + lane, slot, False) for slot, (_, at, lane) in enumerate(taken)),
                    any(at != group for _, at, _ in taken))
        tiles.append(FilterTile(tile, 0, words, b"".join(params)))
    return tiles


def _positions(op):
    """Of the kernel: the pixel itself, and one outside if its zero point counts."""
    return 2 if op.input.zero else 1


def _passing(op, layout, config):
    """Filter tiles, :attr:`.RecordLayout.parts` for each channel group; those that are alike share their words."""
    known, tiles, order = {}, [], op.output.ordered()
    for low in range(0, op.output.channels, config.ic):
        slots = layout.slots(min(config.ic, op.output.channels - low))
        for part in range(slots[-1][0] + 1):
            mine = tuple((channel, slot) for channel, (at, slot, _) in enumerate(slots) if at == part)
            if mine not in known:
                # The first slot of a pair takes off what the second adds.
                words = partial(_words, [(tap, channel, slot + at, op.weight * (-1) ** (tap + layout.joined + at))
                                         for tap in range(_positions(op)) for channel, slot in mine
                                         for at in range(1 + layout.joined)], config)
                known[mine] = FilterTile(Tile(0, ()), 0, words, b"")
            members = tuple((int(order[low + channel]), slot, layout.joined) for channel, slot in mine)
            tiles.append(replace(known[mine], tile=Tile(low // config.ic, members), first=low // config.ic))
    return tiles
