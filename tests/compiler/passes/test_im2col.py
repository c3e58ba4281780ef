"""im2col of the image: the new layer on what the engine reads of the image makes the sums of the layer on the image."""

from dataclasses import replace

import numpy as np
import pytest

from compiler.lower import lower
from compiler.passes import im2col_input
from spec.images import OUTSIDE, windows_of
from spec.operators.convolution import accumulate
from tests.compiler.graphs import engine, layer, network


def changed(kernel, stride, padding, config, channels=2, size=(7, 8), dilation=(1, 1), **values):
    """The graph before and after, for an image of ``size``."""
    rng = np.random.default_rng(4)
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(
        size, kernel, stride, padding, dilation, strict=True)]
    weight = rng.integers(-7, 8, (3, channels, *kernel)).astype(np.int16)
    net = network({"image": (channels, *size), "out": (3, *out)},
                  layer("image", "out", 3, channels, weight=weight, stride=stride, padding=padding, dilation=dilation),
                  image=5)
    graph = lower(net, **values)
    return graph, im2col_input(graph, config)


def read(graph, config, codes):
    """The codes (C, H, W) of the graph's input, as its loads read them of the image."""
    way, source = graph.im2col, graph.input
    data = np.frombuffer(way.image.pack(codes), np.uint8)
    found = np.zeros((source.height, source.width, way.groups(config.ic), config.ic), np.int64)
    for group, fields in way.loads(config, (0, source.height), (0, source.width)):
        at = windows_of(fields, config.ic)
        found[:, :, group] = np.where(at == OUTSIDE, fields["fill"], data[np.where(at < 0, 0, at + fields["dram"])])
    order = np.array(way.order(config.ic))
    out = np.zeros((source.channels, source.height, source.width), np.int64)
    flat = found.reshape(source.height, source.width, -1)[:, :, :len(order)]
    out[order[order >= 0]] = flat[:, :, order >= 0].transpose(2, 0, 1)
    return out


def sums(op, codes):
    """Of the operation for codes of its input."""
    return accumulate(op, codes[None], op.input.zero)[0]


LANES = dict(ports=2, port_bits=32)     # of groups of 8 channels or more: two rows come side by side


@pytest.mark.parametrize("kernel, stride, padding, ic, rows, bytes", [
    ((3, 3), (1, 1), (1, 1), 18, 1, 6), ((3, 3), (2, 2), (1, 1), 18, 2, 6), ((3, 3), (2, 2), (1, 1), 11, 2, 4),
    ((7, 7), (2, 2), (3, 3), 32, 2, 14), ((7, 7), (2, 2), (3, 3), 24, 1, 14), ((4, 4), (4, 4), (0, 0), 16, 2, 8),
    ((5, 7), (3, 3), (2, 4), 18, 3, 14), ((2, 2), (5, 5), (1, 1), 8, 5, 4),
    ((11, 11), (4, 4), (2, 2), 32, 2, 8), ((7, 7), (2, 2), (3, 3), 11, 2, 14)])
def test_ways(kernel, stride, padding, ic, rows, bytes):
    """Rows of the kernel that are channels together, and bytes of a window."""
    config = engine(ic=ic, **LANES)
    before, after = changed(kernel, stride, padding, config, size=(23, 24))
    assert (after.im2col.rows, after.im2col.bytes) == (rows, bytes), after.im2col
    codes = np.random.default_rng(1).integers(0, 16, (2, 23, 24))
    assert (sums(after.ops[0], read(after, config, codes)) == sums(before.ops[0], codes)).all()
    assert max(after.ops[0].stride) <= 2


@pytest.mark.parametrize("seed", range(60))
def test_sums_stay(seed):
    """Any kernel, stride, dilation, border and channels; pixels and rows with gaps; one lane and two."""
    rng = np.random.default_rng(seed)
    config = engine(ic=int(rng.integers(1, 33)), ports=int(rng.integers(1, 3)), port_bits=int(rng.choice([32, 64])))
    kernel, stride = (tuple(map(int, rng.integers(1, high, 2))) for high in (8, 6))
    padding = tuple(int(rng.integers(0, k)) for k in kernel)
    dilation = tuple(map(int, rng.choice([1, 1, 1, 2, 3], 2)))
    size = tuple(max(int(rng.integers(1, 20)), d * (k - 1) + 1 - 2 * p) for k, p, d in zip(
        kernel, padding, dilation, strict=True))
    channels = int(rng.integers(1, 7))
    pixel = channels + int(rng.integers(3))
    before, after = changed(kernel, stride, padding, config, channels, size, dilation, pixel_bytes=pixel,
                            row_bytes=size[1] * pixel + int(rng.integers(9)))
    codes = rng.integers(0, 32, (channels, *size))
    assert (sums(after.ops[0], read(after, config, codes)) == sums(before.ops[0], codes)).all()
    assert (read(before, config, codes) == codes).all()


def test_inputs_that_are_read_otherwise_are_left():
    """By two layers, in groups, by a pool or in an addition."""
    image = {"image": (2, 4, 4), "a": (2, 4, 4), "b": (2, 4, 4)}
    twice = lower(network(image, layer("image", "a", 2, 2), layer("image", "b", 2, 2)))
    added = lower(network(image, layer("image", "a", 2, 2), layer("a", "b", 2, 2, residual="image", res_mult=3)))
    grouped = lower(network({n: image[n] for n in ("image", "a")}, layer("image", "a", 2, 1)))
    itself = lower(network({n: image[n] for n in ("image", "a")},
                           layer("image", "a", 2, 2, residual="image", res_mult=3)))
    for graph in (twice, added, grouped, itself):
        assert im2col_input(graph, engine(ic=32)) is graph


def test_other_operations_stay():
    before, after = changed((3, 3), (1, 1), (1, 1), engine(ic=18))
    rest = [replace(op, input=after.ops[0].output) for op in before.ops[1:]]
    assert len(after.ops) == len(before.ops) and after.output is before.output and not rest
