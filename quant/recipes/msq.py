"""MSQ (Chang et al., Mix and Match, HPCA 2021, arXiv:2012.04240): SP2 and fixed-4 filters in every layer at the board's
ratio.

SP2 has the magnitudes 0, 1/8, 1/4, 1/2, 5/8, 3/4 and 1, sums of two powers of two; filters of low variance get it
(:func:`quant.assign.relative_variance`). On this engine it is a code book whose levels are twice 4-bit digits: the LUT
elements add one power of two for each weight, and two passes through them cost more than a pair of DSP slots, which
hold any level.
"""

import numpy as np

from spec.numerics import Scheme

from ..assign import relative_variance
from .plan import Plan, Request

__all__ = ["plan", "LEVELS"]

LEVELS = np.array([-8, -6, -5, -4, -2, -1, 0, 1, 2, 4, 5, 6, 8], np.int16)


def plan(request: Request) -> Plan:
    """Options: ``share`` of SP2 filters (0.6), ``act_bits`` (4)."""
    share, schemes = request.options.get("share", 0.6), {}
    for layer in request.convolutions:
        scheme = np.full(len(layer.weight), Scheme.FIXED4, np.uint8)
        scheme[np.argsort(relative_variance(layer.weight),
                          kind="stable")[:round(share * len(scheme))]] = Scheme.CODEBOOK
        schemes[layer.name] = scheme
    return Plan(schemes, request.options.get("act_bits", 4),
                {name: LEVELS for name, s in schemes.items() if (s == Scheme.CODEBOOK).any()})
