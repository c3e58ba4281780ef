"""FILM-QNN (Sun et al., FPGA 2022, 10.1145/3490422.3502364): 95 % 4-bit and 5 % 8-bit filters in every layer, 5-bit
activations.

Per layer the filters with the largest output error ``E_i = ||W_i * A - Q4(W_i) * A||_2`` (section 4.2) get 8 bits.
"""

import numpy as np

from spec.numerics import Scheme

from ..sensitivity import filter_errors
from .plan import Plan, Request

__all__ = ["outline", "plan"]


def outline(request: Request) -> Plan:
    """The share, of filters in their order."""
    share, schemes = request.options.get("share", 0.05), {}
    for layer in request.convolutions:
        schemes[layer.name] = np.full(len(layer.weight), Scheme.FIXED4, np.uint8)
        schemes[layer.name][:_wide(share, len(layer.weight))] = Scheme.FIXED8
    return Plan(schemes, request.options.get("act_bits", 5))


def _wide(share, filters):
    return min(filters, max(round(share * filters), int(share > 0)))


def plan(request: Request) -> Plan:
    """Options: ``share`` of 8-bit filters (0.05), ``act_bits`` (5)."""
    share, schemes = request.options.get("share", 0.05), {}
    for layer in request.convolutions:
        error = filter_errors(layer, request.statistics[layer.name], Scheme.FIXED4).numpy()
        count = _wide(share, len(error))
        schemes[layer.name] = np.full(len(error), Scheme.FIXED4, np.uint8)
        schemes[layer.name][np.argsort(-error, kind="stable")[:count]] = Scheme.FIXED8
    return Plan(schemes, request.options.get("act_bits", 5))
