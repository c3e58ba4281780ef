"""Which filter gets which number system."""

from dataclasses import dataclass

import numpy as np
import torch

from spec.errors import AlloyError
from spec.numerics import FIXED8_MAX, Scheme

from .ptq import rounded

__all__ = ["Ratio", "assign", "fit_codebook"]


@dataclass(frozen=True)
class Ratio:
    """Shares of power-of-two, 4-bit and 8-bit fixed-point filters in each layer, any positive numbers."""
    pot4: float
    fixed4: float
    fixed8: float

    @classmethod
    def parse(cls, text):
        """From ``"35:60:5"``."""
        try:
            parts = [float(p) for p in text.split(":")]
            if len(parts) != 3 or min(parts) < 0 or sum(parts) <= 0:
                raise ValueError
        except ValueError:
            raise AlloyError(f"the ratio {text!r} is not three shares PoT-4:fixed-4:fixed-8 such as 35:60:5") from None
        return cls(*parts)

    def counts(self, filters):
        """Filters of each kind, by largest remainder; a share above zero gets at least one filter where there are enough."""
        shares = np.array([self.pot4, self.fixed4, self.fixed8])
        exact = shares / shares.sum() * filters
        counts = np.floor(exact).astype(int)
        for index in np.argsort(-(exact - counts), kind="stable")[:filters - counts.sum()]:
            counts[index] += 1
        if filters >= 8 and self.fixed8 > 0 and counts[2] == 0:
            counts[int(np.argmax(counts))] -= 1
            counts[2] = 1
        return counts


def assign(weight, ratio):
    """Scheme of every filter of a layer (F, C, kh, kw).

    Filters of least variance are power-of-two: their weights crowd around zero, where the levels are dense (Chang et al., Mix and Match,
    HPCA 2021, section 4.2). Of the others, those with the largest squared error in 4 bits get 8 (after Chang et al., ILMPQ, 2021).
    """
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    pot, _, wide = ratio.counts(len(flat))
    order = np.argsort(flat.var(1), kind="stable")
    scheme = np.full(len(flat), Scheme.FIXED4, np.uint8)
    scheme[order[:pot]] = Scheme.POT4
    rest = order[pot:]
    real = torch.from_numpy(flat[rest]).float()
    errors = (real - rounded(real, np.full(len(rest), Scheme.FIXED4))[1]).square().sum(1).numpy()
    scheme[rest[np.argsort(-errors, kind="stable")[:wide]]] = Scheme.FIXED8
    return scheme


def fit_codebook(weight, size=16, rounds=30):
    """Code book of ``size`` levels (int16, sorted) for filters (F, C, kh, kw): one-dimensional k-means (Lloyd) on the filters, each scaled
    to -119..119."""
    if not 1 <= size <= 16:
        raise AlloyError(f"a code book of {size} levels: 1 to 16 are supported")
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    peak = np.abs(flat).max(1, keepdims=True)
    values = (flat / np.where(peak > 0, peak, 1) * FIXED8_MAX).ravel()
    centres = np.quantile(values, (np.arange(size) + 0.5) / size)
    for _ in range(rounds):
        nearest = np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
        count = np.bincount(nearest, minlength=size)
        centres = np.sort(np.where(count, np.bincount(nearest, values, size) / np.maximum(count, 1), centres))
    return np.unique(np.round(centres)).astype(np.int16)
