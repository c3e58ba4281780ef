"""Planes: each reader finds its input laid out for its stride."""

from itertools import product

import pytest

from compiler.lower import lower
from compiler.operations import Maximum, Sample
from compiler.passes import split_phases
from tests.compiler.graphs import CONFIG, layer, network


def graph_of(strides):
    """A value ``a`` that layers of these strides read."""
    tensors, nodes = {"image": (3, 8, 8), "a": (3, 8, 8)}, [layer("image", "a", 3, 3)]
    for number, stride in enumerate(strides):
        tensors[f"out{number}"] = (3, 8 // stride[0], 8 // stride[1])
        nodes.append(layer("a", f"out{number}", 3, 3, (3, 3), stride=stride, padding=(1, 1)))
    return split_phases(lower(network(tensors, *nodes)), CONFIG)


STRIDES = [*product((1, 2), repeat=2)]


@pytest.mark.parametrize("strides", [[s] for s in STRIDES] + [list(p) for p in product(STRIDES, repeat=2)]
                         + [[(2, 2), (2, 2), (1, 1)], [(2, 1), (1, 2), (2, 1), (2, 2)]])
def test_each_reader_has_its_layout(strides):
    graph = graph_of(strides)
    layers = [op for op in graph.ops if not isinstance(op, Maximum)]
    copies = [op for op in graph.ops if isinstance(op, Maximum)]
    for op in layers:
        assert op.input.phases == op.stride
    assert all(value.phases is not None for value in graph.values)
    # One layout needs no copy; several are copies of a tensor in one plane, which a copy can read.
    kinds = set(strides)
    assert len(copies) == (0 if len(kinds) == 1 else len(kinds - {(1, 1)}))
    for copy in copies:
        assert copy.kernel == (1, 1) and copy.input.phases == (1, 1) and copy.input.name == "a"
        readers = [i for i, op in enumerate(graph.ops) if op.input is copy.output]
        assert graph.ops.index(copy) == min(readers) - 1 or graph.ops[min(readers) - 1] in copies
        assert copy.tag == graph.ops[min(readers)].tag


@pytest.mark.parametrize("stride", [(2, 2), (2, 1), (1, 2)])
def test_single_pixels_are_copied_alone(stride):
    """Two readers of one stride want every pixel in one plane; the third reads single ones, from a copy of them."""
    size = tuple(8 // count for count in stride)
    tensors = {"image": (3, 8, 8), "a": (3, 8, 8), "b": (3, 8, 8), "c": (3, 8, 8), "out": (3, *size)}
    graph = split_phases(lower(network(tensors, layer("image", "a", 3, 3), layer("a", "b", 3, 3),
                                       layer("a", "c", 3, 3), layer("a", "out", 3, 3, stride=stride))), CONFIG)
    copy, = (op for op in graph.ops if isinstance(op, Sample))
    last = graph.ops[-1]
    assert copy.stride == stride and copy.phases == (1, 1) == copy.input.phases and not list(copy.faults())
    assert last.input is copy.output and last.stride == (1, 1) and not list(last.faults())
    assert (copy.output.height, copy.output.width) == size and copy.output.phases == (1, 1)


def test_names_of_copies_are_their_own():
    names = [value.name for value in graph_of([(2, 1), (1, 2), (2, 2), (1, 1)]).values]
    assert len(set(names)) == len(names) and {"a.y", "a.x", "a.yx"} <= set(names)
