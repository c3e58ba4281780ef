"""Channel orders: tied values share one, and filters of each kind are spread evenly."""

import numpy as np
import pytest

from compiler.lower import lower
from compiler.passes import choose_columns, order_channels
from spec.numerics import Scheme
from tests.compiler.graphs import engine, layer, network, pool, random_graph

CONFIG = engine(dsp_filters=4, lut_filters=2, act_depth=256)


def ordered(*nodes, **tensors):
    return order_channels(choose_columns(lower(network(tensors, *nodes)), CONFIG), CONFIG)


@pytest.mark.parametrize("seed", range(40))
def test_every_value_has_an_order_that_its_ties_share(seed):
    graph, _ = random_graph(seed)
    for value in graph.values:
        assert sorted(value.order) == list(range(value.channels))
    assert graph.input.order == tuple(range(graph.input.channels))
    for op in graph.ops:
        assert all(one.order == other.order for one, other in op.ties())


def test_kinds_are_spread():
    """Six filters for each kind of column: every run of two positions has one of each."""
    weight = np.full((12, 3, 1, 1), 3, np.int16)
    weight[6:] = 4
    scheme = np.array([Scheme.FIXED4] * 6 + [Scheme.POT4] * 6, np.uint8)
    node = layer("image", "out", 12, 3, weight=weight)
    graph = ordered(type(node)(**{**vars(node), "scheme": scheme}), image=(3, 4, 4), out=(12, 4, 4))
    op, = graph.ops
    columns = op.made_by()[list(op.output.order)] > 0
    assert set(op.made_by()[:6]) == {1} and 0 in op.made_by()[6:]
    share = columns.mean()
    assert all(abs(columns[:n].sum() - n * share) <= 1 for n in range(13))


def test_what_is_tied_to_the_input_stays_in_its_order():
    """The host lays out the image by channel."""
    node = layer("a", "out", 3, 1, weight=np.array([4, 3, 3], np.int16).reshape(3, 1, 1, 1))
    scheme = np.array([Scheme.POT4, Scheme.FIXED4, Scheme.FIXED4], np.uint8)
    graph = ordered(pool("image", "a"), type(node)(**{**vars(node), "scheme": scheme}), image=(3, 4, 4), a=(3, 2, 2),
                    out=(3, 2, 2))
    assert len(set(graph.ops[1].made_by())) == 2
    assert [value.order for value in graph.values] == [(0, 1, 2)] * 3


def test_columns_are_chosen_for_filters_only():
    graph = ordered(layer("image", "a", 6, 3), pool("a", "out"), image=(3, 4, 4), a=(6, 4, 4), out=(6, 2, 2))
    assert [op.made_by() is None for op in graph.ops] == [False, True]
    assert len(graph.ops[0].made_by()) == 6
