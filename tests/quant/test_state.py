"""The state of a quantized network is complete: whoever loads it computes the same codes and exports the same network.

Kind: something that decides the codes is not in the state, so that a loaded network computes something else without a
word.
"""

import io

import numpy as np
import pytest
import torch
from torch import nn

from quant import QuantNet, Ratio, fit_codebook, trace
from quant.equalize import equalize
from quant.ptq import reconstruct
from spec.errors import AlloyError
from spec.numerics import Scheme

SHAPE = (3, 9, 8)


def model(filters=6):
    """Signed and bounded tensors, a ReLU6, a max pool."""
    torch.manual_seed(3)
    made = nn.Sequential(
        nn.Conv2d(3, filters, 3, padding=1),
        nn.ReLU6(),
        nn.MaxPool2d(2),
        nn.Conv2d(filters, 5, 1),
        nn.ReLU(),
        nn.Conv2d(5, 4, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    made[0].weight.data *= 20  # the bound is met
    return made


def images(count=12):
    coarse = np.random.default_rng(1).integers(0, 256, (count, 3, 3, 4))
    return np.kron(coarse, np.ones((1, 1, 3, 2))).astype(np.uint8)


def mixed(graph):
    """Every number system in every layer, with code books."""
    convs = {layer.name: layer.weight.numpy() for layer in graph.weighted}
    return dict(
        schemes={name: np.resize([int(s) for s in Scheme], len(w)).astype(np.uint8) for name, w in convs.items()},
        codebooks={name: fit_codebook(w) for name, w in convs.items()},
    )


OPTIONS = {
    "ratio": dict(ratio=Ratio(1, 1, 1)),
    "bits": dict(bits=2, wide=("4", "3"), ratio=Ratio(1, 1, 1)),
    "input": dict(input_scale=1 / 128, input_zero=114),
    "levels": dict(levels=16),
    "single_scale": dict(single_scale=True, ratio=Ratio(1, 0, 0)),
    "schemes": mixed,
}


def same(one, two, codes):
    """Whether two networks have the same codes, and are the same as integer networks."""
    exact, found = one.export().codes(codes), two.export().codes(codes)
    assert exact.keys() == found.keys() and all((exact[name] == found[name]).all() for name in exact)
    first, second = one.export(), two.export()
    assert first.tensors == second.tensors
    for a, b in zip(first.nodes, second.nodes, strict=True):
        assert all(np.array_equal(value, vars(b)[name]) for name, value in vars(a).items()), a.name


@pytest.mark.parametrize("through_a_file", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_state_is_complete(name, through_a_file):
    """A network that was made with other options, from the graph before equalization, becomes the same."""
    graph, codes = trace(model(), SHAPE), images()
    options = OPTIONS[name](graph) if callable(OPTIONS[name]) else OPTIONS[name]
    scaled = equalize(graph, torch.from_numpy(codes).float() / 255)
    scaled.layers[0].cap = scaled.layers[0].cap * torch.linspace(0.2, 1, 6)[:, None, None]  # as equalization may do
    net = QuantNet(scaled, **options)
    reconstruct(net, codes)
    state = net.state_dict()
    if through_a_file:
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        state = torch.load(file, weights_only=True)
    other = QuantNet(graph, ratio=Ratio(0, 1, 0), bits=4)
    x = torch.from_numpy(codes).float() / 255
    with torch.no_grad():
        for step in other.steps.parameters():
            step.zero_()
        other.train()(x)  # it has used other levels before
    other.load_state_dict(state)
    same(net, other, codes)
    assert other.signed == net.signed and [p.requires_grad for p in other.parameters()] == [
        p.requires_grad for p in net.parameters()
    ]
    assert torch.equal(net.train()(x), other.train()(x))


def test_a_loaded_state_is_its_own():
    """What happens to one network afterwards does not happen to the other."""
    graph, codes = trace(model(), SHAPE), images()
    net, other = QuantNet(graph), QuantNet(graph)
    reconstruct(net, codes)
    other.load_state_dict(net.state_dict())
    before = {name: scheme.copy() for name, scheme in other.schemes.items()}
    for scheme in net.schemes.values():
        scheme[:] = Scheme.FIXED8
    net.zeros[net.graph.output] += 1
    assert all((other.schemes[name] == scheme).all() for name, scheme in before.items())
    assert other.zeros[net.graph.output] == net.zeros[net.graph.output] - 1


def test_state_of_another_network():
    net = QuantNet(trace(model(), SHAPE))
    for other in (model(7), nn.Sequential(*model(), nn.Flatten(), nn.Linear(3, 3))):
        with pytest.raises(AlloyError, match="the state is that of another network"):
            net.load_state_dict(QuantNet(trace(other, SHAPE)).state_dict())
