"""Passes: each makes a graph of a graph. :data:`PASSES` are those between lowering and placing, in their order."""

from collections.abc import Callable

from spec.config import EngineConfig

from ..graph import Graph
from .align import align_parts
from .columns import choose_columns
from .im2col import im2col_input
from .join import join_parts
from .limits import hold_limits
from .orders import array_cycles, close_groups, order_channels
from .phases import split_phases
from .records import make_records
from .separate import separate_maxima
from .tables import merge_tables

__all__ = ["PASSES", "align_parts", "array_cycles", "choose_columns", "close_groups", "im2col_input", "hold_limits",
           "join_parts", "make_records", "merge_tables", "order_channels", "separate_maxima", "split_phases"]

PASSES: tuple[Callable[[Graph, EngineConfig], Graph], ...] = (
    make_records, merge_tables, align_parts, join_parts, im2col_input, separate_maxima, hold_limits, split_phases,
    choose_columns, order_channels)
