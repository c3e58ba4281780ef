"""What blocks are made of: layouts, queues, delays, adders, multipliers, the walk over pixels, shared modules.

Of the rooms it alone may be used by all others; vendor primitives are nowhere else.
"""

from .adders import add_tree, tree_levels
from .delays import delay
from .dsp import CHAIN_LATENCY, packed_chain
from .fifo import Queue
from .latency import ACT_DELAY, FEED_LATENCY, GATHER_LATENCY, READ_LATENCY
from .layouts import (
    COMMAND, PARAM, RECORD_BITS, STEP, TAP, VIEW, bank_addrs_layout, bank_data_layout, beat_count_width, codes_layout,
    error_layout, place_layout, request_layout, table_members, view_of, write_layout)
from .locate import Locator, advance
from .multiply import SerialMultiplier
from .share import Library, ResetInserter, place

__all__ = ["ACT_DELAY", "CHAIN_LATENCY", "COMMAND", "FEED_LATENCY", "GATHER_LATENCY", "PARAM", "READ_LATENCY",
           "RECORD_BITS", "STEP", "TAP", "VIEW", "Library", "Locator", "Queue", "ResetInserter", "SerialMultiplier",
           "add_tree", "advance", "bank_addrs_layout", "bank_data_layout", "beat_count_width", "codes_layout", "delay",
           "error_layout", "packed_chain", "place", "place_layout", "request_layout", "table_members", "tree_levels",
           "view_of", "write_layout"]
