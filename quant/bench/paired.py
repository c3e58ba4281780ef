"""Rows measured on the same images, compared image by image."""

import base64
from typing import NamedTuple
import zlib

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

__all__ = ["Comparison", "pack", "unpack", "compare", "holm", "LEVEL"]

LEVEL = 0.05  # of a whole family of comparisons


def pack(flags: ArrayLike) -> str:
    """One flag for each image as text."""
    return base64.b64encode(zlib.compress(np.packbits(np.asarray(flags, bool)).tobytes(), 9)).decode()


def unpack(text: str, count: int) -> np.ndarray:
    """Inverse of :func:`pack`: bool (count,)."""
    return np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8), count=count).astype(bool)


class Comparison(NamedTuple):
    """``difference`` of two shares in points, its paired standard ``error``, and the ``p`` of McNemar's exact test
    (Psychometrika 12, 1947): how likely chance alone splits the images on which just one of the two is right as
    unevenly."""

    difference: float
    error: float
    p: float


def compare(one: ArrayLike, two: ArrayLike) -> Comparison:
    """The :class:`Comparison` of ``one`` less ``two``, flags of the same images (N,)."""
    one, two = np.asarray(one, bool), np.asarray(two, bool)
    change = one.astype(int) - two
    more, less = int((change > 0).sum()), int((change < 0).sum())
    p = binomtest(more, more + less).pvalue if more + less else 1.0
    return Comparison(100 * change.mean(), 100 * change.std(ddof=1) / len(change) ** 0.5, float(p))


def holm(values: ArrayLike) -> np.ndarray:
    """P values of a family of comparisons, each as likely as if it were the only one (Holm, Scand. J. Statistics 6,
    1979)."""
    values, out = np.asarray(values, float), np.zeros(len(values))
    order = np.argsort(values)
    out[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1.0)
    return out
