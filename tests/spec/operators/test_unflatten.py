"""Maps of the values of a vector: the node against a loop, its refusals, its programs, and models that have one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from compiler import compile
from quant import QuantNet, trace
from quant.equalize import equalize
from quant.ptq import reconstruct
from sim import command_model
from spec.errors import AlloyError
from spec.network import Network, Tensor
from spec.operators.unflatten import Unflatten, UnflattenLayer
from tests.networks import random_config

SOURCE = Tensor(name="a", channels=20, height=1, width=1, bits=5, zero=3)
INDEX = np.random.default_rng(0).integers(-1, 20, (3, 4, 5)).astype(np.int32)


def network(index=INDEX, source=SOURCE, **values):
    """A network of one node from ``a`` to ``o``, whose tensor may have other ``values`` than fit."""
    node = Unflatten(name="u", input="a", output="o", index=index)
    size = dict(zip(("channels", "height", "width"), index.shape, strict=False))
    out = replace(source, name="o", **size | values)
    return Network(name="n", input="a", output="o", tensors={"a": source, "o": out}, nodes=[node])


@pytest.mark.parametrize("seed", range(6))
def test_codes_and_programs(seed):
    rng = np.random.default_rng(seed)
    channels, shape = int(rng.integers(1, 40)), rng.integers(1, 6, 3)
    source = replace(SOURCE, channels=channels, zero=int(rng.integers(0, 32)))
    net = network(rng.integers(-1, channels, shape).astype(np.int32), source)
    codes, config = rng.integers(0, 32, (1, channels, 1, 1)), random_config(rng, dsp_filters=4)
    out = net.codes(codes)["o"]
    for c, y, x in np.ndindex(*shape):
        at = net.nodes[0].index[c, y, x]
        assert out[0, c, y, x] == (codes[0, at, 0, 0] if at >= 0 else source.zero)
    found = command_model.run(compile(net, config, keep="all"), config, codes[0], seed)
    assert (found["o"] == out[0]).all()


@pytest.mark.parametrize("given, words", [
    (dict(index=INDEX[0]), "layer u has an index of 2 dimensions: give it the 3 of a map"),
    (dict(source=replace(SOURCE, width=2)), "layer u makes a map of one of 1x2 pixels: its source has one"),
    (dict(source=replace(SOURCE, channels=7)), r"layer u takes the values -1\.\.19 of 7"),
    (dict(index=INDEX - 1), r"layer u takes the values -2\.\.18 of 20"),
    (dict(zero=0), "layer u changes bits or zero point of what it moves"),
])
def test_refusals(given, words):
    with pytest.raises(AlloyError, match=words):
        network(**given)


def test_a_file_keeps_it(tmp_path):
    network().save(tmp_path / "n.npz")
    assert (Network.load(tmp_path / "n.npz").nodes[0].index == INDEX).all()


class Decoder(nn.Module):
    """An autoencoder as users write them; the order of the values in the map is that of ``view``."""

    def __init__(self, view):
        super().__init__()
        torch.manual_seed(0)
        self.encode, self.inner, self.view = nn.Conv2d(1, 4, 3, 2, 1), nn.Linear(4 * 25, 6), view
        self.outer, self.norm, self.last = nn.Linear(6, 4 * 72), nn.BatchNorm1d(4 * 72), nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.inner(torch.relu(self.encode(x)).flatten(1)))
        return self.last(self.view(torch.relu(self.norm(self.outer(x)))))


@pytest.mark.parametrize("view", [lambda x: x.view(-1, 4, 8, 9), nn.Unflatten(1, (4, 8, 9)),
                                  lambda x: x.reshape(-1, 8, 9, 4).permute(0, 3, 1, 2)])
def test_models(view):
    model, pixels = Decoder(view).eval(), np.random.default_rng(1).integers(0, 256, (24, 1, 10, 10)).astype(np.uint8)
    graph, x = trace(model, (1, 10, 10)), torch.from_numpy(pixels).float() / 255
    assert any(isinstance(layer, UnflattenLayer) for layer in graph.layers)
    with torch.no_grad():
        expected = model(x)
    for one in (graph, even := equalize(graph, x)):
        assert torch.allclose(one.tensors(x)[graph.output], expected, atol=1e-5)
    net = QuantNet(even, bits=8)
    reconstruct(net, pixels)
    with torch.no_grad():
        assert float((net.eval()(x) - expected.flatten(1)).std() / expected.std()) < 0.25
