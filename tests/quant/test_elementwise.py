"""Activation functions: a table each, however they are written, behind what makes its codes."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compiler import compile
from quant import QuantNet, trace
from quant.ptq import reconstruct
from quant.quantize import _classifies
from quant.ranges import search_input
from sim import command_model
from spec.errors import AlloyError
from spec.operators.affine import AffineLayer
from spec.operators.convolution import ConvLayer
from spec.operators.lookup import Lookup, LookupLayer
from tests.networks import random_config
from tests.quant.parity import same_as_fake

SHAPE, WIDTH = (3, 6, 5), 4
CODES = np.random.default_rng(0).integers(0, 256, (12, *SHAPE)).astype(np.uint8)


class Between(nn.Module):
    """A function between two convolutions."""

    def __init__(self, function, factor=3.0):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, 3, 1)
        self.a.weight.data *= factor
        self.function = function
        self.eval()

    def forward(self, x):
        return self.b(self.function(self.a(x)))


def quantized(model, bits=8):
    graph = trace(model, SHAPE)
    net = QuantNet(graph, bits=bits, schemes={x.name: np.full(len(x.weight), 8, np.uint8) for x in graph.weighted})
    reconstruct(net, CODES, known=True)
    return net


def spoilt(net, model):
    """Error of the integer network's outputs, of their spread."""
    with torch.no_grad():
        expected = model(torch.from_numpy(CODES).float() / 255).flatten(1).numpy()
    off = net.export().logits(CODES).reshape(expected.shape) - expected
    return np.sqrt(np.square(off).mean()) / expected.std()


def cases(network):
    """Arrays and numbers of all nodes, without the names."""
    return [(type(node), {key: value.tolist() if isinstance(value, np.ndarray) else value
                          for key, value in vars(node).items() if key not in ("name", "input", "output")})
            for node in network.nodes]


