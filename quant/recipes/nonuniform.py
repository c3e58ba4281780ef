"""Non-uniform levels on a single-scale integer grid (Liss et al., arXiv:1811.10869).

Reconstruction: the weights of a layer take 16 integer levels in -119..119 (a code book), activations behind a ReLU 16
of 256 codes. In single-scale mode every scale is a power of two, so requantization only shifts.

The paper's levels are k-quantiles of a normal distribution, ``Q(w) = F^-1((floor(k F(w)) + 1/2) / k)`` with the weights
clamped at 3.45 standard deviations (the authors' published code), which suit its training with noise. Here the levels
are by default those that lose least (:func:`quant.levels.best_levels`); ``quantiles`` gives the paper's for the
weights.
"""

from statistics import NormalDist

import numpy as np

from spec.numerics import Scheme
from spec.systems import WEIGHT_MAX

from ..assign import fit_codebook
from .plan import Plan, Request, uniform

__all__ = ["plan", "quantile_levels"]

CLAMP = 3.45


def quantile_levels(count: int) -> np.ndarray:
    """``count`` integer levels at equal probability of a normal distribution; the outermost lies at -119 or 119 at
    most."""
    normal = NormalDist()
    edge = normal.cdf(CLAMP)
    shares = (1 - edge) + (2 * edge - 1) * (np.arange(count) + 0.5) / count
    values = np.array([normal.inv_cdf(s) for s in shares])
    return np.unique(np.round(values / np.abs(values).max() * WEIGHT_MAX)).astype(np.int16)


def plan(request: Request) -> Plan:
    """Options: ``levels`` of weights (16, at most), ``act_bits`` (4): 2 to that many levels of activations,
    ``single_scale`` (True), ``quantiles`` (False)."""
    size, bits = request.options.get("levels", 16), request.options.get("act_bits", 4)
    quantiles = quantile_levels(size) if request.options.get("quantiles") else None
    books = {layer.name: fit_codebook(layer.weight.numpy(), size) if quantiles is None else quantiles
             for layer in request.convolutions}
    return Plan(uniform(request, Scheme.CODEBOOK), bits, books, levels=1 << bits,
                single_scale=request.options.get("single_scale", True))
