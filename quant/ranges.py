"""Ranges of activations: the scale and the zero point of a tensor's codes."""

from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from torch.nn import functional as F

__all__ = ["RULES", "encode_", "search_input", "search_range", "search_logits", "zero_point"]

BEYOND = 1e-4           # share of the values that a percentile leaves out
HOPELESS = 20.0         # nats below an image's answer: probability 2e-9
RULES = ("mse", "minmax", "percentile")


def encode_(ratio: torch.Tensor, zero: int = 0, top: int | None = None) -> torch.Tensor:
    """The codes ``floor(ratio + 1/2) + zero`` of real values that are given in steps, in place; within 0..top, if that
    is given."""
    codes = ratio.add_(0.5).floor_().add_(zero)
    return codes if top is None else codes.clamp_(0, top)


def search_range(value: torch.Tensor, target: torch.Tensor, zero: int, top: int, tries: int = 48,
                 rule: str = "mse") -> float:
    """Scale of the codes 0..top for ``value``.

    ``rule``: "mse", that at which the codes come closest to ``target``; "minmax", that which just holds every value;
    "percentile", that which holds all but :data:`BEYOND` of them at each end.
    """
    ends = value.min(), value.max()
    if rule == "percentile":
        beyond = int(BEYOND * (len(value) - 1))
        ends = value.kthvalue(1 + beyond)[0], value.kthvalue(len(value) - beyond)[0]
    low, high = max(-float(ends[0]), 0.0) / max(zero, 1), max(float(ends[1]), 0.0) / max(top - zero, 1)
    full, least = max(low if zero else 0.0, high) or 1.0, float("inf")
    best = full
    if rule != "mse":
        return full
    for factor in np.geomspace(0.03, 1.05, tries):
        step = full * float(factor)
        codes = encode_(value / step, zero, top)
        error = float(((codes - zero) * step - target).square().sum())
        if error < least:
            best, least = step, error
    return best


def search_input(value: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor], top: int,
                 signed: bool) -> tuple[float, int]:
    """Scale and zero point of the codes 0..top of ``value`` (N,), of which only what ``function`` makes of them counts:
    the least squared distance. Where it is flat or saturated, values need no steps."""
    low, high = max(-float(value.min()), 0.0) if signed else 0.0, max(float(value.max()), 0.0)
    best, least, target = (1.0, 0), float("inf"), function(value)
    ends = found = low, high
    for shares in (np.geomspace(1, 1e-3, 16), np.geomspace(0.7, 1.4, 8)):      # coarse, then fine
        for down, up in product(*([min(end, share * middle) for share in shares] if middle else [0.0]
                                  for end, middle in zip((low, high), ends, strict=True))):
            step = (down + up) / top or 1.0
            zero = round(down / step)
            made = function((torch.arange(top + 1) - zero) * step)
            error = float((made[encode_(value / step, zero, top).long()] - target).square().sum())
            if error < least:
                best, least, found = (step, zero), error, (down, up)
        ends = found
    return best


def search_logits(logits: torch.Tensor, top: int, tries: int = 20, power: bool = False) -> tuple[float, int]:
    """Scale and zero point of the codes 0..top of ``logits`` (N, classes) with the least divergence of the answers.

    Classes compete: among the best of an image steps must be fine, while the largest logits belong to images without a
    doubt, and the lowest have no chance. Codes that hold all of them tie in more than one answer of a hundred. The
    lowest end is a quantile of the logits or a part of the least one. A class that no image comes near (masked by a
    huge bias, say) has no part in this: it only has to stay below. ``power``: scales are powers of two.
    """
    logits = logits[:, (logits > logits.amax(1, keepdim=True) - HOPELESS).any(0)]
    answers, best, least = F.log_softmax(logits, 1), (1.0, 0), float("inf")
    order, largest = logits.flatten().sort()[0], max(float(logits.max()), 0.0)
    ranks = torch.from_numpy(np.append(0.0, np.logspace(-5, 0, tries)) * (len(order) - 1)).round().long()
    parts = -float(order[0].clamp_max(0.0)) * np.linspace(1.0, 0.0, tries)
    lows = dict.fromkeys([*(-order[ranks].clamp_max(0.0)).tolist(), *parts.tolist()])
    for low, high in product(lows, np.linspace(largest, 0.4 * largest, tries)):
        step = (low + high) / top or 1.0
        step = 2.0 ** np.ceil(np.log2(step)) if power else step
        zero = round(low / step)
        codes = encode_(logits / step, zero, top)
        loss = float(F.kl_div(F.log_softmax((codes - zero) * step, 1), answers, log_target=True, reduction="sum"))
        if loss < least:
            best, least = (step, zero), loss
    return best


def zero_point(low: float, high: float, top: int) -> int:
    """The code of 0 with which the codes 0..top hold ``low`` to ``high`` in the finest steps."""
    low, high = max(-float(low), 0.0), max(float(high), 0.0)
    return round(top * low / (low + high)) if low + high else (top + 1) // 2
