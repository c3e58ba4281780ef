"""The embedded examples: trained weights, images to quantize and train with, and test images, all in ``examples/``."""

from collections import Counter
from dataclasses import dataclass
import importlib
from pathlib import Path

import numpy as np
import torch

from examples import paths
from sim import golden
from spec.errors import AlloyError
from spec.files import read_arrays
from spec.network import Network
from spec.numerics import Scheme
from spec.progress import say

from .quantize import CALIBRATION, Report, quantize

__all__ = ["Example", "load", "load_float", "training", "calibration", "mix"]


@dataclass
class Example:
    """A float model, images of the training set to quantize it with, test images and their labels; images are uint8 (N,
    C, H, W)."""
    name: str
    model: torch.nn.Module
    known: np.ndarray
    images: np.ndarray
    labels: np.ndarray

    def quantized(self, report: Report | None = say) -> Network:
        """The integer network: the quickest mix of number systems."""
        return quantize(self.model, self.known, recipe="ratio", logits=True, name=self.name, report=report)

    @torch.no_grad()
    def accuracies(self, network: Network) -> dict[str, float]:
        """Accuracy of the float model and of the integer network on the test images."""
        real = golden.answers(lambda x: self.model.eval()(torch.from_numpy(x).float() / 255), self.images)
        found = {"float": real, "integer": network.run(self.images).argmax(1)}
        return {name: float((classes == self.labels).mean()) for name, classes in found.items()}


def mix(network: Network) -> dict[str, int]:
    """Number of filters of each number system in a network."""
    count = Counter(Scheme(int(s)).name for node in network.nodes for s in getattr(node, "scheme", ()))
    return dict(sorted(count.items()))


def load(name: str, folder: str | Path | None = None) -> Example:
    """Load an example; ``folder`` replaces the shipped one. Raises :class:`AlloyError` for damaged files."""
    weights, _, tests = paths(name, folder)
    model = load_float(importlib.import_module(f"examples.{name}.model").ResNet8(), weights)
    images, labels = _images(tests)
    return Example(name, model, calibration(name, folder), images, labels)


def load_float(model: torch.nn.Module, path: str | Path) -> torch.nn.Module:
    """Put the float parameters of ``path`` (.npz) into ``model``; returns it."""
    arrays = read_arrays(path)
    try:
        model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})
    except (RuntimeError, TypeError) as error:
        why = str(error).splitlines()[-1].strip()
        raise AlloyError(f"{path} does not hold the weights of this model: {why}") from None
    return model


def _images(path):
    """(images, labels) of a file."""
    data = read_arrays(path, needed=("images", "labels"), fails="holds no images and labels", way="copy it again")
    if data["images"].shape[:1] != data["labels"].shape:
        raise AlloyError(f"{path} does not hold one label for each image: copy it again")
    return data["images"], data["labels"]


def training(name: str, folder: str | Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images of the training set, uint8 (N, C, H, W), and their labels."""
    return _images(paths(name, folder)[1])


def calibration(name: str, folder: str | Path | None = None) -> np.ndarray:
    """Images of the training set to quantize an example with: uint8 (N, C, H, W)."""
    return training(name, folder)[0][:CALIBRATION]
