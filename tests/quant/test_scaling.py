"""Channels that are scaled by what the network computes, from PyTorch to the integer network."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from compiler import compile
from quant import quantize, trace
from quant.equalize import equalize
from quant.net import QuantNet
from quant.ptq import reconstruct
from sim import command_model
from spec.errors import AlloyError
from spec.numerics import Scheme
from spec.operators.scaling import Scaling, ScalingLayer
from tests.compiler.graphs import engine

SHAPE, RELU = (3, 6, 5), nn.ReLU()
SPELLINGS = {
    "mul": lambda x, s: x * s[:, :, None, None],
    "turned": lambda x, s: s.view(len(s), -1, 1, 1) * x,
    "torch.mul": lambda x, s: torch.mul(x, s.unsqueeze(2).unsqueeze(3)),
    "method": lambda x, s: x.mul(s.reshape(s.shape[0], s.shape[1], 1, 1)),
    "in place": lambda x, s: x.clone().mul_(s[..., None, None]),
    "expand_as": lambda x, s: x * s.view(*s.shape, 1, 1).expand_as(x),
    "expand": lambda x, s: x * s.view(*s.shape, 1, 1).expand(-1, -1, *x.shape[2:]),
    "channels last": lambda x, s: (x.permute(0, 2, 3, 1) * s[:, None, None]).permute(0, 3, 1, 2),
    "flat": lambda x, s: (x.flatten(2) * s.unsqueeze(2)).view_as(x),
    "transposed": lambda x, s: (x.transpose(2, 3) * s[:, :, None, None]).transpose(2, 3),
}


class Excite(nn.Module):
    """A squeeze-and-excite block among convolutions; ``bound`` is behind its last layer, ``scale`` multiplies."""

    def __init__(self, scale, bound=RELU, channels=7, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.a, self.b = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, 5, 3)
        self.n, self.one, self.two = nn.BatchNorm2d(channels), nn.Linear(channels, 4), nn.Linear(4, channels)
        self.scale, self.bound = scale, bound
        with torch.no_grad():
            self.n.running_var.uniform_(0.01, 0.1)
            self.two.bias.normal_()
        self.eval()

    def excite(self, x):
        return self.bound(self.two(self.one(x.mean((2, 3))).relu()))

    def forward(self, x):
        x = self.n(self.a(x))
        return self.b(self.scale(x, self.excite(x)))


class Added(Excite):
    """With what follows in networks with residuals."""

    def forward(self, x):
        x = self.n(self.a(x))
        return self.b((self.scale(x, self.excite(x)) + x).clamp(0, 6))


def images(count=30, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE)).astype(np.uint8)


def integers(model, recipe="fixed4"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return quantize(model, images(), recipe=recipe, board=engine(act_depth=512), report=None, logits=False)


def error(model, network):
    """Of the integer network's outputs, in their standard deviations."""
    real = model(torch.from_numpy(images()).float() / 255).detach().numpy()
    return float((network.logits(images()) - real).std() / real.std())


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings(name):
    graph = trace(Excite(SPELLINGS[name]), SHAPE)
    layer, = (layer for layer in graph.layers if isinstance(layer, ScalingLayer))
    plain = trace(Excite(SPELLINGS["mul"]), SHAPE)
    x = torch.randn(2, *SHAPE)
    assert torch.equal(graph.tensors(x)[graph.output], plain.tensors(x)[plain.output])
    assert [graph.shapes[source] for source in layer.sources] == [(7, 6, 5), (7, 1, 1)]


@pytest.mark.parametrize("scale, words", [
    (lambda x, s: x * x.flip(1), "is mul, which is not supported of two tensors, none of which is a"),
    (lambda x, s: x * x[:, :1], "multiplies tensors of 7x6x5 and 1x6x5"),
])
def test_other_products_are_refused(scale, words):
    with pytest.raises(AlloyError, match=f"layer .* {words}"):
        trace(Excite(scale), SHAPE)


