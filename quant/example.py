"""The embedded examples: trained weights, images to quantize and train with, and test images, all in ``examples/``."""

from collections import Counter
from dataclasses import dataclass
import importlib

import numpy as np
import torch

from examples import paths
from sim import golden
from spec.errors import AlloyError
from spec.files import read_arrays
from spec.numerics import Scheme

from .equalize import equalize
from .imports import trace
from .net import QuantNet
from .ptq import reconstruct

__all__ = ["Example", "load", "load_float", "training", "calibration"]

CALIBRATION = 256


@dataclass
class Example:
    """A float model, its quantized network, test images (uint8 (N, C, H, W)) and labels."""
    model: torch.nn.Module
    net: QuantNet
    images: np.ndarray
    labels: np.ndarray

    def mix(self):
        """Number of filters of each scheme."""
        count = Counter(Scheme(int(s)).name for schemes in self.net.schemes.values() for s in schemes)
        return dict(sorted(count.items()))

    @torch.no_grad()
    def accuracies(self, network):
        """Accuracy of the float model and of the integer network on the images."""
        self.model.eval()
        found = {"float": golden.answers(lambda x: self.model(torch.from_numpy(x).float() / 255), self.images),
                 "integer": golden.answers(lambda x: golden.run(network, x)[network.output], self.images)}
        return {name: float((classes == self.labels).mean()) for name, classes in found.items()}


def load(name, folder=None):
    """Load an example; ``folder`` replaces the shipped one. Raises :class:`AlloyError` for damaged files."""
    weights, _, tests = paths(name, folder)
    model = load_float(importlib.import_module(f"examples.{name}.model").ResNet8(), weights)
    images, labels = _images(tests)
    known = calibration(name, folder)
    net = QuantNet(equalize(trace(model, images.shape[1:], logits=True), torch.from_numpy(known).float() / 255))
    reconstruct(net, known)
    return Example(model, net, images, labels)


def load_float(model, path):
    """Put the float parameters of ``path`` (.npz) into ``model``; returns it."""
    arrays = read_arrays(path)
    try:
        model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})
    except (RuntimeError, TypeError) as error:
        raise AlloyError(f"{path} does not hold the weights of this model: {str(error).splitlines()[-1].strip()}") from None
    return model


def _images(path):
    """(images, labels) of a file."""
    data = read_arrays(path, needed=("images", "labels"), fails="holds no images and labels", way="copy it again")
    if data["images"].shape[:1] != data["labels"].shape:
        raise AlloyError(f"{path} does not hold one label for each image: copy it again")
    return data["images"], data["labels"]


def training(name, folder=None):
    """Images of the training set, uint8 (N, C, H, W), and their labels."""
    return _images(paths(name, folder)[1])


def calibration(name, folder=None):
    """Images of the training set to quantize an example with: uint8 (N, C, H, W)."""
    return training(name, folder)[0][:CALIBRATION]
