"""Memory of quantization, in units of the largest tensor of all images.

Kind: a copy of a tensor of all images, or one kept for longer than anybody reads it, which real data turns into
gigabytes.
"""

import numpy as np
import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from quant import QuantNet, ptq, trace
from quant.ptq import reconstruct

IMAGES, CHANNELS, SIZE = 48, 16, 64
UNIT = IMAGES * CHANNELS * SIZE * SIZE * 4      # bytes


class Blocks(nn.Module):
    """Residual blocks whose tensors are all of one size."""

    def __init__(self, count=2):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.blocks = nn.ModuleList(nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 1) for _ in range(2))
                                    for _ in range(count))

    def forward(self, x):
        x = torch.relu(self.first(x))
        for one, two in self.blocks:
            x = torch.relu(two(torch.relu(one(x))) + x)
        return x


class Live(TorchDispatchMode):
    """Counts the bytes of the tensors that are there; ``peak`` is the most."""

    def __init__(self):
        super().__init__()
        self.peak, self._known = 0, {}

    def __torch_dispatch__(self, func, _types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = StorageWeakRef(tensor.untyped_storage())
                self._known[storage] = tensor.untyped_storage().nbytes()
        self._known = {storage: size for storage, size in self._known.items() if not storage.expired()}
        self.peak = max(self.peak, sum(self._known.values()))
        return out


@pytest.fixture
def small(monkeypatch):
    """What does not grow with the images is small beside them."""
    monkeypatch.setattr(ptq, "VALUES", 1 << 16)
    monkeypatch.setattr(ptq, "POSITIONS", (128, 128))


def images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8)


@pytest.mark.slow
def test_calibration_keeps_real_tensors_only_while_they_are_read(small):
    """Input, residual and output of a layer are real values, and its quantized output until it is coded; the quantized
    ones are codes, a quarter as large: 4.75 in all, and what is picked of them."""
    net, given = QuantNet(trace(Blocks(), (3, SIZE, SIZE))), images(IMAGES)
    with Live() as live:
        reconstruct(net, given, known=True)
    assert 3 * UNIT < live.peak < 6.25 * UNIT
