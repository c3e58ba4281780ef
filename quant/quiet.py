"""Channels whose values decide the codes of their tensor and nothing else: brought to the size of the others.

A bias of -1e8 before a ReLU, behind whatever pools, sums or joins stand between them, or before a sigmoid: any value
below the bend does as well. Whether one does is not derived but tried, on the answers of the network itself.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
import warnings

import torch

from spec.operators.convolution import ConvLayer

from .graph import compute
from .tensors import applied, each

if TYPE_CHECKING:
    from .net import QuantNet

__all__ = ["quiet"]

LOUD = 4                    # times the spread of most channels: what lies further from 0 as a whole is looked at
WILD = 32                   # times that spread: what reaches further is, too; a few times as much is usual
PLACES = 1, 2, 4, 8, 16, 64     # of the same unit: where to, the nearest at which the answers stay
SAME = 1e-3                 # of the answers' deviation: they are the same
FEW = 8                     # images that most answers differ on, if they differ
BATCH = 32                  # images at once


@torch.no_grad()
def quiet(net: "QuantNet", index: int, tensors: Mapping, exact: torch.Tensor) -> bool:
    """Move or level the channels of a layer's output that reach far beyond the others and change no answer; whether
    there were such.

    Parameters
    ----------
    index : of the layer, which is changed, in the float graph as in ``net``.
    tensors : name -> the float values (N, C, H, W) that the layers from here on read, sliceable by images.
    exact : the layer's float output (N, F, H, W).
    """
    layer = net.graph.layers[index]
    low, high = exact.amin((0, 2, 3)), exact.amax((0, 2, 3))
    spread = high - low
    if not layer.learned or layer.output == net.graph.output or not spread.any():
        return False
    unit = spread[spread > 0].median()
    if not (torch.maximum(high, -low) > (WILD if layer.relu else LOUD) * unit).any():
        return False
    bias = torch.zeros_like(low)
    if not layer.relu:      # beside a bias of 1e8 values have no digits left
        exact, bias = _without_bias(layer, tensors), layer.bias.to(low)
        low, high = exact.amin((0, 2, 3)), exact.amax((0, 2, 3))
        spread = high - low
    edges, low, high = (low, high), low + bias, high + bias
    wild = torch.maximum(high, -low) > WILD * unit
    level = wild & ((spread > LOUD * unit) | (low <= 0) & (high >= 0) | layer.relu)
    loud = level | ((low > LOUD * unit) | (high < -LOUD * unit)) & (not layer.relu)
    if layer.residual or not layer.weighted:        # their filters do not make all of it
        loud = loud & ~level
    wrong = loud.nonzero()[:, 0]
    count = len(wrong)
    for place in (0,) if layer.relu else PLACES:
        side = torch.where(low > 0, place, -place) * unit
        how = _Changed(level, torch.where(level, side, side - torch.where(low > 0, *edges)))
        found = _same(net, index, tensors, exact, bias, wrong, how)
        _change(net, layer, found, how)
        wrong = wrong[~torch.isin(wrong, found)]
    return len(wrong) < count


class _Changed(NamedTuple):
    """What becomes of channels: ``bias`` (F,) is their new one, and the weights of those of ``level`` (F,) are 0."""
    level: torch.Tensor
    bias: torch.Tensor


def _without_bias(layer, tensors):
    """The layer's output (N, F, H, W) of a bias of 0, before ReLU."""
    out = applied(layer, tensors, bias=torch.zeros_like(layer.bias))
    if layer.residual:
        each(torch.add, out, tensors[layer.residual], out=out)
    return out


def _same(net, index, tensors, exact, bias, channels, how):
    """Those of ``channels`` that can be changed, all together, and leave the answers of all images."""
    if not len(channels):
        return channels
    slices = [slice(0, FEW), *(slice(at, at + BATCH) for at in range(FEW, len(exact), BATCH))]
    for some in slices:
        out = exact[some] + bias[:, None, None]
        before = _answers(net, index, tensors, out, some)
        for channel in channels.tolist():
            out[:, channel] = how.bias[channel] + (0 if how.level[channel] else exact[some][:, channel])
        after = _answers(net, index, tensors, out, some)
        spread = before.std(0).mean() if len(before) > 1 else before.std()
        if not float((after - before).abs().max()) <= SAME * float(spread):     # NaN, too
            break
    else:
        return channels
    if len(channels) == 1:
        return channels[:0]
    half = len(channels) // 2
    return torch.cat([_same(net, index, tensors, exact, bias, part, how)
                      for part in (channels[:half], channels[half:])])


def _answers(net, index, tensors, out, some):
    """The network's output (n, features) for images ``some``, from the output ``out`` of one layer on."""
    layers, last = net.graph.layers, net.graph.last_reads()
    values = {name: tensor[some] for name, tensor in tensors.items()} | {layers[index].output: out}
    for number, layer in enumerate(layers[index + 1:], index + 1):
        values[layer.output] = compute(layer, values)
        for name in set(layer.inputs):
            if last[name] <= number:
                values.pop(name, None)
    return values[net.graph.output].flatten(1)


def _change(net, layer: ConvLayer, channels, how):
    """Change the filters that make ``channels``."""
    if not len(channels):
        return
    layer.bias, layer.weight, gone = layer.bias.clone(), layer.weight.clone(), channels[how.level[channels]]
    for bias in (layer.bias, net.biases[layer.name]):
        bias[channels] = how.bias[channels].to(bias)
    for weight in (layer.weight, net.weights[layer.name]) if len(gone) else ():
        weight[gone] = 0
    if len(gone):
        warnings.warn(f"channel {', '.join(map(str, gone.tolist()))} of layer {layer.name} is many times as large as "
                      "the others and changes no answer for any image: its weights are left out; if other images "
                      "need it, calibrate with such", stacklevel=4)
