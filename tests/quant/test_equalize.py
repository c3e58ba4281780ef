"""Cross-layer equalization."""

import pytest
import torch

from quant import trace
from quant.equalize import equalize
from tests.quant.test_quant import Inverted, Pools, Small


@pytest.mark.parametrize("model", [Small(0), Small(1), Small(2), Inverted(), Pools()])
def test_the_function_stays_the_same(model):
    torch.manual_seed(0)
    graph, x = trace(model, (2, 9, 8)), torch.rand(6, 2, 9, 8)
    equal = equalize(graph, x)
    assert torch.allclose(equal.run(x)[graph.output], model.eval()(x).reshape(graph.run(x)[graph.output].shape),
                          atol=1e-4)
    assert equal is not graph and all(a is not b for a, b in zip(equal.layers, graph.layers, strict=True))


def test_channels_read_by_depthwise_filters_get_the_same_range():
    torch.manual_seed(0)
    model, x = Inverted(), torch.rand(6, 2, 9, 8)
    model.body[0].weight.data *= torch.tensor([0.1, 1, 2, 3, 0.5, 0.2])[:, None, None, None]
    model.body[0].bias.data = torch.rand(6)
    graph = trace(model, (2, 9, 8))
    name = graph.layers[0].output

    def spread(graph):
        peak = graph.run(x)[name].amax((0, 2, 3))
        return float(peak.max() / peak.min())
    assert spread(graph) > 2 and spread(equalize(graph, x)) < 1.01


def test_dead_channels():
    model, x = Small(0), torch.zeros(2, 2, 9, 8)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data.zero_()
    equal = equalize(trace(model, (2, 9, 8)), x)
    assert all(torch.isfinite(layer.weight).all() and torch.isfinite(layer.bias).all() for layer in equal.weighted)


def test_linear_channels_are_turned_to_their_larger_side():
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 6, 3), torch.nn.Conv2d(6, 4, 1), torch.nn.ReLU())
    x, graph = torch.rand(6, 2, 9, 8), trace(model, (2, 9, 8))
    name = graph.layers[0].output
    before, after = (g.run(x) for g in (graph, equalize(graph, x)))
    assert (-before[name].amin((0, 2, 3)) > before[name].amax((0, 2, 3))).any()
    assert (-after[name].amin((0, 2, 3)) <= after[name].amax((0, 2, 3)) * 1.001).all()
    assert torch.allclose(after[graph.output], before[graph.output], atol=1e-4)
