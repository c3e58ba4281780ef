"""Weights as compensated rounding would leave them, if images that it has not seen agree."""

import numpy as np
import pytest
import torch
from torch import nn

from quant import trace
from quant.rounding import gram, rounded
from quant.sensitivity import Statistics, compensated
from spec.numerics import Scheme

SCHEMES = [np.full(12, scheme) for scheme in (Scheme.FIXED3, Scheme.FIXED4, Scheme.POT4)]


def problem(groups, images, turned):
    """A layer and windows of correlated values; those of the last quarter are correlated otherwise if ``turned``."""
    torch.manual_seed(0)
    layer = trace(nn.Sequential(nn.Conv2d(4 * groups, 12, 3, groups=groups)), (4 * groups, 6, 6)).layers[0]
    mix, other = (torch.randn(36, 5) @ torch.randn(5, 36) + 0.1 * torch.eye(36) for _ in range(2))
    windows = torch.randn(groups, images * 16, 36)
    last = images * 4
    windows = torch.cat([windows[:, :-last] @ mix, windows[:, -last:] @ (other if turned else mix)], 1)
    empty = torch.zeros(0)
    return layer, Statistics(gram(windows), empty, windows, empty, images)


def errors(layer, weight, windows):
    change = (weight - layer.weight).reshape(len(windows), -1, windows.shape[2])
    return float((windows @ change.transpose(1, 2)).square().sum())


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("images, seen", [(100, 75), (150, 100), (20, 20)])
@pytest.mark.parametrize("turned", [False, True])
def test_what_other_images_say_of_compensated_weights(groups, images, seen, turned):
    """A batch of 25 is not split; of less than one and a quarter all are seen."""
    layer, statistics = problem(groups, images, turned)
    held = statistics.windows[:, -(images // 4 if images < 128 else 32) * 16:]
    importance = gram(statistics.windows[:, :seen * 16]).diagonal(dim1=1, dim2=2)[:, None].expand(
        groups, 12 // groups, 36).reshape(-1, 36)
    found = compensated(layer, statistics, SCHEMES)
    assert len(found) == len(SCHEMES)
    for weight, scheme in zip(found, SCHEMES, strict=True):
        nearest = rounded(layer.weight.reshape(-1, 36), scheme, importance + 1e-12, steps=20)[1].reshape(weight.shape)
        if turned and seen < images:
            assert torch.equal(weight, nearest)
        else:
            assert errors(layer, weight, held) < 0.8 * errors(layer, nearest, held)
