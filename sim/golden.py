"""Outputs and answers for any number of images, of the golden model (:meth:`spec.network.Network.codes`) or another."""

from collections.abc import Callable
from typing import Any

import numpy as np

from spec.network import BATCH

__all__ = ["answers", "outputs"]


def outputs(function: Callable[[np.ndarray], Any], images: np.ndarray) -> np.ndarray:
    """Outputs of each image, (N, features). ``function`` gives those of a batch of images (N, C, H, W), which has few
    enough of them for its tensors to fit into memory."""
    count, found = max(1, BATCH // images[0].size), []
    for at in range(0, len(images), count):
        batch = images[at:at + count]
        found.append(np.asarray(function(batch)).reshape(len(batch), -1))
    return np.concatenate(found)


def answers(function: Callable[[np.ndarray], Any], images: np.ndarray) -> np.ndarray:
    """Class of each image, int64 (N,): the largest of its :func:`outputs`."""
    return outputs(function, images).argmax(1)
