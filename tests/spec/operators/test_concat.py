"""Concatenation: the node against loops, its refusals, and its programs against the node."""

import numpy as np
import pytest

from compiler.build import lowered, planned
from spec.errors import AlloyError
from spec.network import Network, Tensor
from spec.numerics import Scheme
from spec.operators.concat import Concat, ConcatLayer
from spec.operators.max_pool import MaxPool
from tests.networks import random_conv
from tests.spec.operators.programs import case, check_programs

SCHEMES = [Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8]


def tensor(name, channels, size=(3, 4), bits=5, zero=0):
    return Tensor(name=name, channels=channels, height=size[0], width=size[1], bits=bits, zero=zero)


def network(node, *tensors):
    """A network of one node of ``tensors``, the first of which is the input."""
    nodes = [Concat(name=t.name, input="a", others=(), mult=np.array([1]), shift=1, output=t.name)
             for t in tensors[1:-1]]
    return Network(name="n", input="a", output=tensors[-1].name, tensors={t.name: t for t in tensors},
                   nodes=[*nodes, node])


def concat(*names, mult=(3, 5), shift=3, **values):
    return Concat(name="c", input=names[0], others=names[1:], output="o", mult=np.array(mult), shift=shift, **values)


@pytest.mark.parametrize("zeros", [(0, 0), (3, 0), (0, 31), (7, 12)])
def test_codes_are_requantized_one_by_one(zeros):
    one, other, out = tensor("a", 2, zero=zeros[0]), tensor("b", 2, zero=2), tensor("o", 4, bits=4, zero=zeros[1] // 3)
    net = network(concat("a", "b"), one, other, out)
    images = np.random.default_rng(0).integers(0, 32, (2, 2, 3, 4))
    tensors = net.codes(images)
    for at in np.ndindex(2, 4, 3, 4):
        n, c, y, x = at
        source, mult = (one, 3) if c < 2 else (other, 5)
        code = int(tensors[source.name][n, c % 2, y, x])
        exact = np.floor((code - source.zero) * mult / 8 + 0.5) + out.zero
        assert tensors["o"][at] == min(max(exact, 0), 15)


@pytest.mark.parametrize("values, out, words", [
    (dict(mult=(1,)), tensor("o", 4), "layer c needs one mult for each of its 2 tensors"),
    (dict(mult=(1, 1 << 16)), tensor("o", 4), "layer c has a multiplier outside 0..65535"),
    (dict(mult=(1, -1)), tensor("o", 4), "layer c has a multiplier outside 0..65535"),
    (dict(shift=0), tensor("o", 4), "layer c shifts by 0: the requantizer shifts by 1 to 46"),
    (dict(shift=47), tensor("o", 4), "layer c shifts by 47"),
    (dict(), tensor("o", 5), "layer c makes 4x3x4, but tensor o is 5x3x4")])
def test_refusals(values, out, words):
    with pytest.raises(AlloyError, match=words):
        network(concat("a", "b", **values), tensor("a", 2), tensor("b", 2), out)


def test_maps_of_several_sizes_are_refused():
    pool = MaxPool(name="p", input="a", output="b", kernel=(2, 1), hi=31)
    with pytest.raises(AlloyError, match="layer c concatenates the channels of maps of 3x4 and 2x4 pixels: they need"):
        Network(name="n", input="a", output="o", nodes=[pool, concat("a", "b")],
                tensors={t.name: t for t in (tensor("a", 2), tensor("b", 2, (2, 4)), tensor("o", 4))})


def random_concat(rng, net, name, sources, *, exact):
    """A concatenation of tensors; ``exact``: codes stay as they are, as far as they have one zero point."""
    parts = [net["tensors"][source] for source in sources]
    bits = max(part.bits for part in parts) if exact else int(rng.choice([3, 5, 8]))
    zero = parts[-1].zero if exact else int(rng.integers(0, 1 << bits))
    out = Tensor(name=f"t{name}", channels=sum(part.channels for part in parts), height=parts[0].height,
                 width=parts[0].width, bits=bits, zero=zero)
    net["tensors"][out.name] = out
    mult = np.full(len(parts), 1 << 15) if exact else rng.integers(1 << 10, 1 << 16, len(parts))
    net["nodes"].append(Concat(name=name, input=sources[0], others=tuple(sources[1:]), output=out.name,
                               mult=mult.astype(np.int32), shift=15))
    return out.name


def random_network(rng, size):
    """Convolutions and concatenations of any tensors of one size, up to ``size`` rows and columns."""
    image = Tensor(name="image", channels=int(rng.integers(1, 5)), height=int(rng.integers(size // 2, size)),
                   width=int(rng.integers(size // 2, size)), bits=8)
    net, have = {"tensors": {"image": image}, "nodes": []}, ["image"]
    for level in range(int(rng.integers(2, 4))):
        for branch in range(int(rng.integers(1, 3))):
            have.append(random_conv(rng, net, f"c{level}{branch}", have[int(rng.integers(len(have)))],
                                    int(rng.integers(1, 10)), (3, 3), (1, 1), (1, 1), SCHEMES,
                                    int(rng.choice([4, 5, 8]))))
        sources = {have[-1]: 0} | dict.fromkeys(rng.choice(have, min(2, len(have)), replace=False).tolist())
        have.append(random_concat(rng, net, f"cat{level}", list(sources), exact=rng.random() < 0.5))
    if rng.random() < 0.7:
        have.append(random_conv(rng, net, "last", have[-1], 5, (1, 1), (1, 1), (0, 0), SCHEMES, 8))
    needed, nodes = {have[-1]}, []
    for node in reversed(net["nodes"]):
        if node.output in needed:
            needed |= {*node.inputs}
            nodes.append(node)
    made = {"image", *(node.output for node in nodes)}
    return Network(name="random", input="image", output=have[-1], nodes=nodes[::-1],
                   tensors={name: t for name, t in net["tensors"].items() if name in made})


def network_of(seed):
    return case(random_network, (3, 8, 11), seed)


SEEDS = range(21)


@pytest.mark.parametrize("seed", SEEDS)
def test_programs(seed):
    check_programs(*network_of(seed), seed)


def test_what_the_programs_above_are():
    """Some make parts in place, some of those with a table, some parts are stored and loaded again."""
    joined, tables, strips = 0, 0, 0
    for seed in SEEDS:
        net, config, _ = network_of(seed)
        graph = lowered(net, config)
        parts = [op for op in graph.ops if op.at is not None and op.macs]
        joined, tables = joined + len(parts), tables + sum(op.table is not None for op in parts)
        strips += any(len(step.strips) > 1 and step.op.at is not None for step in planned(graph, config).steps)
    assert joined > 20 and tables > 5 and strips > 1


def test_where_channels_come_from():
    layer = ConcatLayer(name="cat", sources=("a", "b", "c"), output="cat", channels=(2, 1, 3))
    assert [found.tolist() for found in layer.origins(2, 1, 3)] == [
        [0, 1, -1, -1, -1, -1], [-1, -1, 0, -1, -1, -1], [-1, -1, -1, 0, 1, 2]]
