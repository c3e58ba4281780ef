"""A factor and an offset of each channel, against NumPy."""

import numpy as np
import torch

from spec.operators.affine import AffineLayer


def test_each_channel_has_its_own():
    layer, rng = AffineLayer.of(torch, "scale", "x", 3), np.random.default_rng(1)
    x = torch.from_numpy(rng.normal(size=(2, 3, 4, 5)))
    assert torch.equal(layer.apply(torch, x), x) and layer.shape((3, 4, 5)) == (3, 4, 5)
    weight, bias = rng.normal(size=(3, 1, 1, 1)), rng.normal(size=3)
    made = layer.apply(torch, x, weight=torch.from_numpy(weight), bias=torch.from_numpy(bias)).numpy()
    assert np.allclose(made, x.numpy() * weight.reshape(1, 3, 1, 1) + bias.reshape(1, 3, 1, 1))
