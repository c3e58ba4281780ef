"""The golden model against a direct evaluation of the formulas, one output value at a time."""

import numpy as np
import pytest

from sim import golden
from spec.errors import AlloyError
from spec.network import Conv
from tests.networks import random_network


def value(network, node, tensors, n, c, y, x):
    """One output code by the definition, in Python integers."""
    source, out = network.tensors[node.input], network.tensors[node.output]
    codes, kernel = tensors[node.input], node.weight.shape[2:] if node.kind == "conv" else node.kernel
    window = [(ky, kx, y * node.stride[0] + ky - node.padding[0], x * node.stride[1] + kx - node.padding[1])
              for ky in range(kernel[0]) for kx in range(kernel[1])]
    window = [w for w in window if 0 <= w[2] < source.height and 0 <= w[3] < source.width]
    if node.kind == "pool" and node.op == "max":
        return max([int(codes[n, c, r, k]) for _, _, r, k in window], default=0)
    if node.kind == "pool":
        total, extra, shift = sum(int(codes[n, c, r, k]) - source.zero for _, _, r, k in window) * node.mult, 0, node.shift
    else:
        share = node.weight.shape[1]
        first = c * source.channels // len(node.weight) // share * share
        acc = sum(int(node.weight[c, i, ky, kx]) * (int(codes[n, first + i, r, k]) - source.zero)
                  for ky, kx, r, k in window for i in range(share))
        extra = int(node.bias[c])
        if node.residual:
            extra += (int(tensors[node.residual][n, c, y, x]) - network.tensors[node.residual].zero) * node.res_mult
        total, shift = acc * int(node.mult[c]), node.shift
    code = min(max((total + extra + (1 << shift - 1) >> shift) + out.zero, node.lo), node.hi)
    return int(node.table[code]) if node.kind == "conv" and node.table.size else code


def test_every_layer_by_the_definition():
    for seed in range(12):
        rng = np.random.default_rng(seed)
        network = random_network(rng, max_size=7, max_channels=5)
        images = rng.integers(0, 256, (2, *network.tensors["image"].shape))
        tensors = golden.run(network, images)
        for node in network.nodes:
            out = tensors[node.output]
            assert out.shape[1:] == network.tensors[node.output].shape
            for _ in range(12):
                at = tuple(int(rng.integers(s)) for s in out.shape)
                assert out[at] == value(network, node, tensors, *at), (seed, node.name, at)


@pytest.mark.parametrize("peak, channels", [(119, 3), (119, 700)])
def test_sums_are_exact(peak, channels, monkeypatch):
    """Worst sums on both sides of float32's limit, in blocks of one image, against int64."""
    rng = np.random.default_rng(channels)
    weight = np.full((2, channels, 3, 3), peak, np.int16)
    weight[1] = rng.integers(-peak, peak + 1, weight[1].shape)
    node = Conv(name="c", input="a", output="b", weight=weight, scheme=np.full(2, 8, np.uint8), mult=np.ones(2, np.int32),
                bias=np.zeros(2, np.int64), shift=1, lo=0, hi=255, padding=(1, 1))
    codes = rng.integers(254, 256, (3, channels, 4, 5))
    assert (int(np.abs(weight.astype(int)).reshape(2, -1).sum(1).max()) * 255 >= 1 << 24) == (channels == 700)
    view = golden.windows(codes - 1, (3, 3), (1, 1), (1, 1), 0)
    expected = np.einsum("ncyxij,fcij->nfyx", view, weight.astype(np.int64))
    for chunk in (1, 1 << 22):
        monkeypatch.setattr(golden, "CHUNK", chunk)
        assert (golden.accumulate(node, codes, 1) == expected).all()


@pytest.mark.parametrize("batch", [1, 700, 100_000])
def test_answers_do_not_depend_on_the_batch(monkeypatch, batch):
    rng = np.random.default_rng(0)
    images, weights = rng.integers(0, 256, (13, 2, 6, 5)), rng.normal(size=(60, 4))
    monkeypatch.setattr(golden, "BATCH", batch)
    found = golden.answers(lambda x: (x.reshape(len(x), -1) @ weights)[:, :, None, None], images)
    assert found.shape == (13,) and (found == (images.reshape(13, -1) @ weights).argmax(1)).all()


@pytest.mark.parametrize("images, words", [
    (lambda ok: ok[:, :, :-1], "of shape"), (lambda ok: ok[0], "of shape"), (lambda ok: ok / 255, "float64, are no codes"),
    (lambda ok: ok + 256, "integers from 0 to"), (lambda ok: -ok - 1, "integers from 0 to")])
def test_images_that_are_no_codes(images, words):
    """One sentence instead of codes that wrap around."""
    network = random_network(np.random.default_rng(2))
    tensor = network.tensors[network.input]
    right = np.random.default_rng(0).integers(0, 1 << tensor.bits, (2, *tensor.shape))
    golden.run(network, right)
    with pytest.raises(AlloyError, match=words):
        golden.run(network, images(right))
