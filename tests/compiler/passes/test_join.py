"""Parts that are made in place: only where nothing else sees the difference."""

import numpy as np
import pytest

from compiler.lower import lower
from compiler.operations import Convolution
from compiler.passes import join_parts
from spec.network import Network, Tensor
from spec.operators.concat import Concat
from tests.compiler.graphs import engine, layer, network


def joined(*, nodes=(), keep=(), output="o", tables=0, mult=1 << 15, **values):
    """Names of what makes parts: of a concatenation of two convolutions, the first of which has ``values``."""
    maps = {"image": (3, 4, 4), "a": (5, 4, 4), "b": (2, 4, 4)}
    made = [layer("image", "a", 5, 3, **values), layer("image", "b", 2, 3)]
    tensors = {name: Tensor(name=name, channels=c, height=h, width=w, bits=4) for name, (c, h, w) in maps.items()}
    tensors["o"] = Tensor(name="o", channels=7, height=4, width=4, bits=4)
    for node in nodes:
        tensors[node.output] = Tensor(name=node.output, channels=len(node.weight), height=4, width=4, bits=4)
    cat = Concat(name="cat", input="a", others=("b",), output="o", mult=np.array([mult, 1 << 15]), shift=15)
    net = Network(name="n", input="image", output=output, tensors=tensors, nodes=[*made, cat, *nodes])
    config = engine(tables=tables)
    graph = join_parts(lower(net, keep), config)
    return [op.name for op in graph.ops if op.at is not None], graph


def test_what_is_read_by_the_copy_alone():
    names, graph = joined()
    assert names == ["to_a", "to_b"] and [op.at for op in graph.ops] == [0, 5]
    assert [value.name for value in graph.values] == ["image", "o"] and graph.ops[0].table is None


@pytest.mark.parametrize("values", [
    dict(nodes=[layer("a", "other", 2, 5)], output="other"),            # another reader
    dict(keep=("a",)), dict(keep="all"),                                # the host
    dict(mult=1 << 14)])                                                # other codes, and no tables
def test_what_stays_a_copy(values):
    names, _ = joined(**values)
    assert names[0] != "to_a" and "cat.0" in names
    assert ("to_b" in names) == (values.get("keep") != "all")


def test_an_addition_stays_where_it_is():
    maps = {"image": (3, 4, 4), "r": (3, 4, 4), "a": (3, 4, 4), "o": (6, 4, 4)}
    net = network(maps, layer("image", "r", 3, 3), layer("image", "a", 3, 3, residual="r", res_mult=20),
                  Concat(name="cat", input="a", others=("image",), output="o", mult=np.array([1 << 15] * 2), shift=15))
    assert [op.name for op in join_parts(lower(net), engine()).ops] == ["to_r", "to_a", "cat.0", "cat.3"]


def test_what_the_copy_does_becomes_a_table():
    names, graph = joined(mult=1 << 14, tables=1)
    op = graph.ops[0]
    assert names == ["to_a", "to_b"] and isinstance(op, Convolution)
    assert op.table[:16].tolist() == [(code + 1) // 2 for code in range(16)]
