"""Alloy's own: number systems that minimize the loss within the slots that the engine has anyway.

A layer of F filters runs in T filter tiles; T tiles have ``T * dsp_filters`` DSP slots (a 4-bit filter takes one, an
8-bit filter two) and ``T * lut_filters`` LUT slots (a power-of-two filter takes one). For each T an integer program
gives every filter the number system with the least total increase of the loss, ``1/2 E[g^2] (w - Q(w))^T H (w - Q(w))``
(second order, Fisher information at the outputs). By default a layer takes the fewest tiles, so that slots that would
stay empty make filters wider.

Cycles beyond those (``slack``) are spent where they lower the loss most, by a second integer program: on more tiles for
a layer, and on 8 bits for a tensor, whose readers then run with fewer pixels at a time. What a tensor's few bits cost
is measured on the float network (:func:`quant.sensitivity.divergences`), and so is, for each layer, what its number
systems cost in the fewest tiles; other tiles cost in proportion to the second order, which compares filters well and
layers badly. Cycles are those of the cycle model.
"""

from dataclasses import replace
from itertools import product

import numpy as np

from spec.errors import AlloyError
from spec.numerics import Scheme
from spec.systems import DSP, LUT

from ..integers import uncalibrated
from ..sensitivity import compensated, divergences, filter_errors
from .plan import Plan, Request
from .programs import choose

__all__ = ["outline", "plan"]

CHOICES = (Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8)
# DSP and LUT slots of each.
SLOTS = np.array([[(scheme.system.home is column) * scheme.system.slots(column) for scheme in CHOICES]
                  for column in (DSP, LUT)])
MORE = 0.5                                      # share of tiles beyond the fewest that is tried


def _losses(layer, request):
    """Second-order loss of each filter in each number system: (F, choices)."""
    stats = request.statistics[layer.name]
    loss = np.stack([(filter_errors(layer, stats, scheme) * stats.gain).numpy() for scheme in CHOICES], 1) / 2
    return loss * np.prod(request.graph.shapes[layer.output][1:])       # gain is that of one output position


def _fill(layer, loss, tiles, config):
    """The best number systems of a layer's filters in so many tiles, uint8 (F,), and what they lose."""
    slots = tiles * np.array([config.dsp_filters, config.lut_filters])
    chosen = choose(list(loss), [SLOTS] * len(loss), slots, f"number systems of {layer.name}")
    return np.array(CHOICES, np.uint8)[chosen], loss[np.arange(len(loss)), chosen].sum()


