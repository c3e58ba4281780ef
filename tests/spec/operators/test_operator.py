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

CONFIG = EngineConfig(name="unshuffle", ic=4, pixels=4, dsp_filters=4, lut_filters=2, act_depth=256,
                      weight_depth=128)
SHAPE = (2, 16, 12)


def unshuffled(codes, factor):
    """Each square of ``factor`` x ``factor`` pixels becomes channels of a pixel (Shi et al., CVPR 2016, backwards)."""
    n, c, h, w = codes.shape
    split = codes.reshape(n, c, h // factor, factor, w // factor, factor)
    return split.transpose(0, 1, 3, 5, 2, 4).reshape(n, c * factor ** 2, h // factor, w // factor)


@dataclass(frozen=True, kw_only=True, eq=False)
class Unshuffle(Operator):
    """Pixels to channels; codes stay."""
    factor: int
    kind = "unshuffle"

    @property
    def stride(self):
        return self.factor, self.factor

    def shape(self, network):
        return shrunk(network.tensors[self.input].shape, self.factor)

    def check(self, network):
        if any(size % self.factor for size in network.tensors[self.input].shape[1:]):
            raise AlloyError(f"layer {self.name} does not split whole squares")
        super().check(network)

    def run(self, network, *codes):
        return unshuffled(codes[0], self.factor)

    def lower(self, builder):
        """A convolution, each of whose filters reads one pixel of one channel."""
        count, size = builder.channels(self.input), self.factor ** 2
        weight = np.eye(count * size, dtype=np.int16).reshape(-1, count, self.factor, self.factor)
        Conv(name=self.name, input=self.input, output=self.output, weight=weight, stride=self.stride,
             scheme=np.full(count * size, Scheme.FIXED4, np.uint8), mult=np.full(count * size, 2, np.int32),
             bias=np.zeros(count * size, np.int64), shift=1, lo=0, hi=255).lower(builder)


def shrunk(shape, factor):
    return shape[0] * factor ** 2, shape[1] // factor, shape[2] // factor


@dataclass(eq=False, kw_only=True)
class UnshuffleLayer(Layer):
    """The same of real values."""
    factor: int
    calls = ("pixel_unshuffle",)
    keeps = True
    channelwise = False

    @classmethod
    def read(cls, call):
        return cls(name=call.name, sources=call.sources, output=call.name, factor=call.arguments["downscale_factor"])

    def shape(self, *shapes):
        return shrunk(shapes[0], self.factor)

    def apply(self, torch, *sources):
        return torch.pixel_unshuffle(sources[0], self.factor)

    def needs(self, live):
        return [live.reshape(-1, self.factor ** 2).any(1)]

    def export(self, net):
        return Unshuffle(name=self.name, input=self.input, output=self.output, factor=self.factor)


@pytest.fixture
def unshuffle():
    """Registered for one test."""
    register(Unshuffle)
    register(UnshuffleLayer)
    yield
    del OPERATORS["unshuffle", None]
    LAYERS.remove(UnshuffleLayer)


class Model(nn.Module):
    """A module and a function of the new kind, a filter that is dead behind them."""
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.PixelUnshuffle(2))
        self.second, self.pool, self.last = nn.Conv2d(12, 4, 1), nn.MaxPool2d(2), nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x):
        return self.last(self.pool(nn.functional.pixel_unshuffle(self.second(self.first(x)), 2)))


def exported(seed):
    """(model, graph, calibrated net, images)."""
    torch.manual_seed(seed)
    model, images = Model().eval(), np.random.default_rng(seed).integers(0, 256, (40, *SHAPE)).astype(np.uint8)
    with torch.no_grad():
        model.first[0].weight *= torch.tensor([0.02, 1, 30])[:, None, None, None]
        model.second.weight[:, 4:8] = 0.0
    graph = trace(model, SHAPE)
    net = QuantNet(equalize(graph, torch.from_numpy(images).float() / 255))
    reconstruct(net, images)
    return model, graph, net, images


@pytest.mark.usefixtures("unshuffle")
def test_from_the_model_to_the_commands(tmp_path):
    model, graph, net, images = exported(0)
    x = torch.from_numpy(images).float() / 255
    assert torch.allclose(graph.tensors(x)[graph.output], model(x), atol=1e-5)
    equal = equalize(graph, x).tensors(x)[graph.output]         # channels that are mixed are not scaled
    assert torch.allclose(equal, model(x), atol=1e-4)
    kinds = [type(layer).__name__ for layer in graph.layers]
    assert kinds == ["ConvLayer", "UnshuffleLayer", "ConvLayer", "UnshuffleLayer", "MaxPoolLayer", "ConvLayer"]
    first = graph.layers[0]
    assert (first.weight[1] == 0).all() and (first.weight[[0, 2]] != 0).flatten(1).any(1).all()
    fake = net.train()(x)
    fake.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    assert (fake - model(x).flatten(1)).abs().max() < 0.2 * model(x).abs().max()

    network = net.eval().export()
    network.save(tmp_path / "n.npz")
    network = Network.load(tmp_path / "n.npz")
    assert [node.kind for node in network.nodes] == ["conv", "unshuffle", "conv", "unshuffle", "pool", "conv"]
    assert torch.equal(net(x), (torch.from_numpy(network.codes(images)[network.output])
                                - net.zeros[network.output]).flatten(1).float()
                       * float(net.step(network.output).detach()))
    program = compile(network, CONFIG, keep="all")
    for index in range(3):
        found = command_model.run(program, CONFIG, images[index])
        expected = network.codes(images[index:index + 1])
        assert set(found) == set(expected) - {network.input}
        assert all((found[name] == expected[name][0]).all() for name in found)


@pytest.mark.usefixtures("unshuffle")
def test_refusals_of_a_new_operator():
    net = exported(1)[2]
    node = net.export().nodes[1]
    with pytest.raises(AlloyError, match="layer first_3 does not split whole squares"):
        network = net.export()
        Network(name="n", input=network.input, output=network.output, tensors=network.tensors,
                nodes=[network.nodes[0], Unshuffle(name=node.name, input=node.input, output=node.output, factor=3),
                       *network.nodes[2:]])
    assert "pixel_unshuffle" in supported()


def test_unknown_operators():
    assert "pixel_unshuffle" not in supported()
    words = r"layer 1.* is upsample_bilinear2d, which is not supported.*max_pool2d"
    with pytest.raises(AlloyError, match=words):
        trace(nn.Sequential(nn.Conv2d(2, 3, 1), nn.UpsamplingBilinear2d(scale_factor=2)), SHAPE)
    with pytest.raises(AlloyError, match="layer a is of the unknown kind 'unshuffle': known are .*conv.*pool max"):
        find({"kind": "unshuffle", "name": "a", "input": "b", "output": "c", "factor": 2}, {})
    with pytest.raises(AlloyError, match="layer a is of the unknown kind 'pool' 'min': known are"):
        find({"kind": "pool", "op": "min", "name": "a", "input": "b", "output": "c"}, {})
