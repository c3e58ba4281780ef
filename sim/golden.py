"""The golden model: an integer network on NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np

from spec.network import BATCH, Network

__all__ = ["run", "answers", "outputs"]


def run(network: Network, images: np.ndarray) -> dict[str, np.ndarray]:
    """Codes of every tensor: :meth:`spec.network.Network.codes`."""
    return network.codes(images)


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
