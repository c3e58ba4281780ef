"""Alloy's own: number systems that minimize the loss within the slots that the engine has anyway.

A layer of F filters runs in T filter tiles; T tiles have ``T * dsp_filters`` DSP slots (a 4-bit filter takes one, an 8-bit filter two) and
``T * lut_filters`` LUT slots (a power-of-two filter takes one). For each T an integer program gives every filter the number system with the least
total increase of the loss, ``1/2 E[g^2] (w - Q(w))^T H (w - Q(w))`` (second order, Fisher information at the outputs). A second program picks T for
each layer within a budget of cycles: by default those that the fewest tiles take, so that slots that would stay empty make filters wider.
"""

import numpy as np

from spec.errors import AlloyError
from spec.numerics import Scheme

from ..sensitivity import filter_errors
from .plan import Plan, cycles
from .programs import choose

__all__ = ["plan"]

KINDS = (Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8)
SLOTS = np.array([[0, 1, 2], [1, 0, 0]])        # DSP and LUT slots of each kind
MORE_TILES = 1.5                                # most tiles that are tried, relative to the fewest


def plan(request):
    """Options: ``slack``, cycles beyond the fewest (0.0 = none), ``act_bits`` (5)."""
    c, names, costs, uses, plans = request.config, [], [], [], []
    if not c.dsp_filters or not c.lut_filters:
        raise AlloyError("the alloy recipe balances DSP and LUT slots: give the configuration both dsp_filters and lut_filters")
    for layer in request.convolutions:
        stats = request.statistics[layer.name]
        loss = np.stack([(filter_errors(layer, stats, kind) * stats.gain).numpy() for kind in KINDS], 1) / 2
        loss *= np.prod(request.graph.shapes[layer.output][1:])       # gain is that of one output position
        least = -(-len(loss) // c.slots)
        options = []
        for tiles in range(least, int(np.ceil(least * MORE_TILES)) + 1):
            kinds = choose(list(loss), [SLOTS] * len(loss), tiles * np.array([c.dsp_filters, c.lut_filters]), f"number systems of {layer.name}")
            options.append((tiles, kinds, loss[np.arange(len(loss)), kinds].sum()))
        names.append(layer.name)
        plans.append(options)
        costs.append(np.array([o[2] for o in options]))
        uses.append(np.array([[cycles(layer, request.graph.shapes[layer.output], o[0], c) for o in options]], float))
    budget = sum(u.min() for u in uses) * (1 + request.options.get("slack", 0.0))
    picked = choose(costs, uses, np.array([budget * (1 + 1e-9)]), "filter tiles")
    schemes = {name: np.array(KINDS, np.uint8)[options[at][1]] for name, options, at in zip(names, plans, picked)}
    return Plan(schemes, request.options.get("act_bits", 5))
