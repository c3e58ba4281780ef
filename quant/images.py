"""Images to calibrate with: refused if they cannot be input codes, warned of if the network was not trained on such."""

import warnings

import numpy as np
from numpy.typing import ArrayLike
import torch

from spec.errors import AlloyError
from spec.network import as_maps

from .graph import Graph, compute

__all__ = ["check_pixels", "look_at"]

NARROW, FEW = 16, 10  # codes that images differ by, and images, below which there is a warning
STRANGE, SPREAD = 0.7, (0.4, 8.0)  # how far from a batch norm's means, in standard deviations, and spread there is one
SOME = 64  # images that a batch norm is compared with


def check_pixels(graph: Graph, images: ArrayLike) -> np.ndarray:
    """``images`` as an array; :class:`AlloyError` unless they are input codes uint8 (N, C, H, W) of a graph, and not
    all flat."""
    shape = graph.shapes[graph.input]
    images = as_maps(np.asarray(images), shape)
    if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
        raise AlloyError(
            f"images of {images.dtype} and shape {images.shape} are not input codes: give at least one image uint8 "
            f"{'x'.join(map(str, shape))}"
        )
    if not _spread(images):
        raise AlloyError(
            f"each of the {len(images)} images to calibrate with is one flat colour: give images such as the network "
            "will see"
        )
    return images


def look_at(graph: Graph, images: np.ndarray, scale: float, zero: int) -> None:
    """Warn of images (:func:`check_pixels`) that are few, dark or not what the network was trained on, where a batch
    norm knows that.

    The graph reads ``(code - zero) * scale``.
    """
    spread = _spread(images)
    if spread < NARROW:
        warnings.warn(
            f"the images to calibrate with differ by at most {spread} of 255 codes: are they numbers from 0 to 1?",
            stacklevel=3,
        )
    if len(images) < FEW:
        warnings.warn(
            f"{len(images)} image{'s' * (len(images) > 1)} to calibrate with: ranges and biases need about 100",
            stacklevel=3,
        )
    known = next((layer for layer in graph.layers if layer.learned and layer.moments is not None), None)
    if known is not None:
        some = images[:: -(-len(images) // SOME)]
        _check_moments(known, _output(graph, known, (torch.from_numpy(some).float() - zero) * scale))


def _spread(images):
    """The largest difference between two pixels of an image; of images that are one pixel, between two of them."""
    flat = images.reshape(len(images), -1)
    return int(np.ptp(flat, 1).max() if flat.shape[1] > 1 else np.ptp(flat))


def _output(graph, wanted, x):
    """What the layer ``wanted`` makes before addition and ReLU of real inputs ``x``."""
    tensors = {graph.input: x}
    for layer in graph.layers[: graph.layers.index(wanted)]:
        tensors[layer.output] = compute(layer, tensors)
    return wanted.apply(torch, *(tensors[name] for name in wanted.sources))


def _check_moments(layer, out):
    """Warn if a layer's output ``out`` (N, F, H, W) is not what its batch norm saw in training."""
    mean, std = layer.moments
    used = std > 1e-3 * std.max()
    off = ((out.mean((0, 2, 3)) - mean).abs() / std)[used].mean()
    ratio = (out.std((0, 2, 3)) / std)[used].median()
    if off > STRANGE or not SPREAD[0] < ratio < SPREAD[1]:
        warnings.warn(
            f"layer {layer.name} makes values of these images that its batch norm did not see in training (means "
            f"{off:.1f} standard deviations off, spread {ratio:.2g} times as large): if the images were normalized in "
            "training, give quantize the mean and std, or a QuantNet input_scale and input_zero",
            stacklevel=4,
        )
