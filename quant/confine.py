"""Weights that the accumulators of an engine can sum up, whatever the codes."""

from typing import TYPE_CHECKING
import warnings

import numpy as np
import torch

from spec import sums
from spec.numerics import Scheme
from spec.operators.convolution import ConvLayer
from spec.systems import DIGIT_MAX, SYSTEMS

if TYPE_CHECKING:
    from .net import QuantNet

__all__ = ["confine", "overflow", "coarsen", "warn_coarse"]

STEP = 1.02             # by which the scale of a filter that overflows grows at least


def overflow(net: "QuantNet", layer: ConvLayer, integers: np.ndarray) -> np.ndarray:
    """How many times the sums of filters of whole weights ``integers`` (F, ...) reach what the engine's
    accumulators hold: (F,)."""
    if net.config is None:
        return np.zeros(len(integers))
    return sums.overflow(integers.reshape(len(integers), -1), net.bits[layer.input], net.config)


def coarsen(net: "QuantNet", layer: ConvLayer, share: np.ndarray) -> torch.Tensor:
    """Scales (F,) of a convolution, larger for filters whose :func:`overflow` is a ``share`` above 1: smaller whole
    weights. Filters of a number system without 0, whose weights cannot become small, get FIXED4."""
    scale, over, name = net.scales[layer.name].detach().abs(), share > 1, layer.name
    factor = np.where(over, np.maximum(share, STEP), 1.0)
    if net.single_scale:
        factor = 2.0 ** np.ceil(np.log2(factor))
    scale = scale * torch.from_numpy(factor).to(scale)
    for index in np.flatnonzero(over):
        if 0 not in SYSTEMS[int(net.schemes[name][index])].levels(net.codebooks.get(name)):
            net.assign({name: np.where(np.arange(len(share)) == index, Scheme.FIXED4, net.schemes[name])})
            peak = net.weights[name][index].detach().abs().max() / DIGIT_MAX
            scale[index] = torch.exp2(torch.ceil(torch.log2(peak))) if net.single_scale else peak
    return scale


@torch.no_grad()
def confine(net: "QuantNet") -> None:
    """Make the levels of filters so coarse that the engine's accumulators hold every sum that any codes can cause;
    a warning tells which and what it costs. Weights stay."""
    for layer in net.graph.weighted if net.config is not None else ():
        before = integers = net.integers(layer)
        scales = net.requantizer(layer)[1]
        share = first = overflow(net, layer, integers)
        while (share > 1).any():
            net.scales[layer.name].copy_(coarsen(net, layer, share))
            integers = net.integers(layer)
            share = overflow(net, layer, integers)
        if (first > 1).any():
            weight, now = net.weights[layer.name].detach().double().cpu().numpy(), net.requantizer(layer)[1]
            was, then = (float(np.linalg.norm((weight - whole * scale[:, None, None, None])[first > 1])
                               / np.linalg.norm(weight[first > 1]))
                         for whole, scale in ((before, scales), (integers, now)))
            warn_coarse(net, layer, first, was, then)


def warn_coarse(net: "QuantNet", layer: ConvLayer, share: np.ndarray, before: float, after: float) -> None:
    """Warn of filters that are coarser because their :func:`overflow` was a ``share`` above 1, and of the relative
    error ``before`` and ``after``."""
    count, config = int((share > 1).sum()), net.config
    assert config is not None
    warnings.warn(f"{count} of the {len(share)} filters of layer {layer.name} could overflow the "
                  f"{config.acc_width}-bit accumulators of {config.name} (by {share.max():.2g} times, filter "
                  f"{int(share.argmax())}): their weights are coarser now, with a relative error of {after:.2g} "
                  f"instead of {before:.2g}; raise acc_width if that is too much", stacklevel=2)
