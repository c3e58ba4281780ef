"""What may cost accuracy, by plain rules on the float network and the recipe's plan, each with its reason."""

from collections.abc import Iterator

import torch

from quant.graph import Graph, Hole
from quant.normalize import Normalization
from quant.recipes import Plan
from spec.errors import AlloyError
from spec.numerics import Scheme
from spec.operators.convolution import ConvLayer

from .report import Risk

__all__ = ["risks"]

SPREAD = 30.0           # largest channel's range over the median one's, from which equalization is needed to be good
SHALLOW = 3             # inputs of a filter, up to which each weight's rounding error stands for itself
SAMPLES = 100           # images that calibration asks for
DEEP = 100              # layers


def risks(graph: Graph, plan: Plan, images: int | None = None) -> Iterator[Risk]:
    """Of a float graph quantized by a plan, with ``images`` to calibrate, if that is known."""
    convolutions = [layer for layer in graph.weighted if isinstance(layer, ConvLayer)]
    yield from _depthwise(convolutions, plan)
    yield from _unequal(convolutions)
    yield from _normalization(convolutions)
    yield from _image(graph)
    yield from _narrow(graph, plan)
    if images is not None and images < SAMPLES:
        yield Risk("few_images", [], f"{images} images calibrate ranges and roundings: give {SAMPLES} or more")
    if len(convolutions) > DEEP:
        yield Risk("deep", [], f"errors of {len(convolutions)} layers add up: compare the accuracy, and train further "
                               "with labels if it falls")


def _depthwise(layers, plan):
    """Few weights in each filter, of few bits."""
    found = [layer.name for layer in layers if layer.groups > 1 and layer.weight.shape[1] <= SHALLOW
             and (plan.schemes[layer.name] != Scheme.FIXED8).any()]
    if found:
        yield Risk("depthwise", found, "depthwise filters of 4 bits have few weights, whose rounding errors do not "
                   "average out: use a recipe with 8-bit weights there (fixed8), or train further with labels")


def _unequal(layers):
    """Filters of one layer with very different ranges share the step of its output."""
    found = []
    for layer in layers:
        sizes = layer.weight.flatten(1).abs().amax(1)
        live = sizes[sizes > 0]
        if len(live) > 1 and float(live.max() / live.median()) > SPREAD:
            found.append(layer.name)
    if found:
        yield Risk("unequal_channels", found, f"the largest filter is more than {SPREAD:g} times the median one, so "
                   "small channels get few codes: look for dead or exploding channels")


def _normalization(layers):
    if len(layers) > 1 and all(layer.moments is None for layer in layers):
        yield Risk("no_batch_norm", [], "no batch norm was folded, so channels may have any range, and mean and std of "
                   "the images are not known: give them, and use varied images to calibrate")


def _image(graph):
    """Whether mean and std of the images, if they are given, have a place."""
    channels = graph.shapes[graph.input][0]
    try:
        if not any(isinstance(layer, Hole) for layer in graph.layers):
            Normalization.of([0.5] * channels, [0.25] * channels, channels).folded(graph)
    except AlloyError as error:
        yield Risk("normalization", [], f"images cannot be normalized by --mean and --std: {error}")


def _narrow(graph, plan):
    """Signed tensors that are added have 8 bits; outputs that are no logits keep every value."""
    channels = graph.shapes[graph.output][0]
    if not graph.logits and torch.Size(graph.shapes[graph.output]).numel() > channels:
        yield Risk("dense_output", [graph.output], "every value of a map counts, in 8 bits: compare it with the float "
                   "network's on your own measure")
    if plan.bits < 4:
        yield Risk("few_bits", [], f"activations have {plan.bits} bits: train further with labels")
