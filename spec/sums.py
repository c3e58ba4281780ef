"""How far the sums of a filter go, and what an engine holds: the compiler proves with it, the quantizer keeps to it."""

from collections.abc import Sequence

import numpy as np

from .config import EngineConfig
from .systems import columns_of

__all__ = ["CODE_MAX", "reaches", "overflow"]

CODE_MAX = 255      # of a residual

Range = tuple[np.ndarray, np.ndarray]       # least and largest value


def reaches(digits: Sequence[np.ndarray], ones: np.ndarray | int, bits: int,
            config: EngineConfig) -> tuple[list[Range], list[Range]]:
    """What the sums of filters can reach in each of their slots: in the accumulators, and behind the joining of pixel
    digits.

    Parameters
    ----------
    digits : weights (..., K) in each slot, the low digit first. ones : their one's-complement terms, (...).
    bits : of the input's codes.
    """
    whole, wide = (1 << bits) - 1, bits > config.act_digit_bits
    top = min(whole, (1 << config.act_digit_bits) - 1)
    # Two pixel digits together are the code; each has its one's-complement terms.
    terms = ones * (1 + (1 << config.act_digit_bits)) if wide else ones
    sides = [(np.minimum(digit, 0).sum(-1), np.maximum(digit, 0).sum(-1)) for digit in digits]
    return ([(down * top - ones, up * top) for down, up in sides],
            [(down * whole - terms, up * whole) for down, up in sides])


def overflow(weights: np.ndarray, bits: int, config: EngineConfig) -> np.ndarray:
    """How many times the sums of filters of integer ``weights`` (F, K) reach what the engine holds, whichever columns
    they come to: (F,), above 1 where they overflow. ``bits`` are those of the input's codes."""
    weights = np.asarray(weights, np.int64)
    found = np.zeros(len(weights))
    for column, there in columns_of(config):
        slots = column.slots(weights)
        for count in set(slots[slots > 0].tolist()) if there.start < there.stop else ():
            rows = slots == count
            sums = reaches(column.digits(weights[rows], count), column.ones(weights[rows]).sum(-1), bits, config)
            for ranges, width in zip(sums, (config.acc_width, config.joined_width), strict=True):
                for low, high in ranges:
                    share = np.maximum(-low, high + 1) / float(1 << width - 1)
                    found[rows] = np.maximum(found[rows], share)
    return found
