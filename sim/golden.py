"""The golden model: an integer network on NumPy."""

import numpy as np

from spec.network import BATCH

__all__ = ["run", "answers", "outputs"]


def run(network, images):
    """Codes of every tensor: :meth:`spec.network.Network.codes`."""
    return network.codes(images)


def outputs(function, images):
    """Outputs of each image, (N, features). ``function`` gives those of a batch of images (N, C, H, W), which has few
    enough of them for its tensors to fit into memory."""
    count, found = max(1, BATCH // images[0].size), []
    for at in range(0, len(images), count):
        batch = images[at:at + count]
        found.append(np.asarray(function(batch)).reshape(len(batch), -1))
    return np.concatenate(found)


def answers(function, images):
    """Class of each image, int64 (N,): the largest of its :func:`outputs`."""
    return outputs(function, images).argmax(1)
