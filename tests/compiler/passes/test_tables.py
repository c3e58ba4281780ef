"""Tables behind convolutions: merged where nothing else reads the codes, and only there."""

from dataclasses import replace

import numpy as np
import pytest

from compiler.lower import lower
from compiler.passes import merge_tables
from compiler.verify import verify
from spec.network import Network, Tensor
from spec.operators.lookup import Lookup
from tests.compiler.graphs import CONFIG, layer, network, pool

TABLE = np.arange(256)[::-1].astype(np.uint8) % 16


def look(source, out, table=TABLE):
    return Lookup(name=f"to_{out}", input=source, output=out, table=table)


def merged(*args, **values):
    return verify(merge_tables(lower(network(*args, **values)), CONFIG), "merge_tables")


def shapes(*names):
    return dict.fromkeys(names, (3, 4, 4))


def test_a_table_behind_a_convolution():
    graph = merged(shapes("a", "b", "c"), layer("a", "b", 3, 3), look("b", "c"), b=9, c=2)
    (op,) = graph.ops
    assert (op.name, op.tag, op.output.name, op.hi) == ("to_b", 0, "c", 15) and np.array_equal(op.table, TABLE)
    assert (op.bias == 7 << op.shift).all() and [v.name for v in graph.values] == ["a", "c"]


def test_tables_in_a_row_are_one():
    graph = merged(shapes("a", "b", "c", "d"), layer("a", "b", 3, 3), look("b", "c"), look("c", "d", TABLE // 2))
    (op,) = graph.ops
    assert np.array_equal(op.table, (TABLE // 2)[TABLE])


@pytest.mark.parametrize("nodes, count", [
    ((layer("a", "b", 3, 3), look("b", "c"), layer("b", "d", 3, 3, residual="c", res_mult=1)), 3),
    ((layer("a", "b", 3, 3), look("b", "c"), layer("c", "d", 3, 3, residual="b", res_mult=1)), 3),
    ((layer("a", "b", 3, 3), layer("b", "c", 3, 3), look("b", "d")), 3),
    ((look("a", "b"), layer("b", "c", 3, 3), look("c", "d")), 2),
    ((layer("a", "b", 3, 3), pool("b", "c", (1, 1), (1, 1)), look("c", "d")), 3)])
def test_what_is_read_elsewhere_stays(nodes, count):
    graph = merged(shapes("a", "b", "c", "d"), *nodes)
    assert len(graph.ops) == count


def test_the_output_stays():
    made = network(shapes("a", "b", "c"), layer("a", "b", 3, 3), look("b", "c"))
    graph = lower(replace(made, output="b"))
    assert len(merge_tables(graph, CONFIG).ops) == 2


@pytest.mark.parametrize("change", [
    dict(weight=np.full((3, 1, 1, 1), 2)), dict(residual="a", res_mult=1), dict(mult=3), dict(bias=1), dict(hi=15),
    dict(kernel=(3, 3)), dict(table=TABLE[:0])])
def test_other_convolutions_with_tables_stay(change):
    """Only what changes nothing else may go."""
    values = dict(weight=np.ones((3, 1, 1, 1), np.int16), mult=2, shift=1, hi=255, table=TABLE)
    kernel = change.pop("kernel", (1, 1))
    values |= change
    if kernel != (1, 1):
        values["weight"] = np.ones((3, 1, *kernel), np.int16)
    tensors = {name: Tensor(name=name, channels=3, height=4, width=4, bits=8) for name in "ab"}
    tensors["c"] = Tensor(name="c", channels=3, height=4 - kernel[0] + 1, width=4 - kernel[1] + 1, bits=8)
    plain = layer("b", "c", 3, 1, **values)
    made = Network(name="made", input="a", output="c", tensors=tensors,
                   nodes=[layer("a", "b", 3, 3), replace(plain, table=plain.table.astype(np.uint8))])
    assert len(merge_tables(lower(made), CONFIG).ops) == 2