# A function and other ways to write it.
SPELLINGS = {
    "leaky_relu": [lambda x: F.leaky_relu(x, 0.1), lambda x: torch.where(x > 0, x, 0.1 * x),
                   lambda x: torch.maximum(x, 0.1 * x), lambda x: F.prelu(x, torch.tensor([0.1])),
                   lambda x: F.relu(x) - 0.1 * F.relu(-x), lambda x: (x > 0).float() * x + (x <= 0).float() * x * 0.1],
    "hardswish": [F.hardswish, lambda x: x * F.relu6(x + 3) / 6, lambda x: x * ((x + 3).clamp(0, 6) / 6),
                  lambda x: x * F.hardsigmoid(x)],
    "silu": [F.silu, lambda x: x * torch.sigmoid(x), lambda x: x / (1 + torch.exp(-x)), nn.SiLU(inplace=True)],
    "swish": [lambda x: x * torch.sigmoid(1.7 * x), lambda x: x.mul(torch.sigmoid(x * 1.7))],
    "sigmoid": [torch.sigmoid, lambda x: 1 / (1 + torch.exp(-x)), lambda x: 0.5 * (1 + torch.tanh(0.5 * x))],
    "tanh": [torch.tanh, nn.Tanh()],
    "gelu": [F.gelu, lambda x: 0.5 * x * (1 + torch.erf(x / 2 ** 0.5))],
    "gelu_tanh": [nn.GELU("tanh"),
                  lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x ** 3)))],
    "mish": [F.mish, lambda x: x * torch.tanh(F.softplus(x))],
    "elu": [lambda x: F.elu(x, 0.7), lambda x: torch.where(x > 0, x, 0.7 * (torch.exp(x) - 1))],
    "selu": [F.selu], "celu": [lambda x: F.celu(x, 0.5)], "softplus": [F.softplus, nn.Softplus()],
    "softsign": [F.softsign, lambda x: x / (1 + x.abs())],
    "logsigmoid": [F.logsigmoid, lambda x: -F.softplus(-x)],
    "abs": [torch.abs, lambda x: x.abs(), lambda x: torch.max(x, -x)],
    "square": [torch.square, lambda x: x ** 2, lambda x: x * x],
    "power": [lambda x: x.abs() ** 1.5], "exp": [torch.exp],
    "threshold": [lambda x: F.threshold(x, -0.5, -0.5), lambda x: x.clamp(min=-0.5)],
    "clamp": [lambda x: x.clamp(-1, 0.5), nn.Hardtanh(-1, 0.5), lambda x: F.relu(x.clamp(max=0.5) + 1) - 1],
    "of two functions": [lambda x: torch.sigmoid(x) * torch.tanh(x) + 0.1 * x],
}
# The same for what needs no table.
PLAIN = {
    "relu": [F.relu, lambda x: torch.where(x > 0, x, torch.zeros_like(x)), lambda x: x * (x > 0),
             lambda x: 0.5 * (x + x.abs()), lambda x: F.threshold(x, 0.0, 0.0), lambda x: x.masked_fill(x < 0, 0.0),
             lambda x: F.leaky_relu(x, 0.0), lambda x: -(-x).clamp(max=0)],
    "relu6": [F.relu6, nn.Hardtanh(0, 6), lambda x: x.clamp(0, 6), lambda x: F.relu(x).clamp(max=6)],
    "hardsigmoid": [F.hardsigmoid, lambda x: F.relu6(x + 3) / 6, lambda x: (x / 6 + 0.5).clamp(0, 1)],
    "nothing": [lambda x: x, lambda x: F.leaky_relu(x, 1.0), lambda x: x + x - x, lambda x: F.relu(x) - F.relu(-x)],
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_functions(name):
    """One table, which every way of writing gives; it is near the function, and the program computes it."""
    functions = SPELLINGS[name]
    model = Between(functions[0])
    net = quantized(model)
    assert [type(layer) for layer in net.graph.layers] == [ConvLayer, LookupLayer, ConvLayer]
    assert spoilt(net, model) < 0.03
    network, _ = same_as_fake(net, CODES[:4])
    config = random_config(np.random.default_rng(1), act_depth=512, tables=1)
    program = compile(network, config, keep="all")
    assert [layer.name for layer in program.layers] == ["a", "b"], "merged"
    truth = network.codes(CODES[:1])
    for tensor, values in command_model.run(program, config, CODES[0]).items():
        assert np.array_equal(values, truth[tensor][0]), tensor
    x = torch.linspace(-9, 9, 1001).reshape(1, 1, 7, 143)
    expected = net.graph.layers[1].apply(torch, x)
    for function in functions[1:]:
        layers = trace(Between(function), SHAPE).layers
        assert [type(layer) for layer in layers] == [ConvLayer, LookupLayer, ConvLayer]
        assert torch.equal(layers[0].weight, net.graph.layers[0].weight)
        assert torch.allclose(layers[1].apply(torch, x), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["hardswish", "gelu_tanh", "leaky_relu"])
def test_the_same_network_however_it_is_written(name):
    found = [cases(quantized(Between(function)).export()) for function in SPELLINGS[name]]
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("name", PLAIN)
def test_what_needs_no_table(name):
    graphs = [trace(Between(function), SHAPE) for function in PLAIN[name]]
    for graph in graphs:
        (a, b), (first, _) = graph.layers, graphs[0].layers
        assert (a.relu, b.relu) == (first.relu, False)
        assert torch.allclose(a.weight, first.weight, rtol=1e-6) and torch.allclose(a.bias, first.bias, rtol=1e-6)
        assert a.cap is first.cap is None or torch.allclose(a.cap, first.cap)


class Many(nn.Module):
    """Functions on the image, behind pools and sums, of what is read elsewhere, and at the output."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b, self.c = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 3, padding=1)
        self.p = nn.PReLU(6)
        self.p.weight.data = torch.tensor([-0.2, 0.1, 0.3, 0.5, 1.0, 1.5])
        self.eval()

    def forward(self, x):
        x = self.a(torch.sqrt(x.abs()))
        x = F.silu(F.max_pool2d(x, 2))
        y = self.p(self.b(x)) + F.elu(x)
        return torch.sigmoid(self.c(y) + torch.tanh(y) * 0.5)


def test_functions_anywhere():
    model = Many()
    net = quantized(model, bits=5)
    assert spoilt(net, model) < 0.05
    network, _ = same_as_fake(net, CODES[:4])
    for seed in range(3):
        config = random_config(np.random.default_rng(seed), act_depth=512)
        program = compile(network, config, keep="all")
        truth = network.codes(CODES[:1])
        for tensor, values in command_model.run(program, config, CODES[0]).items():
            assert np.array_equal(values, truth[tensor][0]), tensor


def test_codes_before_a_table_have_eight_bits():
    """Those of a tensor that a ReLU bounds, too; and a convolution's table of levels is looked up in."""
    model = Between(lambda x: torch.sqrt(F.max_pool2d(F.relu(x), 2)))
    net = quantized(model, bits=3)
    assert net.bits == {"input": 8, "a": 8, "max_pool2d": 8, "sqrt": 8, "b": 8}
    assert spoilt(net, model) < 0.03


def test_the_range_is_that_of_the_function():
    """Values far out, where a function is flat, cost no steps."""
    values = torch.cat([torch.linspace(-4, 4, 999), torch.tensor([-1000.0, 3000.0])])
    step, zero = search_input(values, torch.sigmoid, 255, True)
    assert 6 / 255 < step < 60 / 255 and -step * zero < -4 and step * (255 - zero) > 4
    step, zero = search_input(values, F.relu, 255, True)
    assert step > 2900 / 255 and zero < 10
    assert search_input(torch.zeros(9), torch.exp, 255, True)[0] > 0


def test_training_goes_through_tables():
    model = Between(F.silu)
    net = quantized(model).train()
    x = torch.from_numpy(CODES).float() / 255
    real = net.tensors(x, quantized=False)
    fake = net.tensors(x)
    for tensors in (real, fake):
        net.zero_grad()
        (tensors[net.graph.output] ** 2).sum().backward()
        tensors["gradient"] = net.weights["a"].grad.clone()
    one, other = (tensors["gradient"].flatten() for tensors in (real, fake))
    assert torch.nn.functional.cosine_similarity(one, other, 0) > 0.99 and one.abs().min() > 0


def test_slopes_for_each_channel():
    model = Between(nn.PReLU(WIDTH))
    model.function.weight.data = torch.tensor([0.5, 0.1, -0.2, 0.9])
    net = quantized(model)
    assert [type(x) for x in net.graph.layers] == [ConvLayer, AffineLayer, AffineLayer, ConvLayer]
    assert spoilt(net, model) < 0.03


@pytest.mark.parametrize("function", [
    lambda x: torch.max(x, x.flip(1)), lambda x: torch.minimum(x.flip(1), F.max_pool2d(x, 3, 1, 1) - 0.3)])
def test_the_larger_of_two_values(function):
    model = Between(function)
    assert spoilt(quantized(model), model) < 0.05


@pytest.mark.parametrize("function, words", [
    (lambda x: x * x.flip(1), "mul, which is not supported of two tensors, none of which is a function of the other"),
    (lambda x: x / x.mean(3, keepdim=True), "div of "),
    (lambda x: x * F.max_pool2d(x, 3, 1, 1), "mul, which is not supported of two tensors, none of which is a"),
    (lambda x: x.abs() ** torch.rand(WIDTH, 1, 1), "pow with a constant of shape .4, 1, 1.: only one number"),
    (lambda x: x.clamp(torch.rand(WIDTH, 1, 1), None), "clamp with a constant of shape"),
])
def test_what_is_no_function_of_one_value(function, words):
    with pytest.raises(AlloyError, match=words):
        trace(Between(function), SHAPE)


def test_a_table_is_no_logit():
    assert not _classifies(trace(nn.Sequential(nn.Flatten(), nn.Linear(90, 4), nn.Sigmoid()), SHAPE))
    assert isinstance(quantized(Between(torch.exp, 1.0)).export().nodes[1], Lookup)
