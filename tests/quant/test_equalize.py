"""Cross-layer equalization."""

import sys

import numpy as np
import pytest
import torch

from quant import trace
from quant.equalize import equalize
from quant.ptq import columns
from tests.quant.test_quant import Inverted, Pools, Small

equalization = sys.modules["quant.equalize"]


@pytest.mark.parametrize("model", [Small(0), Small(1), Small(2), Inverted(), Pools()])
def test_the_function_stays_the_same(model):
    torch.manual_seed(0)
    graph, x = trace(model, (2, 9, 8)), torch.rand(6, 2, 9, 8)
    equal = equalize(graph, x)
    assert torch.allclose(
        equal.tensors(x)[graph.output], model.eval()(x).reshape(graph.tensors(x)[graph.output].shape), atol=1e-4
    )
    assert equal is not graph and all(a is not b for a, b in zip(equal.layers, graph.layers, strict=True))


def test_channels_read_by_depthwise_filters_get_the_same_range():
    torch.manual_seed(0)
    model, x = Inverted(), torch.rand(6, 2, 9, 8)
    model.body[0].weight.data *= torch.tensor([0.1, 1, 2, 3, 0.5, 0.2])[:, None, None, None]
    model.body[0].bias.data = torch.rand(6)
    graph = trace(model, (2, 9, 8))
    name = graph.layers[0].output

    def spread(graph):
        peak = graph.tensors(x)[name].amax((0, 2, 3))
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
    before, after = (g.tensors(x) for g in (graph, equalize(graph, x)))
    assert (-before[name].amin((0, 2, 3)) > before[name].amax((0, 2, 3))).any()
    assert (-after[name].amin((0, 2, 3)) <= after[name].amax((0, 2, 3)) * 1.001).all()
    assert torch.allclose(after[graph.output], before[graph.output], atol=1e-4)


# -- kind: what is measured has no say in what is chosen
# ------------------------------------------------------------------


def uneven():
    """(graph, images, name of a tensor whose channels have ranges up to 16 times apart and are read by even
    weights)."""
    torch.manual_seed(2)
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 6, 3), torch.nn.ReLU())
    model[0].weight.data *= torch.logspace(0, 4, 8, base=2)[:, None, None, None]
    graph = trace(model, (2, 9, 8))
    return graph, torch.rand(24, 2, 9, 8), graph.layers[0].output


def ranges(graph, x, name):
    """The largest range of a channel, over that of each."""
    peak = graph.tensors(x)[name].amax((0, 2, 3))
    return peak.max() / peak


@pytest.mark.parametrize("index", range(len(equalization.SHARES)))
def test_the_share_with_the_least_error_is_taken(monkeypatch, index):
    graph, x, name = uneven()
    monkeypatch.setattr(
        equalization, "_errors", lambda *arguments: np.where(np.arange(len(equalization.SHARES)) == index, 1.0, 2.0)
    )
    before, after = (ranges(g, x, name) for g in (graph, equalize(graph, x, act_bits=8)))
    assert torch.allclose(after, before ** (1 - equalization.SHARES[index]), rtol=1e-3)


def test_what_has_few_bits_decides():
    """Coarse codes of the tensor need channels of one range, coarse weights need filters of one range."""
    graph, x, name = uneven()
    codes, weights = (ranges(equalize(graph, x, weight_bits=w, act_bits=a), x, name).max() for w, a in ((8, 3), (3, 8)))
    assert codes < 2 < 4 < weights


def test_errors_are_those_of_rounding():
    """Without rounding to speak of there is no error; fewer bits make more of it; scales that spread the weights do,
    too."""
    graph, x, name = uneven()
    layer = graph.layers[1]
    seen, even = columns(graph.tensors(x)[name], layer, torch.arange(24 * 5 * 4)), torch.ones(8)
    errors = [float(equalization._errors(layer, seen, [even], False, bits, bits)[0]) for bits in (8, 4, 2)]
    assert errors[0] < 1e-3 < errors[1] < errors[2] < 1
    spread = torch.logspace(0, 6, 8, base=2)
    assert np.diff(equalization._errors(layer, seen, [even, spread], False, 8, 4))[0] > 0


def test_one_window_is_enough():
    """A single image whose map is one position."""
    torch.manual_seed(0)
    model, x = (
        torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 3, 1)),
        torch.rand(1, 2, 3, 3),
    )
    graph = trace(model, (2, 3, 3))
    assert torch.allclose(equalize(graph, x).tensors(x)[graph.output], graph.tensors(x)[graph.output], atol=1e-5)
