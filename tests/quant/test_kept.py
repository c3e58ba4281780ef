"""The network in PyTorch as a file: what is kept of it, and files of other models."""

import numpy as np
import pytest
import torch
from torch import nn

from quant import QuantNet, Ratio, trace
from quant.kept import load_net, save_net
from quant.ptq import reconstruct
from spec.errors import AlloyError


def graph(filters=4, channels=3, seed=0):
    torch.manual_seed(seed)
    return trace(nn.Sequential(nn.Conv2d(channels, filters, 3), nn.ReLU(), nn.Conv2d(filters, 2, 1)), (channels, 6, 6))


@pytest.fixture
def kept(tmp_path):
    net = QuantNet(graph(), ratio=Ratio(0, 1, 0), bits=5)
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 6, 6)).astype(np.uint8)
    reconstruct(net, images)
    save_net(net, tmp_path / "net.pt")
    return tmp_path / "net.pt", net, images


def test_the_same_network_again(kept):
    """Also for the graph of a model with other weights: the file has the float ones, too."""
    path, net, images = kept
    again = load_net(path, graph(seed=1))
    assert (again.export("n").run(images) == net.export("n").run(images)).all()
    for layer, other in zip(net.graph.layers, again.graph.layers, strict=True):
        assert torch.equal(layer.weight, other.weight) and torch.equal(layer.bias, other.bias)


@pytest.mark.parametrize("sizes, words", [
    (dict(filters=5), "layer _0 has weights of 5x3x3x3, and those kept are 4x3x3x3: it is another model"),
    (dict(filters=3), "layer _0 has weights of 3x3x3x3, and those kept are 4x3x3x3"),
    (dict(channels=4), "layer _0 has weights of 4x4x3x3"), (dict(channels=1), "layer _0 has weights of 4x1x3x3")])
def test_another_model(kept, sizes, words):
    with pytest.raises(AlloyError, match=words):
        load_net(kept[0], graph(**sizes))
