"""Non-uniform levels on a single-scale integer grid (Liss et al., arXiv:1811.10869).

Reconstruction: k-quantile levels of a normal distribution, ``Q(w) = F^-1((floor(k F(w)) + 1/2) / k)`` with the weights clamped at 3.45
standard deviations (the authors' published code), rounded to integers -119..119: one code book of 16 levels in every layer. Activations
behind a ReLU take 16 of 256 codes, k-quantiles that are then moved to the least squared error. In single-scale mode every scale is a
power of two, so requantization only shifts.
"""

from statistics import NormalDist

import numpy as np

from spec.numerics import FIXED8_MAX, Scheme

from .plan import Plan, uniform

__all__ = ["plan", "quantile_levels"]

CLAMP = 3.45


def quantile_levels(count):
    """``count`` integer levels at equal probability of a normal distribution; the outermost lies at -119 or 119 at most."""
    normal = NormalDist()
    edge = normal.cdf(CLAMP)
    shares = (1 - edge) + (2 * edge - 1) * (np.arange(count) + 0.5) / count
    values = np.array([normal.inv_cdf(s) for s in shares])
    return np.unique(np.round(values / np.abs(values).max() * FIXED8_MAX)).astype(np.int16)


def plan(request):
    """Options: ``levels`` of weights (16, at most), ``act_bits`` (4): 2 to that many levels of activations, ``single_scale`` (True)."""
    book, bits = quantile_levels(request.options.get("levels", 16)), request.options.get("act_bits", 4)
    return Plan(uniform(request, Scheme.CODEBOOK), bits, {layer.name: book for layer in request.convolutions}, levels=1 << bits,
                single_scale=request.options.get("single_scale", True))
