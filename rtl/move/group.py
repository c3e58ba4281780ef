"""What moves channel groups between a port and the activation memories."""

from spec.config import PORT_BITS
from spec.errors import AlloyError

from ..prim import Block, Parameter

__all__ = ["GroupBlock"]


class GroupBlock(Block):
    """A block with one place in the activation memories and one port.

    Parameters
    ----------
    ic, pixels, act_depth, port_bits, group_beats : as in :class:`spec.config.EngineConfig`.
    """
    ic = Parameter()
    pixels = Parameter(2)
    act_depth = Parameter()
    port_bits = Parameter(choices=PORT_BITS)
    group_beats = Parameter()

    def check(self) -> None:
        least = -(-8 * self.ic // self.port_bits)
        if self.group_beats < least:
            raise AlloyError(f"no {type(self).__name__} of {self.ic} channels has group_beats {self.group_beats} of "
                             f"{self.port_bits} bits: give {least} or more")
