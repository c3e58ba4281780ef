"""Selections and spreads: the nodes against loops, their refusals, and their programs against the nodes."""

from dataclasses import replace

import numpy as np
import pytest

from compiler.build import lowered, planned
from spec.errors import AlloyError
from spec.network import Network, Tensor
from spec.numerics import Scheme
from spec.operators.select import Select
from spec.operators.spread import Spread
from tests.networks import random_conv
from tests.spec.operators.programs import case, check_programs

SOURCE = Tensor(name="a", channels=4, height=5, width=6, bits=5, zero=3)
SELECT = Select(name="s", input="a", output="o", channel=np.array([2, -1, 0, 2, 3]), row=np.array([0, 0, -1, 1, 5]),
                col=np.array([1, 9, 0, -2, 0]), size=(3, 2), stride=(2, 3))


def network(node, source=SOURCE, **values):
    """A network of one node from ``a`` to ``o``, whose tensor may have other ``values`` than fit."""
    tensors = {"a": source, "o": source}
    try:
        shape = node.shape(type("Tensors", (), {"tensors": tensors}))
    except AlloyError:
        shape = source.shape
    out = replace(SOURCE, name="o", **dict(zip(("channels", "height", "width"), shape, strict=True)) | values)
    return Network(name="n", input="a", output="o", tensors=tensors | {"o": out}, nodes=[node])


def test_selected_codes():
    codes = np.random.default_rng(0).integers(0, 32, (2, *SOURCE.shape))
    out = network(SELECT).codes(codes)["o"]
    for n, c, y, x in np.ndindex(2, 5, 3, 2):
        channel, row, col = int(SELECT.channel[c]), y * 2 + int(SELECT.row[c]), x * 3 + int(SELECT.col[c])
        inside = channel >= 0 and 0 <= row < 5 and 0 <= col < 6
        assert out[n, c, y, x] == (codes[n, channel, row, col] if inside else 3)


@pytest.mark.parametrize("up", [(2, 2), (1, 2), (2, 1), (1, 1), (3, 3), (1, 5), (4, 1)])
@pytest.mark.parametrize("apart", [False, True])
def test_spread_codes(up, apart):
    parts = up[0] * up[1] if apart else 1
    codes = np.random.default_rng(0).integers(0, 32, (2, 4 * parts, *SOURCE.shape[1:]))
    made = network(Spread(name="s", input="a", output="o", up=up, apart=apart), replace(SOURCE, channels=4 * parts))
    out, count = made.codes(codes)["o"], 4
    assert out.shape[1:] == (count, 5 * up[0], 6 * up[1])
    for n, c, y, x in np.ndindex(*out.shape):
        part = (y % up[0] * up[1] + x % up[1]) * count * apart
        assert out[n, c, y, x] == codes[n, part + c, y // up[0], x // up[1]]


@pytest.mark.parametrize("node, values, words", [
    (replace(SELECT, row=np.zeros(3, int)), {}, "layer s needs one channel, row and col for each of its channels"),
    (replace(SELECT, channel=np.array([0, 1, 2, 3, 4])), {}, r"layer s selects channels 0..4 of 4"),
    (replace(SELECT, channel=np.array([-2, 1, 2, 3, 0])), {}, r"layer s selects channels -2..3 of 4"),
    (replace(SELECT, stride=(0, 1)), {}, r"layer s has stride \(0, 1\): strides are 1 or more"),
    (SELECT, dict(zero=0), "layer s changes bits or zero point of what it selects"),
    (Spread(name="s", input="a", output="o", up=(2, 2)), dict(bits=8),
     "layer s changes bits or zero point of what it spreads"),
    (Spread(name="s", input="a", output="o", up=(3, 0)), {},
     "layer s makes 3x0 pixels of one: 1 or more in each direction"),
])
def test_refusals(node, values, words):
    with pytest.raises(AlloyError, match=words):
        network(node, **values)


def test_channels_that_do_not_share():
    tensors = {"a": replace(SOURCE, channels=6), "o": replace(SOURCE, name="o")}
    with pytest.raises(AlloyError, match="layer s makes 4 pixels of 6 channels, which they do not share"):
        Network(name="n", input="a", output="o", tensors=tensors,
                nodes=[Spread(name="s", input="a", output="o", up=(2, 2), apart=True)])


def random_select(rng, source):
    count, stride = int(rng.integers(1, 9)), (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    size = (int(rng.integers(1, source.height // stride[0] + 2)), int(rng.integers(1, source.width // stride[1] + 2)))
    return Select(name="m", input="i", output="o", channel=rng.integers(-1, source.channels, count), size=size,
                  stride=stride, row=rng.integers(-1, 3, count), col=rng.integers(-2, 2, count))


def random_network(rng, size):
    """Convolutions, selections and spreads in a row."""
    image = Tensor(name="image", channels=int(rng.integers(1, 5)), height=int(rng.integers(2, size)),
                   width=int(rng.integers(2, size)), bits=8, zero=int(rng.choice([0, 128])))
    net, last = {"tensors": {"image": image}, "nodes": []}, "image"
    for index in range(int(rng.integers(3, 6))):
        source = net["tensors"][last]
        kind = rng.choice(["conv", "conv", "select", "spread", "apart"] if source.height * source.width < 400 else
                          ["conv", "select"])
        up = [(2, 2), (2, 2), (1, 2), (2, 1), (3, 3), (3, 2), (1, 4)][rng.integers(7)]
        if kind == "apart" or kind == "conv":
            filters = int(rng.integers(1, 9)) * (up[0] * up[1] if kind == "apart" else 1)
            last = random_conv(rng, net, f"c{index}", last, filters, (1, 1), (1, 1), (0, 0),
                               [Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8], int(rng.choice([4, 5, 8])))
        if kind == "conv":
            continue
        source = net["tensors"][last]
        node = random_select(rng, source) if kind == "select" else Spread(name="m", input="i", output="o", up=up,
                                                                          apart=kind == "apart")
        node = replace(node, name=f"m{index}", input=last, output=f"tm{index}")
        shape = node.shape(type("Tensors", (), net))
        net["tensors"][node.output] = replace(source, name=node.output, **dict(zip(
            ("channels", "height", "width"), shape, strict=True)))
        net["nodes"].append(node)
        last = node.output
    return Network(name="random", input="image", output=last, **net)


def network_of(seed):
    return case(random_network, (4, 6, 8), seed)


SEEDS = range(30)


@pytest.mark.parametrize("seed", SEEDS)
def test_programs(seed):
    check_programs(*network_of(seed), seed)


def test_what_the_programs_above_are():
    """Spreads in strips, and some whose channels fill no groups."""
    strips, padded = 0, 0
    for seed in SEEDS:
        net, config, _ = network_of(seed)
        graph = lowered(net, config)
        steps = [step for step in planned(graph, config).steps if type(step.op).__name__ == "Spread"]
        strips += any(len(step.strips) > 1 for step in steps)
        padded += any(step.op.input.name.endswith(".apart") for step in steps)
    assert strips > 2 and padded > 2
