"""The integer network of a quantized one, and whether it can have one yet."""

from typing import TYPE_CHECKING
import warnings

import numpy as np
import torch

from spec.errors import AlloyError
from spec.network import Network
from spec.operators.convolution import Conv

from .confine import confine
from .graph import finite

if TYPE_CHECKING:
    from .net import QuantNet

__all__ = ["check", "integer_network", "uncalibrated"]

# By which the outputs of a layer's filters may differ from what finer multipliers make of the same levels, before there
# is a warning; levels of 4 bits alone differ by about 8 %.
UNEVEN = 0.02


def check(net: "QuantNet") -> None:
    """Raise :class:`AlloyError` unless the network is calibrated and holds numbers."""
    for layer in net.graph.layers:
        name = layer.name
        if layer.learned:
            if not (finite(net.weights[name]) and finite(net.biases[name])):
                raise AlloyError(f"layer {name} has weights or biases that are NaN or infinite: train with a "
                                 "smaller rate")
            for index in np.flatnonzero(~_positive(net.scales[name])) if layer.weighted else ():
                raise AlloyError(f"layer {name} filter {index} has the scale {float(net.scales[name][index]):g}: "
                                 "train with a smaller rate")
        if net.homes[layer.output] == net.graph.input:
            continue
        if torch.isnan(net.step(layer.output)):
            raise AlloyError(f"tensor {layer.output} has no scale: calibrate the network first, with "
                             "quant.ptq.reconstruct(net, images)")
        if not _positive(net.step(layer.output)).all():
            raise AlloyError(f"layer {name} has an activation scale of {float(net.step(layer.output)):g}: train "
                             "with a smaller rate")


def _positive(scale):
    scale = scale.detach().abs()
    return (torch.isfinite(scale) & (scale > 0)).cpu().numpy()


def _uneven(node):
    """How far whole multipliers take the outputs of a convolution's filters, all together, from those of any real
    scales: half of the last place, evenly distributed, of each filter that its ``mult`` lets have a say."""
    sizes = np.sqrt(np.square(node.weight.reshape(len(node.weight), -1).astype(float)).sum(1)) * (node.mult > 0)
    whole = np.linalg.norm(sizes * node.mult)
    return float(np.linalg.norm(sizes) / 12 ** 0.5 / whole) if whole else 0.0


def _network(net, name):
    return Network(name=name, input=net.graph.input, output=net.graph.output,
                   tensors={tensor: net.tensor(tensor) for tensor in net.bits},
                   nodes=[layer.export(net) for layer in net.graph.layers])


@torch.no_grad()
def integer_network(net: "QuantNet", name: str) -> Network:
    """The integer network that computes what ``net`` does. Raises :class:`AlloyError` if it is not calibrated."""
    check(net)
    network = _network(net, name)
    for node in network.nodes if not net.single_scale else ():
        uneven = _uneven(node) if isinstance(node, Conv) else 0.0
        if uneven > UNEVEN:
            warnings.warn(f"the multipliers of layer {node.name} have so few bits (the largest is "
                          f"{node.mult.max()}) that its outputs are off by {100 * uneven:.2g} %; look for a "
                          "channel or a residual of much larger values", stacklevel=4)
    return network


@torch.no_grad()
def uncalibrated(net: "QuantNet", name: str = "sketch") -> Network:
    """An integer network of the same shapes and number systems, calibrated or not: what it takes, not what it
    computes."""
    kept, schemes = {p: p.clone() for p in (*net.steps.parameters(), *net.scales.parameters())}, net.schemes
    try:
        net.schemes = dict(schemes)
        for step in net.steps.parameters():
            step.fill_(0.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")     # of what will be rounded otherwise
            confine(net)
        return _network(net, name)
    finally:
        net.schemes = schemes
        net.assign({})
        for parameter, value in kept.items():
            parameter.copy_(value)
