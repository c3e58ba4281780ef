"""What the post unit adds and multiplies: one parameter record for each filter slot."""

from typing import TYPE_CHECKING

from spec.commands import PARAM_BYTES, PARAM_FIELDS, pack_record
from spec.config import EngineConfig

if TYPE_CHECKING:
    from ..operations import Convolution

__all__ = ["MULT", "UNUSED", "bias", "records"]

MULT = PARAM_FIELDS["mult"].lo // 8     # byte of a record
UNUSED = bytes(PARAM_BYTES)     # record of a slot without a filter


def bias(op: "Convolution", channel: int, total: int, ones: int, config: EngineConfig) -> int:
    """What makes one sum of ``weight * code``, whose weights have the sum ``total``, ready for the shift: the layer's
    bias, half of the last place, the output's zero point, and what the zero points of input and residual and the
    ``ones`` one's-complement terms had added.

    The terms come once for each digit of the codes.
    """
    digits = 1 + (1 << config.act_digit_bits) if op.input.bits > config.act_digit_bits else 1
    mult, half, zero = int(op.mult[channel]), 1 << op.shift - 1, op.output.zero << op.shift
    rest = op.residual.zero * op.res_mult if op.residual is not None else 0
    return int(op.bias[channel]) + half + zero + (ones * digits - op.input.zero * total) * mult - rest


def records(mult: int, bias: int, lane: int, second: bool, joined: bool, next_mult: int | None = None) -> list[bytes]:
    """The record of a filter's slot, and that of the next one if the two are ``joined``, which has the same multiplier
    unless it is given."""
    first = pack_record(PARAM_FIELDS, {"bias": bias, "mult": mult, "lane": lane, "valid": 1, "join": int(joined),
                                       "second": int(second)}, PARAM_BYTES)
    return [first] + [pack_record(PARAM_FIELDS, {"mult": mult if next_mult is None else next_mult},
                                 PARAM_BYTES)] * joined
