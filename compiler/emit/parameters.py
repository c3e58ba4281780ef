"""What the post unit adds and multiplies: one parameter record for each filter slot."""

from typing import TYPE_CHECKING

import numpy as np

from spec.commands import PARAM_BYTES, PARAM_FIELDS, pack_record, pack_records
from spec.config import EngineConfig

from ..slots import HELD, Tile
from .prove import prove

if TYPE_CHECKING:
    from ..operations import Convolution

__all__ = ["MULT", "UNUSED", "parameters", "records"]

MULT = PARAM_FIELDS["mult"].lo // 8     # byte of a record
UNUSED = bytes(PARAM_BYTES)     # record of a slot without a filter


def parameters(op: "Convolution", tiles: list[Tile], config: EngineConfig) -> list[bytes]:
    """The records of all slots of each tile of a layer.

    Raises :class:`AlloyError` naming layer and filter if sums of a filter can overflow.
    """
    biases = _biases(op, config)
    tile, channel, slot, joined, group = np.array([(number, *member, tile.group) for number, tile in enumerate(tiles)
                                                   for member in tile.members], np.int64).T
    at, lane = np.divmod(op.output.positions()[op.makes][channel], config.ic)
    mults = op.mult[channel]
    out = np.zeros((len(tiles), config.slots, PARAM_BYTES), np.uint8)
    out[tile, slot] = pack_records(PARAM_FIELDS, {
        "bias": biases[channel], "mult": mults, "lane": lane, "valid": np.ones_like(lane), "join": joined,
        "second": at != group}, PARAM_BYTES)
    pairs = joined == 1
    out[tile[pairs], slot[pairs] + 1] = pack_records(PARAM_FIELDS, {"mult": mults[pairs]}, PARAM_BYTES)
    return [made.tobytes() for made in out]


def _biases(op, config):
    """What makes the sums of ``weight * code`` of each filter ready for the shift, whole numbers of any size: the
    layer's bias, half of the last place, the output's zero point, and what the zero points of input and residual and
    the one's-complement terms had added; these come once for each digit of the codes."""
    digits = 1 + (1 << config.act_digit_bits) if op.input.bits > config.act_digit_bits else 1
    rest = (1 << op.shift - 1) + (op.output.zero << op.shift) - (
        op.residual.zero * op.res_mult if op.residual is not None else 0)
    found = op.bias.astype(object) + rest
    for held, (column, width) in enumerate(HELD):
        which = np.flatnonzero(op.columns == held)
        if which.size:
            weights, mults = op.split(which), op.mult[which].astype(object)
            slots, ones = column.digits(weights, width), column.ones(weights).sum((1, 2))
            terms = ones.astype(object) * digits - weights.sum((1, 2), np.int64).astype(object) * op.input.zero
            found[which] += terms * mults
            prove(op, which.tolist(), slots, ones, mults.tolist(), found[which].tolist(), config)
    return found


def records(mult: int, bias: int, lane: int, second: bool, joined: bool, next_mult: int | None = None) -> list[bytes]:
    """The record of a filter's slot, and that of the next one if the two are ``joined``, which has the same multiplier
    unless it is given."""
    first = pack_record(PARAM_FIELDS, {"bias": bias, "mult": mult, "lane": lane, "valid": 1, "join": int(joined),
                                       "second": int(second)}, PARAM_BYTES)
    return [first] + [pack_record(PARAM_FIELDS, {"mult": mult if next_mult is None else next_mult},
                                 PARAM_BYTES)] * joined
