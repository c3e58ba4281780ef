"""The integer network: its codes by the definition, its file, and whatever is damaged is one sentence."""

from dataclasses import replace

import numpy as np
import pytest

from spec.errors import AlloyError
from spec.network import Network
from tests.networks import random_network
from tests.windows import window_network


@pytest.fixture
def saved(tmp_path):
    """A network file and its bytes."""
    path = tmp_path / "network.npz"
    random_network(np.random.default_rng(2)).save(path)
    return path, path.read_bytes()


def test_round_trip(saved, tmp_path):
    path, data = saved
    Network.load(path).save(tmp_path / "again.npz")
    with np.load(path) as one, np.load(tmp_path / "again.npz") as two:
        assert one.files == two.files and all(np.array_equal(one[k], two[k]) and one[k].dtype == two[k].dtype
                                              for k in one.files)


def test_any_cut_is_one_error(saved):
    path, data = saved
    for size in np.linspace(0, len(data) - 1, 40).astype(int):
        path.write_bytes(data[:size])
        with pytest.raises(AlloyError, match="is not a whole Alloy network file"):
            Network.load(path)


def test_any_flipped_bit_is_one_error_or_harmless(saved):
    path, data = saved
    rng, refused = np.random.default_rng(0), 0
    for _ in range(200):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            Network.load(path)
        except AlloyError as error:
            refused += "\n" not in str(error)
    assert refused > 100


def test_missing_file(tmp_path):
    with pytest.raises(AlloyError, match="there is no network file"):
        Network.load(tmp_path / "none.npz")


def value(network, node, tensors, n, c, y, x):
    """One output code by the definition, in Python integers."""
    source, out = network.tensors[node.input], network.tensors[node.output]
    codes, kernel = tensors[node.input], node.weight.shape[2:] if node.kind == "conv" else node.kernel
    (sy, sx), (top, left), (dy, dx) = node.stride, node.padding, node.dilation
    window = [(ky, kx, y * sy + ky * dy - top, x * sx + kx * dx - left)
              for ky in range(kernel[0]) for kx in range(kernel[1])]
    window = [w for w in window if 0 <= w[2] < source.height and 0 <= w[3] < source.width]
    if node.kind == "pool" and node.op == "max":
        return max([int(codes[n, c, r, k]) for _, _, r, k in window], default=0)
    if node.kind == "pool":
        total, extra, shift = sum(int(codes[n, c, r, k]) - source.zero for _, _, r, k in window) * int(
            node.mults[y, x] if node.mults.size else node.mult), 0, node.shift
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
    for seed in range(24):
        rng = np.random.default_rng(seed)
        network = random_network(rng, max_size=7, max_channels=5) if seed % 2 else window_network(rng, stride=4)
        images = rng.integers(0, 256, (2, *network.tensors["image"].shape))
        tensors = network.codes(images)
        for node in network.nodes:
            out = tensors[node.output]
            assert out.shape[1:] == network.tensors[node.output].shape
            for _ in range(12):
                at = tuple(int(rng.integers(s)) for s in out.shape)
                assert out[at] == value(network, node, tensors, *at), (seed, node.name, at)


@pytest.mark.parametrize("images, words", [
    (lambda ok: ok[:, :, :-1], "of shape"), (lambda ok: ok[0], "of shape"),
    (lambda ok: ok / 255, "float64, are no codes"),
    (lambda ok: ok + 256, "integers from 0 to"), (lambda ok: -ok - 1, "integers from 0 to")])
def test_images_that_are_no_codes(images, words):
    """One sentence instead of codes that wrap around."""
    network = random_network(np.random.default_rng(2))
    tensor = network.tensors[network.input]
    right = np.random.default_rng(0).integers(0, 1 << tensor.bits, (2, *tensor.shape))
    network.codes(right)
    with pytest.raises(AlloyError, match=words):
        network.codes(images(right))


@pytest.mark.parametrize("error", [KeyError("a"), TypeError("b"), ZeroDivisionError("c")])
def test_whatever_goes_wrong_is_one_error(saved, monkeypatch, error):
    def fails(graph, arrays):
        raise error
    monkeypatch.setattr(Network, "_from_graph", fails)
    words = rf"is not a whole .*: its layers do not fit each other \({type(error).__name__}\); export it again"
    with pytest.raises(AlloyError, match=words):
        Network.load(saved[0])


def test_logits_are_the_real_values_of_the_codes():
    network = random_network(np.random.default_rng(4))
    out = network.tensors[network.output]
    images = np.random.default_rng(5).integers(0, 256, (3, *network.tensors[network.input].shape))
    given = replace(network, tensors={**network.tensors, network.output: replace(out, scale=0.75)})
    assert np.array_equal(given.logits(images), ((network.run(images) - out.zero) * 0.75).astype(np.float32))
    with pytest.raises(AlloyError, match="keeps no scale of its output"):
        replace(network, tensors={**network.tensors, network.output: replace(out, scale=None)}).logits(images)