@pytest.mark.parametrize("bound", [RELU, nn.Identity(), nn.ReLU6()])
@pytest.mark.parametrize("cls", [Excite, Added])
def test_integer_networks(cls, bound):
    """Close to the float network, and the commands compute it: factors with and without a sign, sums, bounds."""
    model = cls(SPELLINGS["mul"], bound, seed=3)
    network = integers(model, "fixed8")
    node, = (node for node in network.nodes if isinstance(node, Scaling))
    assert (network.tensors[node.factor].zero > 0) == isinstance(bound, nn.Identity)
    assert (node.residual is not None) == (cls is Added) and error(model, network) < 0.03
    program, codes = compile(network, engine(act_depth=512), keep="all"), images(2).astype(np.int64)
    expected = network.codes(codes)
    got = command_model.run(program, engine(act_depth=512), codes[1], 1)
    assert all((got[name] == expected[name][1]).all() for name in got)


def test_vectors():
    """A gate between vectors: each is one number for each channel."""
    class Gated(Excite):
        def forward(self, x):
            x = self.n(self.a(x)).mean((2, 3))
            return self.one(x * self.bound(self.two(self.one(x).relu())))
    model = Gated(None)
    assert error(model, integers(model, "fixed8")) < 0.05


def test_equalization_changes_nothing():
    """Channels of the map are scaled, those of the factors are not."""
    model = Added(SPELLINGS["mul"])
    with torch.no_grad():
        model.n.weight.copy_(torch.logspace(-2, 1, 7))
    graph, x = trace(model, SHAPE), torch.rand(20, *SHAPE)
    equal = equalize(graph, x)
    one, two = graph.tensors(x), equal.tensors(x)
    at = next(layer for layer in graph.layers if isinstance(layer, ScalingLayer))
    assert torch.allclose(one[graph.output], two[graph.output], rtol=1e-3, atol=1e-4)
    assert torch.allclose(one[at.sources[1]], two[at.sources[1]], rtol=1e-3, atol=1e-5)
    assert not torch.allclose(one[at.output], two[at.output], rtol=0.1)


def quantized(**values):
    graph = trace(Added(SPELLINGS["mul"], nn.Identity()), SHAPE)
    schemes = {layer.name: np.full(len(layer.weight), Scheme.FIXED8, np.uint8) for layer in graph.weighted}
    net = QuantNet(graph, schemes=schemes, bits=8, **values)
    return net


def test_training_sees_what_the_engine_computes():
    """Fake quantization is the integer network, also when the steps have moved; gradients reach both sources."""
    net = quantized()
    reconstruct(net, images())
    node = next(layer for layer in net.graph.layers if isinstance(layer, ScalingLayer))
    assert not net.steps[node.output].requires_grad
    with torch.no_grad():
        for source in (*node.sources, node.residual):
            net.steps[source].add_(0.0371)
    x = torch.from_numpy(images()).float() / 255
    net.train()
    fake = net(x)
    fake.square().sum().backward()
    assert all(net.steps[source].grad.abs() > 0 for source in node.sources)
    net.eval()
    step = float(net.step(net.graph.output).detach())
    off = ((fake - net(x)) / step).abs()
    off = off.detach()
    assert float(off.max()) < 1.01 and float((off > 0.5).float().mean()) < 0.15
    other = quantized()
    other.load_state_dict(net.state_dict())
    assert not other.steps[node.output].requires_grad and torch.equal(other.eval()(x), net(x))


def test_steps_that_are_powers_of_two():
    net = quantized(single_scale=True)
    reconstruct(net, images())
    assert all(isinstance(node.weight, int) and node.weight & node.weight - 1 == 0 for node in net.export().nodes
               if isinstance(node, Scaling))


def test_a_residual_beside_which_products_vanish():
    net = quantized()
    node = next(layer for layer in net.graph.layers if isinstance(layer, ScalingLayer))
    reconstruct(net, images())
    with torch.no_grad():
        net.steps[node.sources[0]].sub_(15)
        node.residual = net.graph.input
        with pytest.raises(AlloyError, match=f"layer {node.name} makes products that are far smaller than the steps"):
            net.set_step(node, 1.0)
