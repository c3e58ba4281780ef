"""Lowering: each node says its operations through the builder."""

import numpy as np
import pytest

from compiler.im2col import plain
from compiler.lower import lower
from compiler.operations import Convolution, Maximum
from spec.numerics import Scheme
from spec.operators.average_pool import AveragePool
from spec.operators.concat import Concat
from spec.operators.lookup import Lookup
from spec.operators.select import Select
from spec.program import Image
from tests.compiler.graphs import layer, network, pool


def test_nodes_become_operations():
    net = network({"image": (3, 8, 8), "a": (6, 8, 8), "b": (6, 4, 4), "c": (6, 4, 4), "d": (6, 1, 1)},
                  layer("image", "a", 6, 3, (3, 3), padding=(1, 1)), pool("a", "b"),
                  layer("b", "c", 6, 6, residual="b", res_mult=7, table=np.arange(256, dtype=np.uint8) % 16, hi=255),
                  AveragePool(name="mean", input="c", output="d", kernel=(4, 4), mult=256, shift=12, hi=15), image=3)
    graph = lower(net)
    assert [type(op) for op in graph.ops] == [Convolution, Maximum, Convolution, Convolution]
    assert [op.tag for op in graph.ops] == [0, 1, 2, 3] and [op.name for op in graph.ops][3] == "mean"
    first, maximum, added, mean = graph.ops
    assert first.kernel == (3, 3) and first.padding == (1, 1) and first.residual is None and first.table is None
    assert first.macs == 6 * 27 * 64 and maximum.macs == 0
    assert maximum.kernel == (2, 2) and maximum.stride == (2, 2) and maximum.input is first.output
    assert added.residual is maximum.output and added.res_mult == 7 and len(added.table) == 256
    assert mean.by_channel and mean.kernel == (4, 4) and (mean.weight == 1).all() and set(mean.mult) == {256}
    assert graph.input.name == "image" and graph.output is mean.output
    assert graph.im2col == plain(Image(0, 3, 8, 8, 3, 24), 3)


def test_a_selection_passes_every_code():
    net = network({"image": (2, 4, 5), "a": (3, 3, 2)}, Select(
        name="s", input="image", output="a", channel=np.array([1, 0, -1]), row=np.array([2, 1, 0]),
        col=np.array([3, 4, 0]), size=(3, 2), stride=(1, 1)))
    op, = lower(net).ops
    assert (op.mult == 1 << op.shift).all() and (op.bias == 0).all() and op.lo == 0
    assert op.hi == (1 << net.tensors["a"].bits) - 1
    assert op.kernel == (2, 2) and op.padding == (-1, -3) and op.windows.size((4, 5)) == (3, 2)
    assert [np.argwhere(weight).tolist() for weight in op.weight] == [[[1, 1, 0]], [[0, 0, 1]], []]


def test_filters_of_groups_read_their_own_channels():
    net = network({"image": (6, 2, 2), "a": (4, 2, 2)},
                  layer("image", "a", 4, 3, weight=np.arange(1, 13, dtype=np.int16).reshape(4, 3, 1, 1) % 7))
    op, = lower(net).ops
    for index in range(4):
        dense = op.filters(np.array([index]))[0][:, 0]
        first = index // 2 * 3
        assert (dense[first:first + 3] == op.weight[index, :, 0, 0]).all() and dense.sum() == op.weight[index].sum()


@pytest.mark.parametrize("stride, found", [((3, 1), (3, 1)), ((7, 4), (1, 4)), ((5, 9), (1, 1)), ((2, 2), (2, 2))])
def test_a_stride_that_nothing_follows_is_none(stride, found):
    """One window in a direction needs no planes, and stays that one."""
    size = tuple((7 - 3) // s + 1 for s in stride)
    net = network({"image": (3, 7, 7), "out": (2, *size)}, layer("image", "out", 2, 3, (3, 3), stride=stride))
    op, = lower(net).ops
    assert op.stride == found and op.windows.size((7, 7)) == size


def test_what_passes_codes_on_has_the_shortest_weights():
    """One 1 in a filter, of 2 bits, however it comes about; zero points and multipliers are as the nodes have them."""
    net = network({"image": (2, 3, 3), "a": (2, 3, 3), "b": (4, 3, 3), "y": (3, 3, 3)},
                  Lookup(name="l", input="image", output="a", table=np.arange(256, dtype=np.uint8) % 16),
                  Concat(name="c", input="image", others=("a",), output="b", mult=np.array([7, 9]), shift=3),
                  Select(name="s", input="b", output="y", channel=np.array([3, 0, 2]), row=np.zeros(3, np.int64),
                         col=np.zeros(3, np.int64), size=(3, 3), stride=(1, 1)), image=5, a=2)
    ops = lower(net).ops
    looked, *parts, chosen = ops
    for op in ops:
        assert (op.scheme == Scheme.FIXED2).all() and len(op.scheme) == len(op.weight) == len(op.mult) == len(op.bias)
        assert (op.weight.reshape(len(op.weight), -1).sum(1) == 1).all() and set(op.weight.flat) <= {0, 1}
    assert (looked.mult == 2).all() and (looked.bias == (5 - 2) * 2).all() and looked.shift == 1
    assert (looked.table == net.nodes[0].table).all() and (looked.lo, looked.hi) == (0, 255)
    assert [(op.at, set(op.mult), set(op.bias), op.shift, op.hi) for op in parts] == [
        (0, {7}, {0}, 3, 15), (2, {9}, {0}, 3, 15)]
    assert (chosen.mult == 2).all() and chosen.shift == 1 and chosen.hi == 15
