"""Cross-layer equalization: every channel of a tensor gets a range of its own, at no cost in hardware.

A channel divided by s where it is made (the filter's multiplier and bias) and multiplied by s where it is read (a column of weights) changes
nothing in floating point, ReLU included (Nagel et al., ICCV 2019, equation 7). ``s = (range / largest range) ** share``: a share of 1 makes the
steps of all channels fit, but spreads the weights in the filters that read them (Xiao et al., SmoothQuant, ICML 2023, equation 4). Which share
is best is measured, for every group of tensors that are scaled alike, by the error at the outputs of the layers that read it.
"""

from dataclasses import replace

import numpy as np
import torch

from .ptq import columns, rounded, search_range

__all__ = ["equalize"]

SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
POSITIONS, FILTERS = 2048, 64      # kernel windows and filters of a layer that are tried
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


def _readers(graph, names):
    return [layer for layer in graph.layers if layer.input in names and layer.kind == "conv"]


def _scaled(layer, scale):
    """Weights of a layer whose input channels are divided by ``scale`` (C,)."""
    share = layer.weight.shape[1]
    group = torch.arange(len(layer.weight)) * layer.groups // len(layer.weight)
    return layer.weight * scale[group[:, None] * share + torch.arange(share)][:, :, None, None]


def _error(layer, seen, scale, zero, bits, weight_bits):
    """Relative squared error of a layer's outputs for kernel windows ``seen`` (groups, N, K), with both operands quantized."""
    if layer.groups == 1 and len(layer.weight) > FILTERS:
        layer = replace(layer, weight=layer.weight[::-(-len(layer.weight) // FILTERS)])
    groups, _, size = seen.shape
    per = scale.repeat_interleave(layer.kernel[0] * layer.kernel[1]).reshape(groups, 1, size)
    weight = _scaled(layer, scale).reshape(len(layer.weight), size)
    given, top = seen / per, (1 << bits) - 1
    flat = given.flatten()[::max(1, given.numel() // 50_000)]
    step = search_range(flat, flat, zero, top, 16)
    given = (torch.clamp(torch.floor(given / step + 0.5) + zero, 0, top) - zero) * step
    importance = given.square().mean(1)[:, None].expand(groups, len(weight) // groups, size).reshape(weight.shape)
    coarse = rounded(weight, np.full(len(weight), weight_bits), importance + 1e-12, steps=12)[1].reshape(groups, -1, size)
    goal = seen @ layer.weight.reshape(groups, -1, size).transpose(1, 2)
    return float((given @ coarse.transpose(1, 2) - goal).square().sum() / goal.square().sum().clamp_min(1e-30))


@torch.no_grad()
def equalize(graph, images, *, weight_bits=4, act_bits=5, seed=0):
    """The same network (:class:`quant.graph.Graph`) with scaled channels.

    Parameters
    ----------
    images : real inputs (N, C, H, W) that show the ranges. A channel that later exceeds its range by more than the others do is clipped.
    weight_bits, act_bits : for which the shares are chosen; signed tensors have 8 bits.
    """
    layers, ranges = [replace(layer) for layer in graph.layers], _ranges(graph, images)
    windows = _windows(graph, images[:BATCH], torch.Generator().manual_seed(seed))
    signed = {layer.output for layer in graph.layers if not layer.relu}
    for names in _classes(graph):
        reach = torch.stack([ranges[name] for name in names]).amax(0)
        full = torch.where(reach > 0, reach / reach.max().clamp_min(1e-30), torch.ones_like(reach)).clamp_min(SMALLEST)
        errors = [sum(_error(layer, windows[layer.name], full ** share, *((128, 8) if layer.input in signed else (0, act_bits)), weight_bits)
                      for layer in _readers(graph, names)) for share in SHARES]
        scale = full ** SHARES[int(np.argmin(errors))]
        for layer in layers:
            if layer.kind == "conv" and layer.output in names:
                layer.weight, layer.bias = layer.weight / scale[:, None, None, None], layer.bias / scale
            if layer.kind == "conv" and layer.input in names:
                layer.weight = _scaled(layer, scale)
    return replace(graph, layers=layers)


def _windows(graph, images, generator):
    """Some kernel windows of every convolution's input: {layer name: (groups, N, K)}."""
    tensors, found = {graph.input: images}, {}
    for layer in graph.layers:
        out = layer.finish(layer.apply(tensors[layer.input]), tensors.get(layer.residual))
        if layer.kind == "conv":
            total = len(out) * out.shape[2] * out.shape[3]
            found[layer.name] = columns(tensors[layer.input], layer, torch.randperm(total, generator=generator)[:POSITIONS])
        tensors[layer.output] = out
    return found
