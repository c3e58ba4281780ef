"""Filter tiles as the array takes them: the k-words of their weights and the records of their parameters."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from spec import latency
from spec.config import EngineConfig
from spec.kwords import Stored, gather, pack_words
from spec.program import HOLE
from spec.systems import empty_word

from ..rows import row_tiles, row_words
from ..slots import HELD, Tile, make_tiles
from .listing import Listing
from .parameters import parameters

if TYPE_CHECKING:
    from ..operations import Convolution

__all__ = ["FilterTile", "array_cycles", "batch", "filter_tiles"]


@dataclass(frozen=True, eq=False)
class FilterTile:
    """``tile`` reads channel groups from ``first`` on; ``make`` gives its :attr:`words`, ``params`` are its parameter
    records; those with one ``key`` have the same words. Words and parameters may be those of the ``number``-th of
    ``size`` tiles in a ``batch``, which is loaded by one command."""
    tile: Tile
    first: int
    make: Callable[[], np.ndarray]
    params: bytes
    key: object = field(default_factory=object)
    batch: "FilterTile | None" = None
    number: int = 0
    size: int = 1
    _stored: dict[int, dict[str, int]] = field(default_factory=dict)

    @cached_property
    def words(self) -> np.ndarray:
        """Nibbles of the k-words, tap by tap: uint8 (k-words, slots * ic)."""
        return self.make()

    def stored(self, low: int, count: int, listing: Listing) -> dict[str, int]:
        """Fields of the command that loads ``count`` words from ``low`` on, which are put into the image once: where
        the engine decodes none, their size is known before they are."""
        if low not in self._stored:
            config, pack = listing.config, lambda: pack_words(self.words[low:low + count], listing.config)
            stored = pack() if config.decode_lanes else Stored.plain(count, config)
            offset = (listing.image.put(stored.data) if config.decode_lanes else
                      listing.image.later(stored.beats * config.wide_bytes, lambda: pack().data))
            self._stored[low] = {"dram": offset, **stored.fields(config)}
        return self._stored[low]


def batch(tiles: list[FilterTile]) -> list[FilterTile]:
    """The tiles, of as many words each, in one batch."""
    if len(tiles) == 1:
        return tiles
    whole = FilterTile(tiles[0].tile, tiles[0].first, lambda: np.concatenate([tile.words for tile in tiles]),
                       b"".join(tile.params for tile in tiles), size=len(tiles))
    return [replace(tile, batch=whole, number=number) for number, tile in enumerate(tiles)]


def filter_tiles(op: "Convolution", config: EngineConfig,
                 cuts: Collection[int] = ()) -> tuple[int, list[FilterTile]]:
    """Channel groups that each tile reads, and the tiles: of one or two groups, whichever takes fewer cycles, but not
    of both the one behind a cut and that before it."""
    depth, tiles, firsts = _chosen(op, config, cuts)
    words = [partial(_words if op.row_taps == 1 else _row_words, op, tile, first * config.ic, depth * config.ic, config)
             for tile, first in zip(tiles, firsts, strict=True)]
    return depth, [FilterTile(*values) for values in zip(tiles, firsts, words, parameters(op, tiles, config),
                                                         strict=True)]


def _tiles(op, config, straddle, cuts):
    """Channel groups that each tile reads, the tiles, and the first group of each."""
    assert op.columns is not None
    order, reach = op.input.ordered(), []
    tiles = make_tiles(op, op.columns, config, straddle=straddle, cuts=cuts)
    for tile in tiles:
        used = op.reading(_filters(tile))[order] & (order != HOLE)
        at = np.flatnonzero(used) // config.ic if used.any() else np.zeros(1, int)
        reach.append((int(at[0]), int(at[-1]) + 1))
    depth, groups = max(hi - lo for lo, hi in reach), op.input.groups(config.ic)
    return depth, tiles, [min(lo, groups - depth) for lo, _ in reach]


def array_cycles(op: "Convolution", config: EngineConfig) -> int:
    """Cycles of all filter tiles over all pixels; of filters that read all channels, as if none of their weights were
    0."""
    lanes = 1 + (op.input.bits > config.act_digit_bits)
    pixel_tiles = -(-op.output.height * op.across(op.output.width) * lanes // config.pixels)
    if op.weight.shape[1] < op.input.channels:
        found = [_chosen(op, config)[:2]]
    else:
        assert op.columns is not None
        groups = op.input.groups(config.ic)
        found = [(groups, make_tiles(op, op.columns, config, straddle=both)) for both in (True, False)]
    return pixel_tiles * min(_cycles(op, config, depth, tiles) for depth, tiles in found)


def _chosen(op, config, cuts=()):
    """Channel groups that each tile reads, the tiles, and the first group of each."""
    if op.row_taps > 1:
        tiles = row_tiles(op, config)
        assert tiles is not None
        return 1, tiles, list(range(len(tiles)))
    found = _tiles(op, config, True, cuts)
    if any(tile.straddle for tile in found[1]):
        found = min(found, _tiles(op, config, False, cuts), key=lambda one: _cycles(op, config, *one[:2]))
    return found


def _cycles(op, config, depth, tiles):
    """For a tile of pixels: k-steps of the array, or visits of the post unit, which sees both groups one after the
    other."""
    wide = op.input.bits > config.act_digit_bits        # a pixel takes two lanes
    steps, visits = len(op.steps) * depth, config.pixels // config.out_pixels
    if wide:
        visits = config.pixels // 2 // latency.wide_pixels(config)
    return sum(max(steps, visits * (1 + tile.straddle)) for tile in tiles)


def _filters(tile: Tile) -> np.ndarray:
    return np.array([channel for channel, _, _ in tile.members])


def _row_words(op, tile, low, _, config):
    """k-words of one tile that takes taps of a row together."""
    return gather(row_words(op, tile, empty_word(config), low, config).transpose(0, 2, 1))


def _words(op, tile, low, count, config):
    """k-words of one tile for ``count`` channels from position ``low`` on."""
    order, filters = op.input.ordered()[low:low + count], _filters(tile)
    at = np.flatnonzero(order != HOLE)
    weights, slots = op.filters(filters)[:, order[at]], np.array([slot for _, slot, _ in tile.members])
    words = np.tile(empty_word(config), (weights.shape[2], count, 1))
    for held, (column, width) in enumerate(HELD):
        which = np.flatnonzero(op.columns[filters] == held)
        for more, digit in enumerate(column.digits(weights[which], width) if which.size else ()):
            words[:, at[:, None], slots[which] + more] = column.encode(digit).transpose(2, 1, 0)
    return gather(words.reshape(-1, config.ic, config.slots).transpose(0, 2, 1))
