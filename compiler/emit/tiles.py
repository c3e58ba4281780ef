"""Filter tiles as the array takes them: the k-words of their weights and the records of their parameters."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from spec.config import EngineConfig
from spec.kwords import gather, pack_words
from spec.systems import DSP, LUT

from ..slots import Tile, make_tiles
from .listing import Listing
from .parameters import UNUSED, bias, records
from .prove import prove

if TYPE_CHECKING:
    from ..operations import Convolution

__all__ = ["FilterTile", "filter_tiles"]


@dataclass(frozen=True, eq=False)
class FilterTile:
    """``tile`` reads channel groups from ``first`` on; ``words`` (k-words, slots * ic) are its nibbles, tap by tap,
    ``params`` its parameter records; those with one ``key`` have the same words."""
    tile: Tile
    first: int
    words: np.ndarray
    params: bytes
    key: object = field(default_factory=object)
    _stored: dict[int, dict[str, int]] = field(default_factory=dict)

    def stored(self, low: int, count: int, listing: Listing) -> dict[str, int]:
        """Fields of the command that loads ``count`` words from ``low`` on, which are put into the image once."""
        if low not in self._stored:
            stored = pack_words(self.words[low:low + count], listing.config)
            self._stored[low] = {"dram": listing.image.put(stored.data), **stored.fields(listing.config)}
        return self._stored[low]


def filter_tiles(op: "Convolution", config: EngineConfig) -> tuple[int, list[FilterTile]]:
    """Channel groups that each tile reads, and the tiles."""
    assert op.columns is not None
    order, reach = op.input.ordered(), []
    tiles = make_tiles(op, op.columns, config)
    for tile in tiles:
        used = np.zeros(op.input.channels, bool)
        for channel, _, _ in tile.members:
            used |= op.filter(channel)[order].any(1)
        at = np.flatnonzero(used) // config.ic if used.any() else np.zeros(1, int)
        reach.append((int(at[0]), int(at[-1]) + 1))
    depth, groups = max(hi - lo for lo, hi in reach), op.input.groups(config.ic)
    firsts = [min(lo, groups - depth) for lo, _ in reach]
    position = op.output.positions()[op.makes]
    return depth, [FilterTile(tile, first, *_image(op, tile, first * config.ic, depth * config.ic, position, config))
                   for tile, first in zip(tiles, firsts, strict=True)]


def _image(op, tile, low, count, position, config):
    """k-words of one tile for ``count`` channels from position ``low`` on, and its parameter records."""
    taps, order = len(op.taps), op.input.ordered()[low:low + count]
    words = np.zeros((taps, count, config.slots), np.uint8)
    words[..., config.dsp_filters:] = LUT.zero
    params = [UNUSED] * config.slots
    for channel, slot, joined in tile.members:
        weight = op.filter(channel)[order]      # (positions, taps)
        column = DSP if slot < config.dsp_filters else LUT
        digits, ones = column.digits(weight, 1 + joined), int(column.ones(weight).sum())
        for at, digit in enumerate(digits, slot):
            words[:, :len(weight), at] = column.encode(digit).T
        mult, constant = int(op.mult[channel]), bias(op, channel, weight, ones, config)
        prove(op, channel, digits, ones, mult, constant, config)
        group, lane = divmod(int(position[channel]), config.ic)
        made = records(mult, constant, lane, group != tile.group, joined)
        params[slot:slot + len(made)] = made
    nibbles_by_slot = words.reshape(-1, config.ic, config.slots).transpose(0, 2, 1)
    return gather(nibbles_by_slot), b"".join(params)
