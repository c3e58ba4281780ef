"""Which filter gets which number system."""

from dataclasses import dataclass

import numpy as np
import torch

from spec.errors import AlloyError
from spec.numerics import Scheme
from spec.systems import WEIGHT_MAX

from .levels import best_levels
from .rounding import rounded, search_scales

__all__ = ["Ratio", "assign", "fit_codebook", "relative_variance"]

BINS = 512          # of a histogram of weights
WEIGHTS = 100_000   # of a layer that a code book is fitted to


@dataclass(frozen=True)
class Ratio:
    """Shares of power-of-two, 4-bit and 8-bit fixed-point filters in each layer, any positive numbers."""
    pot4: float
    fixed4: float
    fixed8: float

    @classmethod
    def parse(cls, text: str) -> "Ratio":
        """From ``"35:60:5"``."""
        try:
            parts = [float(p) for p in text.split(":")]
            if len(parts) != 3 or min(parts) < 0 or sum(parts) <= 0:
                raise ValueError
        except ValueError:
            raise AlloyError(f"the ratio {text!r} is not three shares PoT-4:fixed-4:fixed-8 such as 35:60:5") from None
        return cls(*parts)

    def counts(self, filters: int) -> np.ndarray:
        """Filters of each kind, by largest remainder; a share above zero gets at least one filter where there are
        enough."""
        shares = np.array([self.pot4, self.fixed4, self.fixed8])
        exact = shares / shares.sum() * filters
        counts = np.floor(exact).astype(int)
        for index in np.argsort(-(exact - counts), kind="stable")[:filters - counts.sum()]:
            counts[index] += 1
        if filters >= 8 and self.fixed8 > 0 and counts[2] == 0:
            counts[int(np.argmax(counts))] -= 1
            counts[2] = 1
        return counts


def relative_variance(weight: np.ndarray) -> np.ndarray:
    """Variance of every filter of a layer (F, C, kh, kw), float (F,), in squares of its largest weight; 0 for filters
    of zeros.

    Filters of low variance crowd around zero, where power-of-two levels are dense (Chang et al., Mix and Match, HPCA
    2021, section 4.2). Here each filter has a scale of its own, and equalization gives it any size: only what is left
    once that is taken out tells where its weights lie.
    """
    flat = np.asarray(weight, np.float64).reshape(len(weight), -1)
    return flat.var(1) / np.maximum(np.square(flat).max(1), 1e-300)


def assign(weight: np.ndarray, ratio: Ratio) -> np.ndarray:
    """Scheme of every filter of a layer (F, C, kh, kw).

    Filters of least :func:`relative_variance` are power-of-two. Of the others, those with the largest squared error in
    4 bits get 8 (after Chang et al., ILMPQ, 2021).
    """
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    pot, _, wide = ratio.counts(len(flat))
    order = np.argsort(relative_variance(flat), kind="stable")
    scheme = np.full(len(flat), Scheme.FIXED4, np.uint8)
    scheme[order[:pot]] = Scheme.POT4
    rest = order[pot:]
    real = torch.from_numpy(flat[rest]).float()
    errors = (real - rounded(real, np.full(len(rest), Scheme.FIXED4))[1]).square().sum(1).numpy()
    scheme[rest[np.argsort(-errors, kind="stable")[:wide]]] = Scheme.FIXED8
    return scheme


def fit_codebook(weight: np.ndarray, size: int = 16, rounds: int = 4) -> np.ndarray:
    """Code book of at most ``size`` levels (int16, sorted, -119..119) for filters (F, C, kh, kw), each with a scale of
    its own: levels that lose least at the filters' scales and scales that lose least with the levels, in turns."""
    if not 1 <= size <= 16:
        raise AlloyError(f"a code book of {size} levels: 1 to 16 are supported")
    flat = torch.from_numpy(np.ascontiguousarray(weight.reshape(len(weight), -1), np.float32))
    flat = flat[:, ::max(1, flat.numel() // WEIGHTS)]
    scale = flat.abs().amax(1)
    if not scale.any():
        return np.zeros(1, np.int16)
    for _ in range(rounds):
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        values = (flat / scale[:, None]).numpy().ravel()
        peak = max(float(np.abs(values).max()), 1e-30)
        counts = np.histogram(values, BINS, (-peak, peak),
                              weights=scale.square()[:, None].expand_as(flat).numpy().ravel())[0]
        levels = best_levels(counts, size) - (BINS - 1) / 2
        book = np.unique(np.round(levels * WEIGHT_MAX / max(np.abs(levels).max(), 1e-30))).astype(np.int16)
        scale = search_scales(flat, np.full(len(flat), Scheme.CODEBOOK), codebook=book, steps=20)
    return book
