"""Depthwise convolutions that take several taps of a row in each k-step (:mod:`spec.rows`)."""

from typing import TYPE_CHECKING

import numpy as np

from spec.config import EngineConfig
from spec.program import HOLE
from spec.rows import ROW_STEPS, lane

from .slots import HELD, Tile

if TYPE_CHECKING:
    from .operations import Convolution

__all__ = ["lanes_of", "row_reach", "row_steps", "row_tiles", "row_words"]


def row_steps(op: "Convolution", row_taps: int) -> list[tuple[int, ...]]:
    """The positions of the kernel that each k-step has, from left to right: neighbours in one plane of the input. A row
    of the output begins at the second lane, so that the first of three must lie outside of the map there."""
    (rows, columns), stride = op.kernel, op.stride[1]
    at = [column * op.dilation[1] - op.padding[1] for column in range(columns)]
    steps: list[list[int]] = []         # columns
    for plane in range(stride):
        here = [column for column in range(columns) if at[column] % stride == plane]
        for number, column in enumerate(here):
            last = steps[-1] if number else []
            follows = last and at[column] == at[last[-1]] + stride and len(last) < row_taps
            if follows and (len(last) < 2 or at[column] < 2 * stride):
                last.append(column)
            else:
                steps.append([column])
    return [tuple(row * columns + column for column in step) for row in range(rows) for step in steps]


def row_reach(op: "Convolution", columns: int) -> int:
    """Pixels of a row of the input's planes, those that no output is made of among them: where the last row ends, the
    pixels before the first one of a row lie outside of the map."""
    stride, reach = op.stride[1], columns + 1
    for taps in op.steps:
        x = taps[0] % op.kernel[1] * op.dilation[1] - op.padding[1]
        if len(taps) > 2:
            reach = max(reach, -(-(op.input.width - x % stride) // stride) - x // stride)
    return reach


def row_tiles(op: "Convolution", config: EngineConfig) -> tuple[Tile, ...] | None:
    """A tile for each channel group of the input, whose channels lie on the lanes of their slots; None of a convolution
    that takes no taps of a row together, or whose channels lie elsewhere."""
    if (config.row_taps == 1 or not op.by_channel or op.at is not None or op.regions or op.columns is None
            or op.input.order is None or op.output.order is None or op.input.bits > config.act_digit_bits):
        return None
    steps = row_steps(op, config.row_taps)
    if (len(steps) >= len(op.taps) or len(steps) > min(ROW_STEPS, config.weight_depth, config.tap_depth)
            or len(op.taps) > op.kernel[0] * op.kernel[1]):
        return None
    tiles, order, places = [], op.input.ordered(), op.output.positions()
    for low in range(0, len(order), config.ic):
        channels = order[low:low + config.ic]
        lanes = np.flatnonzero(channels != HOLE)
        held = op.columns[channels[lanes]]
        groups = places[channels[lanes]] // config.ic
        if not len(lanes) or lanes_of(held, config) != lanes.tolist():
            return None
        assert np.ptp(groups) < 2, "input and output have one order, but for holes"
        members = tuple((int(channel), at if kind < 2 else at // 2 * 2, kind == 2)
                        for channel, at, kind in zip(channels[lanes], lanes.tolist(), held.tolist(), strict=True))
        tiles.append(Tile(int(groups.min()), members, bool(np.ptp(groups))))
    return tuple(tiles)


def lanes_of(held: np.ndarray, config: EngineConfig) -> list[int] | None:
    """The lanes of channels whose filters are ``held`` so (:data:`.slots.HELD`): those in pairs of slots first, then
    those in single ones, then those on LUT columns; None if they are in another order, or too many."""
    kinds = [2, 1, 0]
    if sorted(held.tolist(), key=kinds.index) != held.tolist():
        return None
    pairs, singles, luts = (int((held == kind).sum()) for kind in kinds)
    if 2 * pairs + singles > config.dsp_filters or luts > config.lut_filters:
        return None
    return [*range(0, 2 * pairs, 2), *range(2 * pairs, 2 * pairs + singles),
            *range(config.dsp_filters, config.dsp_filters + luts)]


def row_words(op: "Convolution", tile: Tile, empty: np.ndarray, first: int, config: EngineConfig) -> np.ndarray:
    """Nibbles of one tile, (k-steps, ic, slots); ``empty`` are those of a lane without weights, ``first`` is the
    position of the group's first channel."""
    words = np.tile(empty, (len(op.steps), config.ic, 1))
    assert op.columns is not None
    filters = np.array([channel for channel, _, _ in tile.members])
    lanes = op.input.positions()[filters] - first
    for held, (column, width) in enumerate(HELD):
        which = np.flatnonzero(op.columns[filters] == held)
        together = 1 if held == 0 else 2
        for more, digit in enumerate(column.digits(op.split(filters[which]), width) if which.size else ()):
            nibbles = column.encode(digit)[:, 0]            # (filters, taps)
            for number, taps in enumerate(op.steps):
                for before, tap in enumerate(taps[::-1]):
                    for index, at in enumerate(which.tolist()):
                        place = lane(int(lanes[at]), before, together, config.ic)
                        words[number, place, tile.members[at][1] + more] = nibbles[index, tap]
    return words
