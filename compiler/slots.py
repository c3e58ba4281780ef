"""Filters to slots: which filters run on DSP and which on LUT columns, the channel order, and the filter tiles."""

from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.systems import DSP, LUT, SYSTEMS, Column

if TYPE_CHECKING:
    from .operations import Convolution

__all__ = ["HELD", "Tile", "assign", "make_tiles", "slots_of"]

HELD = (LUT, 1), (DSP, 1), (DSP, 2)     # how a filter is held: its columns, and how many slots it takes


def slots_of(config: EngineConfig) -> dict[Column, int]:
    """How many there are of each kind of column."""
    return {LUT: config.lut_filters, DSP: config.dsp_filters}


@dataclass(frozen=True)
class Tile:
    """The filters of one command: ``(filter, slot, joined)``; output channel groups ``group`` and perhaps ``group +
    1``."""
    group: int
    members: tuple[tuple[int, int, bool], ...]
    straddle: bool = False


def assign(op: "Convolution", config: EngineConfig) -> np.ndarray:
    """How each filter is held, an index of :data:`HELD`. Power-of-two filters balance both sides of the array."""
    cost, pot = DSP.slots(op.weight), LUT.slots(op.weight) > 0
    if config.dsp_filters == 0:
        if not pot.all():
            raise AlloyError(f"layer {op.name} filter {int(np.flatnonzero(~pot)[0])} is not power-of-two, and the "
                             "configuration has no DSP filters: give dsp_filters or quantize the layer to PoT-4")
        return np.zeros(len(cost), np.int64)
    made = np.array([SYSTEMS[int(scheme)].home is LUT for scheme in op.scheme])
    held = np.where(made & (config.lut_filters > 0), 0, cost)
    if config.lut_filters == 0:
        return held

    def tiles(luts, dsps):
        return max(luts / config.lut_filters, dsps / config.dsp_filters)
    luts, dsps = int((held == 0).sum()), int(held.sum())
    for target in (0, 1):       # move to LUT columns, then to DSP columns, as long as that helps
        for index in np.flatnonzero(pot).tolist():
            old, new = int(held[index]), 0 if target == 0 else int(cost[index])
            moved = luts + (new == 0) - (old == 0), dsps + new - old
            if tiles(*moved) < tiles(luts, dsps):
                held[index], (luts, dsps) = new, moved
    return held


def make_tiles(op: "Convolution", held: np.ndarray, config: EngineConfig, *, straddle: bool,
               cuts: Collection[int] = ()) -> tuple[Tile, ...]:
    """Greedy tiles in channel order: each takes what fits its slots from one group, or from two if they may
    ``straddle`` and the second is not among the ``cuts``."""
    assert op.output.order is not None
    return _tiles(op.output.order, op.makes.start, tuple(held.tolist()), config.ic, config.lut_filters,
                  config.dsp_filters, straddle, frozenset(cuts))


@lru_cache(256)         # passes ask for the same ones again and again
def _tiles(order, start, kinds, ic, lut_filters, dsp_filters, straddle, cuts):
    """:func:`make_tiles` of filters of these ``kinds``, which make the channels from ``start`` on."""
    tiles: list[Tile] = []
    waiting = [p for p, channel in enumerate(order) if start <= channel < start + len(kinds)]
    while waiting:
        group = waiting[0] // ic
        pairs: list[int] = []
        singles: list[int] = []
        luts: list[int] = []
        near = bisect_left(waiting, (group + 1 + (straddle and group + 1 not in cuts)) * ic)
        for position in waiting[:near]:
            k = kinds[order[position] - start]
            if k == 0 and len(luts) < lut_filters:
                luts.append(position)
            elif k and 2 * len(pairs) + len(singles) + k <= dsp_filters:
                (pairs if k == 2 else singles).append(position)
        at = [(p, 2 * i, True) for i, p in enumerate(pairs)]
        at += [(p, 2 * len(pairs) + i, False) for i, p in enumerate(singles)]
        at += [(p, dsp_filters + i, False) for i, p in enumerate(luts)]
        members = tuple((order[p] - start, slot, joined) for p, slot, joined in at)
        taken = {*pairs, *singles, *luts}
        waiting[:near] = [p for p in waiting[:near] if p not in taken]
        tiles.append(Tile(group, members, any(p // ic != group for p in taken)))
    return tuple(tiles)
