"""Filter tiles as the array takes them: the k-words of their weights and the records of their parameters."""

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from spec.config import EngineConfig
from spec.kwords import gather, pack_words
from spec.systems import columns_of, empty_word

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
    """Channel groups that each tile reads, and the tiles: of one or two groups, whichever takes fewer cycles."""
    depth, tiles, firsts = min((_tiles(op, config, straddle) for straddle in (True, False)), key=lambda found: _cycles(
        op, config, *found[:2]))
    position = op.output.positions()[op.makes]
    return depth, [FilterTile(tile, first, *_image(op, tile, first * config.ic, depth * config.ic, position, config))
                   for tile, first in zip(tiles, firsts, strict=True)]


def _tiles(op, config, straddle):
    """Channel groups that each tile reads, the tiles, and the first group of each."""
    assert op.columns is not None
    order, reach = op.input.ordered(), []
    tiles = make_tiles(op, op.columns, config, straddle=straddle)
    for tile in tiles:
        used = op.reading(_column(tile, 0))[order]
        at = np.flatnonzero(used) // config.ic if used.any() else np.zeros(1, int)
        reach.append((int(at[0]), int(at[-1]) + 1))
    depth, groups = max(hi - lo for lo, hi in reach), op.input.groups(config.ic)
    return depth, tiles, [min(lo, groups - depth) for lo, _ in reach]


def _cycles(op, config, depth, tiles):
    """For a tile of pixels: k-steps of the array, or visits of the post unit, which sees both groups one after the
    other."""
    steps, visits = len(op.taps) * depth, config.pixels // config.out_pixels
    return sum(max(steps, visits * (1 + tile.straddle)) for tile in tiles)


def _column(tile: Tile, index: int) -> np.ndarray:
    return np.array([member[index] for member in tile.members])


def _image(op, tile, low, count, position, config):
    """k-words of one tile for ``count`` channels from position ``low`` on, and its parameter records."""
    order, params = op.input.ordered()[low:low + count], [UNUSED] * config.slots
    weights = op.filters(_column(tile, 0))[:, order]        # (filters, positions, taps)
    words = np.tile(empty_word(config), (weights.shape[2], count, 1))
    slots, joined = _column(tile, 1), _column(tile, 2)
    for (column, there), width in product(columns_of(config), (1, 2)):
        which = np.flatnonzero((joined == (width == 2)) & (slots >= there.start) & (slots < there.stop))
        if not which.size:
            continue
        chosen = weights[which]
        digits, ones = column.digits(chosen, width), column.ones(chosen).sum((1, 2))
        for at, digit in enumerate(digits):
            words[:, :len(order), slots[which] + at] = column.encode(digit).transpose(2, 1, 0)
        members = [tile.members[index][:2] for index in which.tolist()]
        mults = [int(op.mult[channel]) for channel, _ in members]
        constants = [bias(op, channel, total, terms, config) for (channel, _), total, terms in zip(
            members, chosen.sum((1, 2), np.int64).tolist(), ones.tolist(), strict=True)]
        prove(op, [channel for channel, _ in members], digits, ones, mults, constants, config)
        for (channel, slot), mult, constant in zip(members, mults, constants, strict=True):
            group, lane = divmod(int(position[channel]), config.ic)
            made = records(mult, constant, lane, group != tile.group, width == 2)
            params[slot:slot + len(made)] = made
    nibbles_by_slot = words.reshape(-1, config.ic, config.slots).transpose(0, 2, 1)
    return gather(nibbles_by_slot), b"".join(params)
