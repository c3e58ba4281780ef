"""What commands have to keep to."""

from spec.rows import ROW_TAPS

from ..prim import Block, Parameter

__all__ = ["Limits"]


class Limits(Block):
    """A block that knows the engine's limits.

    Parameters
    ----------
    digest_word, slots, pixels, act_depth, row_taps, weight_depth, param_depth, tap_depth, tables, decode_lanes,
    ports, port_bytes, image_lanes, act_group_bytes, weight_beats : as in :class:`spec.config.EngineConfig`.
    """
    digest_word = Parameter(0, high=0xFFFF_FFFF)
    slots = Parameter()
    pixels = Parameter(2)
    act_depth = Parameter()
    row_taps = Parameter(high=ROW_TAPS)
    weight_depth = Parameter()
    param_depth = Parameter()
    tap_depth = Parameter()
    tables = Parameter(0, high=15)
    decode_lanes = Parameter(0)
    ports = Parameter()
    port_bytes = Parameter(choices=(4, 8, 16, 32))
    image_lanes = Parameter(1, high=2)
    act_group_bytes = Parameter()
    weight_beats = Parameter()
