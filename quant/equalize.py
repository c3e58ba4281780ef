"""Cross-layer equalization: every channel of a tensor gets a range of its own, at no cost in hardware.

A channel divided by s where it is made (the filter's multiplier and bias) and multiplied by s where it is read (a column of weights) changes
nothing in floating point, ReLU included (Nagel et al., ICCV 2019, equation 7). Here the channels are scaled so that one step size fits all of
them: fully where only depthwise filters read them, whose own scale absorbs s, and in part (:data:`SHARE`) elsewhere, where s widens the range of
weights in a filter (between activation and weight, as Xiao et al., SmoothQuant, ICML 2023, equation 4).
"""

from dataclasses import replace

import torch

__all__ = ["equalize"]

SHARE = 0.25                # docs/decisions/equalization.md
SMALLEST = 2.0 ** -6        # of s: channels that are (almost) dead need no finer steps
BATCH = 20


def _ranges(graph, images):
    """Largest magnitude of every channel of every tensor: {name: (C,)}."""
    ranges = {}
    last = {name: i for i, layer in enumerate(graph.layers) for name in (layer.input, layer.residual) if name}
    for at in range(0, len(images), BATCH):
        tensors = {graph.input: images[at:at + BATCH]}
        for index, layer in enumerate(graph.layers):
            out = layer.finish(layer.apply(tensors[layer.input]), tensors.get(layer.residual))
            tensors[layer.output] = out
            peak = out.abs().amax((0, 2, 3))
            ranges[layer.output] = torch.maximum(ranges.get(layer.output, peak), peak)
            for name in {layer.input, layer.residual} - {None}:
                if last[name] <= index:
                    del tensors[name]
    return ranges


def _classes(graph):
    """Tensors whose channels must have the same scale: those that are added, and both sides of a pool. Without input and output."""
    home = {name: {name} for name in graph.shapes}
    for layer in graph.layers:
        other = layer.residual if layer.kind == "conv" else layer.input
        if other:
            both = home[layer.output] | home[other]
            for name in both:
                home[name] = both
    found = {id(names): names for names in home.values()}.values()
    return [names for names in found if graph.input not in names and graph.output not in names]


@torch.no_grad()
def equalize(graph, images):
    """The same network (:class:`quant.graph.Graph`) with scaled channels.

    Parameters
    ----------
    images : real inputs (N, C, H, W) that show the ranges. A channel that later exceeds its range by more than the others do is clipped.
    """
    layers, ranges = [replace(layer) for layer in graph.layers], _ranges(graph, images)
    for names in _classes(graph):
        reach = torch.stack([ranges[name] for name in names]).amax(0)
        readers = [layer for layer in layers if layer.input in names and layer.kind == "conv"]
        free = all(layer.groups == len(reach) for layer in readers)
        scale = torch.where(reach > 0, reach / reach.max().clamp_min(1e-30), torch.ones_like(reach)).clamp_min(SMALLEST)
        scale = scale if free else scale ** SHARE
        for layer in layers:
            if layer.kind == "conv" and layer.output in names:
                layer.weight, layer.bias = layer.weight / scale[:, None, None, None], layer.bias / scale
            if layer.kind == "conv" and layer.input in names:
                share = layer.weight.shape[1]
                group = torch.arange(len(layer.weight)) * layer.groups // len(layer.weight)
                columns = group[:, None] * share + torch.arange(share)
                layer.weight = layer.weight * scale[columns][:, :, None, None]
    return replace(graph, layers=layers)