def _tiles(layer, config, share=0.0):
    """Filter tiles of a layer: the fewest, and a share more."""
    least = -(-len(layer.weight) // config.slots)
    return least + int(np.ceil(least * share))


def _takes(request, fewest, most):
    """Cycles of a layer, ``f(name, tiles, wide)``: by the cycle model for the fewest tiles and the most (two plans),
    linear between them."""
    c, layers, ends = request.config, {layer.name: layer for layer in request.convolutions}, []
    for number, (plan, wide) in enumerate(product((fewest, most), ((), tuple(request.graph.bounded)))):
        request.report(f"cycles, program {number + 1} of 4")
        ends.append(request.cycles(uncalibrated(replace(plan, wide=wide).net(request.graph, config=request.config))))
    return lambda name, tiles, wide: np.interp(tiles, [_tiles(layers[name], c, share) for share in (0, MORE)],
                                               [end[name] for end in ends[wide::2]])


def _spend(request, fewest, losses):
    """The plan ``fewest`` with more cycles; ``losses``: the second-order loss of each layer, (F, choices)."""
    c, graph, layers = request.config, request.graph, {layer.name: layer for layer in request.convolutions}
    options = {}
    for name, layer in layers.items():
        request.report(f"number systems of {name} in more filter tiles")
        options[name] = [(tiles, *_fill(layer, losses[name], tiles, c))
                         for tiles in range(_tiles(layer, c), _tiles(layer, c, MORE) + 1)]
    takes = _takes(request, fewest, replace(fewest, schemes={name: option[-1][1] for name, option in options.items()}))
    bounded = graph.bounded if fewest.bits <= c.act_digit_bits else []
    changes = [(name, *compensated(layer, request.statistics[name], [fewest.schemes[name]]), None)
               for name, layer in layers.items()]
    changes += [(layer.name, None, fewest.bits) for name in bounded for layer in graph.layers if layer.output == name]
    cost = divergences(graph, request.images, changes,
                       report=lambda i, n: request.report(f"cost of each layer and tensor, batch {i} of {n}"))
    unit = {name: value / max(options[name][0][2], 1e-30)
            for name, value in zip(layers, cost[:len(layers)], strict=True)}
    groups = [([layer.name for layer in graph.readers(name)], name, value)
              for name, value in zip(bounded, cost[len(layers):], strict=True)]
    found = {name for names, *_ in groups for name in names}
    groups += [([name], None, 0.0) for name in layers if name not in found]
    items, costs, uses = [], [], []
    for names, tensor, narrow in groups:        # a tensor with its readers, or a layer that reads 8 bits anyway
        item = [(wide, picks) for wide in range(1 + (tensor is not None))
                for picks in product(*(options[name] for name in names))]
        items.append(item)
        paired = [(wide, list(zip(names, picks, strict=True))) for wide, picks in item]
        costs.append(np.array([narrow * (not wide) + sum(unit[n] * loss for n, (_, _, loss) in each)
                               for wide, each in paired]))
        uses.append(np.array([[sum(takes(n, tiles, wide) for n, (tiles, *_) in each) for wide, each in paired]]))
    budget = sum(takes(name, _tiles(layer, c), 0) for name, layer in layers.items()) * (1 + request.options["slack"])
    chosen = choose(costs, uses, np.array([budget]), "filter tiles and bits of tensors")
    picked = [item[at] for item, at in zip(items, chosen, strict=True)]
    schemes = {name: scheme for (names, *_), (_, picks) in zip(groups, picked, strict=True)
               for name, (_, scheme, _) in zip(names, picks, strict=True)}
    return replace(fewest, schemes={name: schemes[name] for name in layers},
                   wide=tuple(tensor for (_, tensor, _), (wide, _) in zip(groups, picked, strict=True) if wide))


def outline(request: Request) -> Plan:
    """The fewest filter tiles, whose LUT slots are full and whose DSP slots hold as many 8-bit filters as go in."""
    c, schemes = request.config, {}
    _check(c)
    for layer in request.convolutions:
        filters, tiles = len(layer.weight), _tiles(layer, c)
        pot = min(filters, tiles * c.lut_filters)
        wide = min(filters - pot, tiles * c.dsp_filters - (filters - pot))
        schemes[layer.name] = np.array([Scheme.POT4] * pot + [Scheme.FIXED8] * wide
                                       + [Scheme.FIXED4] * (filters - pot - wide), np.uint8)
    return Plan(schemes, request.options.get("act_bits", 5))


def _check(c):
    if not c.dsp_filters or not c.lut_filters:
        raise AlloyError("the alloy recipe balances DSP and LUT slots: give the configuration both dsp_filters and "
                         "lut_filters")


def plan(request: Request) -> Plan:
    """Options: ``slack``, the share of cycles beyond the fewest (0.0), ``act_bits`` (5)."""
    c, slack = request.config, request.options.get("slack", 0.0)
    _check(c)
    if not 0 <= slack < np.inf:
        raise AlloyError(f"a slack of {slack}: give the share of cycles beyond the fewest, 0 or more")
    if slack and not request.cycles:
        raise AlloyError(f"a slack of {slack} needs to know the cycles of a network: give the request a cycle model")
    losses = {layer.name: _losses(layer, request) for layer in request.convolutions}
    fewest = Plan({layer.name: _fill(layer, losses[layer.name], _tiles(layer, c), c)[0]
                   for layer in request.convolutions},
                  request.options.get("act_bits", 5))
    return _spend(request, fewest, losses) if slack else fewest
