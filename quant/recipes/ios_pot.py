"""IOS-PoT (CMC 80(2):3021-3045, 2024): integer-only scalar power-of-two weights in every filter.

Reconstruction (the paper's text could not be had): levels ``s * {0, +-1, +-2, ..}`` with an integer scale that
requantization absorbs; 4 bits have seven powers of two, 3 bits (``bits=3``) the three of the code book 0, +-1, +-2,
+-4. Training adds ``lambda * sum_l D(W_l, Q(W_l))``.
"""

from functools import partial

import numpy as np
import torch

from spec.numerics import Scheme

from ..net import QuantNet

from .plan import Plan, Request, uniform

__all__ = ["plan", "distribution_loss", "LEVELS3"]

LEVELS3 = np.array([-4, -2, -1, 0, 1, 2, 4], np.int16)


def plan(request: Request) -> Plan:
    """Options: ``bits`` (4 or 3), ``act_bits`` (8), ``strength`` of the distribution loss in training (1e-3)."""
    three = request.options.get("bits", 4) == 3
    return Plan(uniform(request, Scheme.CODEBOOK if three else Scheme.POT4), request.options.get("act_bits", 8),
                {layer.name: LEVELS3 for layer in request.convolutions} if three else {},
                penalty=partial(distribution_loss, strength=request.options.get("strength", 1e-3)))


def distribution_loss(net: QuantNet, strength: float) -> torch.Tensor:
    """``strength * sum_l D(W_l, Q(W_l))``: mean squared distance to the levels, and between the first two moments,
    relative to the power of W_l."""
    total = torch.zeros(())
    for layer in net.graph.weighted:
        weight = net.weights[layer.name].flatten(1)
        with torch.no_grad():
            levels = net.quantized_weight(layer).flatten(1)
            power = weight.square().mean().clamp_min(1e-12)
        means, spreads = weight.mean(1) - levels.mean(1), weight.std(1, False) - levels.std(1, False)
        moments = means.square().mean() + spreads.square().mean()
        total = total + ((weight - levels).square().mean() + moments) / power
    return strength * total
