"""Tensors of all images as codes: what they are, and their means, against NumPy."""

import numpy as np
import pytest
import torch

from quant import tensors
from quant.tensors import Coded


@pytest.mark.parametrize("values", [None, 100])
def test_means_of_channels(values, monkeypatch):
    """All at once, and of so many that they are added up image after image."""
    if values is not None:
        monkeypatch.setattr(tensors, "VALUES", values)
    codes = np.random.default_rng(3).integers(0, 256, (5, 4, 6, 7)).astype(np.uint8)
    coded = Coded(torch.from_numpy(codes), 9, 0.25)
    real = (codes.astype(float) - 9) * 0.25
    assert len(coded) == 5 and tuple(coded.shape) == (5, 4, 6, 7)
    assert coded.mean().numpy() == pytest.approx(real.mean((0, 2, 3)), rel=1e-5)
    assert coded[1:3].numpy() == pytest.approx(real[1:3])
