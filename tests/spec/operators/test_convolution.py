"""Sums of convolutions and their bounds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from spec.errors import AlloyError
from spec.operators import convolution
from spec.operators.convolution import Conv, ConvLayer, accumulate, worst_case
from spec.operators.operator import Call
from spec.operators.windows import Window
from tests.networks import random_network


@pytest.mark.parametrize("peak, channels", [(119, 3), (119, 700)])
def test_sums_are_exact(peak, channels, monkeypatch):
    """Worst sums on both sides of float32's limit, in blocks of one image, against int64."""
    rng = np.random.default_rng(channels)
    weight = np.full((2, channels, 3, 3), peak, np.int16)
    weight[1] = rng.integers(-peak, peak + 1, weight[1].shape)
    node = Conv(name="c", input="a", output="b", weight=weight, scheme=np.full(2, 8, np.uint8),
                mult=np.ones(2, np.int32), bias=np.zeros(2, np.int64), shift=1, lo=0, hi=255, padding=(1, 1))
    codes = rng.integers(254, 256, (3, channels, 4, 5))
    assert (int(np.abs(weight.astype(int)).reshape(2, -1).sum(1).max()) * 255 >= 1 << 24) == (channels == 700)
    view = Window((3, 3), padding=(1, 1)).over(codes - 1, 0)
    expected = np.einsum("ncyxij,fcij->nfyx", view, weight.astype(np.int64))
    for chunk in (1, 1 << 22):
        monkeypatch.setattr(convolution, "CHUNK", chunk)
        assert (accumulate(node, codes, 1) == expected).all()


@pytest.mark.parametrize("seed", range(30))
def test_calls_of_pytorch(seed):
    """Kernels, strides, dilation, groups and every form of padding, against PyTorch's own function."""
    rng = np.random.default_rng(seed)
    groups, share = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    kernel, stride, dilation, padding = (rng.integers(low, 4, 2).tolist() for low in (1, 1, 1, 0))
    form = ("same", "valid", padding)[seed % 3]
    filters = groups * int(rng.integers(1, 4))
    torch.manual_seed(seed)
    weight = torch.randn(filters, share, *kernel, dtype=torch.float64)
    given = {"weight": weight, "dilation": dilation, "groups": groups,
             "bias": torch.randn(filters, dtype=torch.float64) if rng.random() < 0.5 else None,
             "stride": [1, 1] if form == "same" else stride, "padding": form}
    x = torch.randn(2, groups * share, 11, 12, dtype=torch.float64)
    layer = ConvLayer.read(Call("c", "layer c", "conv2d", ("x",), (tuple(x.shape[1:]),), given))
    expected = functional.conv2d(x, **given)
    assert layer.shape(tuple(x.shape[1:])) == expected.shape[1:]
    assert torch.allclose(layer.apply(torch, x), expected)


@pytest.mark.parametrize("filters, groups, share", [(3, 1, 5), (6, 3, 2), (6, 2, 4), (5, 5, 1)])
def test_values_of_input_channels(filters, groups, share):
    """Each weight gets the value of the channel that it reads."""
    layer = ConvLayer(name="c", sources=("a",), output="b", weight=torch.zeros(filters, share, 2, 1),
                      bias=torch.zeros(filters), groups=groups)
    values = np.arange(10, 10 + groups * share)
    found = layer.by_input_channel(values)
    assert found.shape == (filters, share, 1, 1)
    for f, c in np.ndindex(filters, share):
        assert found[f, c, 0, 0] == values[f // (filters // groups) * share + c]


@pytest.mark.parametrize("seed", range(5))
def test_bounds_hold_and_are_reached(seed):
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    node = next(n for n in network.nodes if n.kind == "conv")
    tensor = network.tensors[node.input]
    bounds = worst_case(node.weight, tensor)
    acc = accumulate(node, rng.integers(0, 1 << tensor.bits, (4, *tensor.shape)), tensor.zero)
    assert (acc >= bounds[:, :1, None]).all() and (acc <= bounds[:, 1:, None]).all()
    weight = node.weight.reshape(len(node.weight), -1).astype(int)
    for column, sign in ((0, -1), (1, 1)):
        codes = np.where(weight * sign > 0, (1 << tensor.bits) - 1, 0) - tensor.zero
        assert ((weight * codes).sum(1) == bounds[:, column]).all()
    fits = replace(network, nodes=[replace(n, bounds=bounds) if n is node else n for n in network.nodes])
    with pytest.raises(AlloyError, match=f"layer {node.name} was exported with other accumulator bounds"):
        replace(fits, nodes=[replace(n, bounds=bounds + 1) if n is node else n for n in network.nodes])
