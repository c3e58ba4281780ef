"""What a network under quantization refuses: settings that are none, and numbers that training has spoiled."""

import numpy as np
import pytest
import torch
from torch import nn

from quant import QuantNet, trace
from quant.fuse import fuse
from quant.capture import capture
from quant.ptq import reconstruct
from spec.errors import AlloyError


def net(**options):
    torch.manual_seed(0)
    made = QuantNet(trace(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1)), (2, 6, 6)), **options)
    reconstruct(made, np.random.default_rng(0).integers(0, 256, (20, 2, 6, 6)).astype(np.uint8))
    return made


@pytest.mark.parametrize("options, words", [
    (dict(levels=1), "activations of 1 levels: 2 to 256 are supported"),
    (dict(levels=257), "activations of 257 levels: 2 to 256 are supported"),
    (dict(bits=0), "activations of 0 bits: 1 to 8 are supported"),
    (dict(bits=9), "activations of 9 bits: 1 to 8 are supported"),
])
def test_settings(options, words):
    with pytest.raises(AlloyError, match=words):
        net(**options)


@pytest.mark.parametrize("spoil, words", [
    (lambda n: n.weights["_0"].data.view(-1)[3].fill_(float("nan")), "layer _0 has weights or biases that are NaN"),
    (lambda n: n.biases["_2"].data[0].fill_(float("inf")), "layer _2 has weights or biases that are NaN"),
    (lambda n: n.scales["_0"].data[1].fill_(0.0), "layer _0 filter 1 has the scale 0: train with a smaller rate"),
    (lambda n: n.steps["_2"].data.fill_(1e4), "layer _2 has an activation scale of inf: train with a smaller rate"),
])
def test_numbers(spoil, words):
    made = net()
    made.export()
    spoil(made)
    with pytest.raises(AlloyError, match=words):
        made.export()


def test_weights_that_are_no_numbers():
    """Those of a batch norm that is folded, too, which import has looked at before."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)).eval()
    model[1].weight.data[2] = float("nan")
    with torch.no_grad(), pytest.raises(AlloyError, match="layer _0 has weights or biases that are NaN or infinite"):
        fuse(*capture(model, (2, 6, 6))[:3])
