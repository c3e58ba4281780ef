"""ILMPQ (Chang et al., arXiv:2111.00155): PoT-4, fixed-4 and fixed-8 filters in one ratio in every layer, 4-bit
activations.

The largest Hessian eigenvalue of each filter selects the 8-bit ones; of the rest, those of low variance are
power-of-two, the others 4-bit fixed point (:func:`quant.assign.relative_variance`). Reconstruction: the eigenvalue is
that of the filter's Fisher block (the Gauss-Newton part of the Hessian).
"""

import numpy as np

from spec.numerics import Scheme

from ..assign import Ratio, relative_variance
from .plan import Plan, Request

__all__ = ["outline", "plan"]


def outline(request: Request) -> Plan:
    """The ratio, of filters in their order."""
    ratio, schemes = Ratio.parse(request.options.get("ratio", "60:35:5")), {}
    for layer in request.convolutions:
        counts = ratio.counts(len(layer.weight))
        schemes[layer.name] = np.repeat(np.array([Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8], np.uint8), counts)
    return Plan(schemes, request.options.get("act_bits", 4))


def plan(request: Request) -> Plan:
    """Options: ``ratio`` ("60:35:5" PoT-4 : fixed-4 : fixed-8), ``act_bits`` (4)."""
    ratio, schemes = Ratio.parse(request.options.get("ratio", "60:35:5")), {}
    for layer in request.convolutions:
        eigenvalue = request.statistics[layer.name].largest_eigenvalues().numpy()
        pot, _, wide = ratio.counts(len(eigenvalue))
        scheme = np.full(len(eigenvalue), Scheme.FIXED4, np.uint8)
        order = np.argsort(-eigenvalue, kind="stable")
        scheme[order[:wide]] = Scheme.FIXED8
        rest = order[wide:]
        scheme[rest[np.argsort(relative_variance(layer.weight[rest]), kind="stable")[:pot]]] = Scheme.POT4
        schemes[layer.name] = scheme
    return Plan(schemes, request.options.get("act_bits", 4))
