"""How well an integer network does what a float model does, on pictures that did not calibrate it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log10, sqrt
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from spec.network import BATCH, Network

from .normalize import Normalization
from .pictures import Pictures

__all__ = ["Measured", "Share", "measure"]


@dataclass(frozen=True)
class Share:
    """A share of images with its standard error, both 0..1 (a difference of two: -1..1)."""
    value: float
    error: float

    @classmethod
    def of(cls, each: np.ndarray) -> "Share":
        """The mean of what ``each`` image gives: 0 or 1, or -1 to 1 for a difference."""
        each = np.asarray(each, np.float64)
        return cls(float(each.mean()), float(each.std() / sqrt(len(each))))

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} +- {100 * self.error:.2f}"


@dataclass(frozen=True)
class Measured:
    """Integer network against float model; shares are None where they make no sense.

    Attributes
    ----------
    images : how many. accuracy : of ``float`` and ``integer``, and their ``difference`` (of the same images).
    agreement : images (positions, if there is a class for each) with the same answer.
    sqnr : signal to quantization noise of the outputs, dB; None if there is no noise, or nothing to compare with.
    """
    images: int
    accuracy: dict[str, Share]
    agreement: Share | None
    sqnr: float | None

    def lines(self) -> list[str]:
        """What there is to say, for people."""
        found = [f"accuracy {name:10} {share} {'points' if name == 'difference' else '%'}"
                 for name, share in self.accuracy.items()]
        if self.agreement is not None:
            found.append(f"same answer         {self.agreement} %")
        if self.sqnr is not None:
            found.append(f"signal to noise     {self.sqnr:.1f} dB, quantization noise of the outputs")
        return [*found, f"all on {self.images} test images"]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        def pair(share):
            return {"value": share.value, "standard_error": share.error}
        return {"images": self.images, "accuracy": {name: pair(share) for name, share in self.accuracy.items()},
                "agreement": None if self.agreement is None else pair(self.agreement), "sqnr_db": self.sqnr}


@torch.no_grad()
def measure(model: nn.Module | Network, network: Network, pictures: Pictures, normalization: Normalization, *,
            report: Callable[[str], object] = lambda text: None) -> Measured:
    """Run both on all ``pictures``, a batch at a time; if the model is the network itself there is nothing to compare.
    A class for each image, or each position, is the largest of the output's channels."""
    alone, compute = isinstance(model, Network), cast(Callable, model)
    right: dict[str, list] = {"float": [], "integer": []}
    same, signal, noise = [], 0.0, 0.0
    channels, *size = network.tensors[network.output].shape
    labels = pictures.labels if size == [1, 1] else None
    count, done = max(1, BATCH // int(np.prod(network.tensors[network.input].shape))), 0
    for codes in pictures.batches(count):
        integer = _values(network.run(codes) if alone else network.logits(codes), channels)
        answers = {"integer": integer.argmax(1)}
        if not alone:
            real = _values(compute(normalization.real(codes)).numpy(), channels)
            signal, noise = signal + float((real ** 2).sum()), noise + float(((integer - real) ** 2).sum())
            answers = {"float": real.argmax(1), **answers}
        if channels > 1:
            if not alone:
                same.append((answers["float"] == answers["integer"]).mean(1))
            if labels is not None:
                for name, found in answers.items():
                    right[name].append(found[:, 0] == labels[done:done + len(codes)])
        done += len(codes)
        report(f"measuring, {done} of {len(pictures)} images")
    return Measured(len(pictures), _accuracy(right), Share.of(np.concatenate(same)) if same else None,
                    10 * log10(signal / noise) if noise and signal else None)


def _values(outputs, channels):
    """(N, channels, positions)."""
    return outputs.reshape(len(outputs), channels, -1).astype(np.float64)


def _accuracy(right):
    each = {name: np.concatenate(found) for name, found in right.items() if found}
    if len(each) == 2:
        each["difference"] = each["integer"].astype(np.float64) - each["float"]
    return {name: Share.of(found) for name, found in each.items()}
