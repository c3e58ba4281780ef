"""A new operator, from the PyTorch model to the engine's commands: all that Alloy has to know of it stands in this
file."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from compiler import compile
from quant import QuantNet, trace
from quant.capture import supported
from quant.equalize import equalize
from quant.ptq import reconstruct
from sim import command_model
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.network import Network
from spec.numerics import Scheme
from spec.operators import LAYERS, OPERATORS, Layer, Operator, find, register
from spec.operators.convolution import Conv

CONFIG = EngineConfig(name="shuffle", ic=4, pixels=4, dsp_filters=4, lut_filters=2, act_depth=256, weight_depth=128)
SHAPE = (2, 7, 6)


def order(channels, groups):
    """The input channel of each output channel of a channel shuffle (Zhang et al., ShuffleNet, CVPR 2018)."""
    return np.arange(channels).reshape(groups, -1).T.ravel()


@dataclass(frozen=True, kw_only=True, eq=False)
class Shuffle(Operator):
    """Channels in another order; codes stay."""
    groups: int
    kind = "shuffle"

    def shape(self, network):
        return network.tensors[self.input].shape

    def check(self, network):
        super().check(network)
        if network.tensors[self.input].channels % self.groups:
            raise AlloyError(f"layer {self.name} does not shuffle whole groups")

    def run(self, network, *codes):
        return codes[0][:, order(codes[0].shape[1], self.groups)]

    def lower(self, builder):
        """A 1x1 convolution, each of whose filters reads one channel."""
        count = builder.channels(self.input)
        weight = np.eye(count, dtype=np.int16)[order(count, self.groups), :, None, None]
        Conv(name=self.name, input=self.input, output=self.output, weight=weight,
             scheme=np.full(count, Scheme.FIXED4, np.uint8),
             mult=np.full(count, 2, np.int32), bias=np.zeros(count, np.int64), shift=1, lo=0, hi=255).lower(builder)


@dataclass(eq=False, kw_only=True)
class ShuffleLayer(Layer):
    """The same of real values."""
    groups: int
    modules = ("ChannelShuffle",)
    functions = {"channel_shuffle": ("input", "groups")}
    keeps = True
    channelwise = False

    @classmethod
    def read(cls, call):
        groups = call.module.groups if call.module is not None else call.arguments["groups"]
        return cls(name=call.name, sources=call.sources, output=call.name, groups=groups)

    def apply(self, torch, *sources):
        return torch.nn.functional.channel_shuffle(sources[0], self.groups)

    def needs(self, live):
        return [live[np.argsort(order(len(live), self.groups))]]

    def export(self, net):
        return Shuffle(name=self.name, input=self.input, output=self.output, groups=self.groups)


@pytest.fixture
def shuffle():
    """Registered for one test."""
    register(Shuffle)
    register(ShuffleLayer)
    yield
    del OPERATORS["shuffle", None]
    LAYERS.remove(ShuffleLayer)


class Model(nn.Module):
    """A module and a function that shuffle, a filter that is dead behind them."""
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.ChannelShuffle(3))
        self.second, self.pool, self.last = nn.Conv2d(6, 4, 1), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x):
        return self.last(self.pool(torch.channel_shuffle(self.second(self.first(x)), 2)))


def exported(seed):
    """(model, graph, calibrated net, images)."""
    torch.manual_seed(seed)
    model, images = Model().eval(), np.random.default_rng(seed).integers(0, 256, (40, *SHAPE)).astype(np.uint8)
    with torch.no_grad():
        model.first[0].weight *= torch.tensor([0.02, 1, 2, 30, 0.5, 0.2])[:, None, None, None]
        model.second.weight[:, order(6, 3).tolist().index(4)] = 0.0
    graph = trace(model, SHAPE)
    net = QuantNet(equalize(graph, torch.from_numpy(images).float() / 255))
    reconstruct(net, images)
    return model, graph, net, images


def test_from_the_model_to_the_commands(shuffle, tmp_path):
    model, graph, net, images = exported(0)
    x = torch.from_numpy(images).float() / 255
    assert torch.allclose(graph.run(x)[graph.output], model(x), atol=1e-5)
    equal = equalize(graph, x).run(x)[graph.output]         # channels that are mixed are not scaled
    assert torch.allclose(equal, model(x), atol=1e-4)
    kinds = [type(layer).__name__ for layer in graph.layers]
    assert kinds == ["ConvLayer", "ShuffleLayer", "ConvLayer", "ShuffleLayer", "MaxPoolLayer", "ConvLayer"]
    first = graph.layers[0]
    assert (first.weight[4] == 0).all() and (first.weight[[0, 1, 2, 3, 5]] != 0).flatten(1).any(1).all()
    fake = net.train()(x)
    fake.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    assert (fake - model(x).flatten(1)).abs().max() < 0.2 * model(x).abs().max()

    network = net.eval().export()
    network.save(tmp_path / "n.npz")
    network = Network.load(tmp_path / "n.npz")
    assert [node.kind for node in network.nodes] == ["conv", "shuffle", "conv", "shuffle", "pool", "conv"]
    assert torch.equal(net(x), (torch.from_numpy(network.codes(images)[network.output])
                                - net.zeros[network.output]).flatten(1).float()
                       * float(net.step(network.output).detach()))
    program = compile(network, CONFIG, keep="all")
    for index in range(3):
        found = command_model.run(program, CONFIG, images[index])
        expected = network.codes(images[index:index + 1])
        assert set(found) == set(expected) - {network.input}
        assert all((found[name] == expected[name][0]).all() for name in found)


def test_refusals_of_a_new_operator(shuffle):
    net = exported(1)[2]
    node = net.export().nodes[1]
    with pytest.raises(AlloyError, match="layer first_3 does not shuffle whole groups"):
        network = net.export()
        Network(name="n", input=network.input, output=network.output, tensors=network.tensors,
                nodes=[network.nodes[0], Shuffle(name=node.name, input=node.input, output=node.output, groups=4),
                       *network.nodes[2:]])
    assert "ChannelShuffle, channel_shuffle" in supported()


def test_unknown_operators():
    assert "ChannelShuffle" not in supported()
    with pytest.raises(AlloyError, match="ChannelShuffle.* is not supported: .*MaxPool2d"):
        trace(Model(), SHAPE)
    with pytest.raises(AlloyError, match="layer a is of the unknown kind 'shuffle': known are .*conv.*pool max"):
        find({"kind": "shuffle", "name": "a", "input": "b", "output": "c", "groups": 2}, {})
    with pytest.raises(AlloyError, match="layer a is of the unknown kind 'pool' 'min': known are"):
        find({"kind": "pool", "op": "min", "name": "a", "input": "b", "output": "c"}, {})
