"""Trains a small network under torchrun and writes the result of every process: ``parallel.py FOLDER``."""

import os
from pathlib import Path
import sys

import numpy as np
import torch

from quant import QuantNet, Ratio, example, trace
from quant.ptq import reconstruct
from quant.qat import Training, fine_tune


def main(folder):
    """One process."""
    torch.set_num_threads(1)
    loaded = example.load("fashion_mnist")
    net = QuantNet(trace(loaded.model, (1, 28, 28), logits=True), ratio=Ratio(1, 1, 1), bits=4)
    reconstruct(net, example.calibration("fashion_mnist")[:64])
    fine_tune(
        net,
        loaded.model,
        loaded.images[:128],
        loaded.labels[:128],
        Training(epochs=2, batch=32, rate=1e-3, average=0.5),
    )
    state = torch.cat([p.detach().flatten() for p in net.parameters()])
    np.save(Path(folder) / f"{os.environ.get('WORLD_SIZE', 1)}-{os.environ.get('RANK', 0)}.npy", state.numpy())


if __name__ == "__main__":
    main(sys.argv[1])
