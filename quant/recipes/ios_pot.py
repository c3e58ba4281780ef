"""IOS-PoT (CMC 80(2):3021-3045, 2024): integer-only scalar power-of-two weights in every filter.

Reconstruction (the paper's text could not be had): levels ``s * {0, +-1, +-2, ..}`` with an integer scale that requantization absorbs;
4 bits have seven powers of two, 3 bits (``bits=3``) the three of the code book 0, +-1, +-2, +-4.
"""

import numpy as np

from spec.numerics import Scheme

from .plan import Plan, uniform

__all__ = ["plan", "LEVELS3"]

LEVELS3 = np.array([-4, -2, -1, 0, 1, 2, 4], np.int16)


def plan(request):
    """Options: ``bits`` (4 or 3), ``act_bits`` (8)."""
    if request.options.get("bits", 4) == 3:
        return Plan(uniform(request, Scheme.CODEBOOK), request.options.get("act_bits", 8),
                    {layer.name: LEVELS3 for layer in request.convolutions})
    return Plan(uniform(request, Scheme.POT4), request.options.get("act_bits", 8))
