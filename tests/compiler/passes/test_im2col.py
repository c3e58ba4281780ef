"""Folding the input: the folded layer on the folded image makes the sums of the layer on the image."""

from dataclasses import replace

import numpy as np
import pytest

from compiler.lower import lower
from compiler.passes import fold_input
from spec.operators.convolution import accumulate
from tests.compiler.graphs import engine, layer, network


def folded(kernel, stride, padding, ic, channels=2, **values):
    """The graph before and after, for an image of 7x8."""
    rng = np.random.default_rng(4)
    size = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip((7, 8), kernel, stride, padding, strict=True)]
    weight = rng.integers(-7, 8, (3, channels, *kernel)).astype(np.int16)
    net = network({"image": (channels, 7, 8), "out": (3, *size)},
                  layer("image", "out", 3, channels, weight=weight, stride=stride, padding=padding, **values), image=5)
    graph = lower(net)
    return graph, fold_input(graph, engine(ic=ic))


def sums(op, codes):
    """Of the operation for codes of its input."""
    return accumulate(op, codes[None], op.input.zero)[0]


@pytest.mark.parametrize("kernel, stride, padding, ic, found", [
    ((3, 3), (1, 1), (1, 1), 18, (1, 1)), ((3, 3), (1, 1), (1, 1), 17, (3, 1)), ((3, 3), (2, 2), (1, 1), 6, (3, 1)),
    ((3, 3), (2, 1), (0, 1), 32, (1, 1)), ((3, 3), (1, 1), (1, 1), 5, None), ((3, 1), (1, 1), (0, 0), 5, None),
    ((1, 4), (1, 2), (0, 3), 8, (1, 1)), ((2, 4), (2, 2), (1, 0), 9, (2, 1)), ((4, 4), (4, 4), (0, 0), 5, (1, 1)),
    ((3, 6), (1, 4), (1, 2), 8, (3, 2)), ((5, 7), (3, 3), (2, 4), 18, (2, 3)), ((5, 2), (3, 1), (2, 0), 4, (2, 2))])
def test_sums_stay(kernel, stride, padding, ic, found):
    before, after = folded(kernel, stride, padding, ic)
    if found is None:
        assert after is before
        return
    assert after.ops[0].kernel == found and after.ops[0].input is after.input
    assert after.input.channels <= ic or max(stride) > 2
    codes = np.random.default_rng(1).integers(0, 16, (2, 7, 8))
    assert (sums(after.ops[0], after.fold(codes)) == sums(before.ops[0], codes)).all()
    assert after.fold(codes).shape == (after.input.channels, after.input.height, after.input.width)


def test_inputs_that_are_read_otherwise_are_left():
    """By two layers, in groups, by a pool or in an addition."""
    image = {"image": (2, 4, 4), "a": (2, 4, 4), "b": (2, 4, 4)}
    twice = lower(network(image, layer("image", "a", 2, 2), layer("image", "b", 2, 2)))
    added = lower(network(image, layer("image", "a", 2, 2), layer("a", "b", 2, 2, residual="image", res_mult=3)))
    grouped = lower(network({n: image[n] for n in ("image", "a")}, layer("image", "a", 2, 1)))
    itself = lower(network({n: image[n] for n in ("image", "a")},
                           layer("image", "a", 2, 2, residual="image", res_mult=3)))
    for graph in (twice, added, grouped, itself):
        assert fold_input(graph, engine(ic=32)) is graph


def test_other_operations_stay():
    before, after = folded((3, 3), (1, 1), (1, 1), 18)
    rest = [replace(op, input=after.ops[0].output) for op in before.ops[1:]]
    assert len(after.ops) == len(before.ops) and after.output is before.output and not rest
