"""What is larger than the fields of commands count is refused before the work on filters, which takes long."""

from spec.commands import FIELDS, TAP_FIELDS
from spec.config import EngineConfig
from spec.errors import AlloyError

from ..graph import Graph

__all__ = ["hold_limits"]

GROUPS, PIXELS = (1 << FIELDS[name].width for name in ("out_groups", "cols"))
REACH = 1 << TAP_FIELDS["dx"].width - 1


def hold_limits(graph: Graph, config: EngineConfig) -> Graph:
    """The graph itself. Raises :class:`AlloyError` naming a tensor or layer that is too large."""
    for value in graph.values:
        if value.groups(config.ic) >= GROUPS:
            raise AlloyError(f"tensor {value.name} has {value.channels} channels, {value.groups(config.ic)} groups of "
                             f"{config.ic}: commands count {GROUPS - 1}, so make it of several layers or raise ic")
        if max(value.height, value.width) >= PIXELS:
            raise AlloyError(f"tensor {value.name} has {value.height}x{value.width} pixels: commands count "
                             f"{PIXELS - 1} rows and columns, so cut the input into several")
    for op in graph.ops:
        if max(op.windows.reach) >= REACH:
            rows, cols = op.windows.reach
            raise AlloyError(f"layer {op.name} has windows of {rows}x{cols} pixels: taps reach {REACH - 1} of them, so "
                             "make it of two layers")
    return graph
