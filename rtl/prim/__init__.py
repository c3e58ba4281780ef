"""What blocks are made of: layouts, queues, delays, adders, multipliers, the walk over pixels, shared modules.

Of the rooms it alone may be used by all others; vendor primitives are nowhere else.
"""

from .adders import add_tree
from .block import Block, Parameter, WithFilters, check_out_pixels
from .cells import MODELS, models_of
from .count import Countdown, Left
from .delays import delay
from .dsp import Scaled, packed_chain, scaled_sum
from .fifo import Queue
from .layouts import (
    COMMAND, PARAM, STEP, TAP, VIEW, SomeFields, bank_addrs_layout, bank_data_layout, codes_layout,
    error_layout, lanes_layout, place_layout, request_layout, view_of, write_layout)
from .locate import Locator, advance, at_once, visited_apart
from .multiply import SerialMultiplier
from .ports import (
    act_write_port, activations, feed_port, gather_port, join_streams, loaded, param_port, store_port, table_port,
    tap_port, write_port)
from .ram import ram
from .share import Library, ResetInserter, add_shared
from .slices import Skid, Slice, Stage
from .small import change, small_difference, small_less, small_sum, sum_and_carry, sum_of_three

__all__ = ["Block", "COMMAND", "Countdown", "Left", "Library", "Locator", "MODELS", "PARAM", "Parameter", "Queue",
           "ResetInserter", "STEP", "Scaled", "SerialMultiplier", "Skid", "Slice", "SomeFields", "Stage", "TAP", "VIEW",
           "WithFilters", "act_write_port", "activations", "add_shared", "add_tree", "advance", "at_once",
           "bank_addrs_layout", "bank_data_layout", "change", "check_out_pixels", "codes_layout", "delay",
           "error_layout", "feed_port", "gather_port", "join_streams", "lanes_layout", "loaded", "models_of",
           "packed_chain", "param_port", "place_layout", "ram", "request_layout", "scaled_sum", "small_difference",
           "small_less", "small_sum", "store_port", "sum_and_carry", "sum_of_three", "table_port", "tap_port",
           "view_of", "visited_apart", "write_layout", "write_port"]
