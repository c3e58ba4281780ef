"""HBP, hierarchical bit programming (IEEE TETCI 2024, 10.1109/tetci.2024.3510295): bits per channel group.

Reconstruction (the paper's text could not be had): minimize ``sum_g Omega_g(b_g)`` subject to ``sum_g n_g b_g <=
budget``, b_g in 2..8, with ``Omega_g = trace(Hessian) ||W_g - Q_b(W_g)||^2``; level 1 over the layers, level 2 sorts
the filters of a layer by sensitivity, cuts them into groups and solves over the groups within the bits of level 1. Both
are integer programs. The trace, of each filter's Fisher block, compares the filters of a layer; what all of a layer's
filters together cost at each width is measured on the float network (docs/decisions/sensitivity.md).
"""

import numpy as np
import torch

from spec.errors import AlloyError
from spec.numerics import Scheme
from spec.systems import DSP, SYSTEMS

from ..integers import uncalibrated
from ..rounding import rounded
from ..sensitivity import compensated, divergences
from .plan import Plan, Request, uniform
from .programs import choose

__all__ = ["outline", "plan"]

BITS = np.arange(2, 9)
MEASURED = 4            # widths, 2 to 5 bits; every further bit quarters the squared error


def _trace(layer, statistics):
    """``trace * ||w - Q_b(w)||^2`` of every filter and width: (F, bits)."""
    flat = layer.weight.flatten(1)
    trace = torch.einsum("gnk,gnf->gf", statistics.windows.square(),
                         statistics.gradients.square()) / statistics.windows.shape[1]
    out = np.zeros((len(flat), len(BITS)))
    for column, bits in enumerate(BITS):
        change = flat - rounded(flat, np.full(len(flat), bits), steps=20)[1]
        out[:, column] = (trace.reshape(-1) * change.square().sum(1)).numpy()
    return out


def _sensitivities(request):
    """For every layer the loss that each filter brings at each width: list of (F, bits). They add up to what the layer
    costs at this width."""
    layers, out = request.convolutions, []
    for number, layer in enumerate(layers):
        stats, filters = request.statistics[layer.name], len(layer.weight)
        weights = compensated(layer, stats, [np.full(filters, bits, np.uint8) for bits in BITS[:MEASURED]])
        changes = [(layer.name, weight, None) for weight in weights]
        measured = np.minimum.accumulate(divergences(request.graph, request.images, changes))
        trace = _trace(layer, stats) + 1e-30
        cost = np.append(measured, measured[-1] / 4.0 ** np.arange(1, len(BITS) - MEASURED + 1))
        out.append(trace / trace.sum(0) * cost)
        request.report(f"sensitivity of layer {number + 1} of {len(layers)} ({layer.name})")
    return out


def _prices(request):
    """What each layer takes of the budget at each width, if all of its filters have it: list of (bits,), relative to
    one bit everywhere or, for "cycles", to what the network takes with 4 bits."""
    budget, graph, layers = request.options.get("budget", "size"), request.graph, request.convolutions
    if budget == "cycles":
        if not request.cycles:
            raise AlloyError("a budget of cycles needs to know the cycles of a network: give the request a cycle model")
        plans = (Plan(uniform(request, bits), _act_bits(request)) for bits in (Scheme.FIXED4, Scheme.FIXED8))
        one, two = (request.cycles(uncalibrated(plan.net(graph, config=request.config))) for plan in plans)
        wide = [SYSTEMS[int(bits)].slots(DSP) > 1 for bits in BITS]
        return [np.where(wide, two[la.name], one[la.name]) / sum(one[la.name] for la in layers) for la in layers]
    pixels = {"size": lambda layer: 1, "bitops": lambda layer: np.prod(graph.shapes[layer.output][1:])}
    if budget not in pixels:
        raise AlloyError(f"there is no budget {budget!r}: choose size, bitops or cycles")
    sizes = np.array([layer.weight.numel() * pixels[budget](layer) for layer in layers], float)
    return [BITS * size for size in sizes / sizes.sum()]


def _act_bits(request):
    return request.options.get("act_bits", 5)


def outline(request: Request) -> Plan:
    """The average everywhere."""
    average = max(2, min(8, round(request.options.get("average", 4))))
    return Plan(uniform(request, Scheme(average)), _act_bits(request))


def plan(request: Request) -> Plan:
    """Options: ``budget`` ("size", "bitops" or "cycles"), ``average`` bits of a weight (4), weighted by what the budget
    counts, or for "cycles" those of the cycle model, as a multiple of what 4 bits everywhere take; ``groups`` of each
    layer (8), ``act_bits`` (5)."""
    average, parts = request.options.get("average", 4), request.options.get("groups", 8)
    layers, prices = request.convolutions, _prices(request)
    costs = _sensitivities(request)
    level1 = choose([c.sum(0) for c in costs], [price[None] for price in prices], np.array([average]),
                    "bits of the layers")
    schemes = {}
    for layer, cost, price, at in zip(layers, costs, prices, level1, strict=True):
        groups = np.array_split(np.argsort(-cost[:, 2], kind="stable"), min(parts, len(cost)))
        chosen = choose([cost[g].sum(0) for g in groups], [(len(g) * price)[None] / len(cost) for g in groups],
                        np.array([price[at]]),
                        f"bits of layer {layer.name}")
        scheme = np.zeros(len(cost), np.uint8)
        for group, option in zip(groups, chosen, strict=True):
            scheme[group] = BITS[option]
        schemes[layer.name] = scheme
    return Plan(schemes, _act_bits(request))
