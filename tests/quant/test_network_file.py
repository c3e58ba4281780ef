"""The network file: what is written comes back, and whatever is damaged is one sentence."""

from dataclasses import replace

import numpy as np
import pytest

from sim import golden
from spec.errors import AlloyError
from spec.network import Network, worst_case
from tests.networks import random_network


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
        assert one.files == two.files and all(np.array_equal(one[k], two[k]) and one[k].dtype == two[k].dtype for k in one.files)


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


@pytest.mark.parametrize("seed", range(5))
def test_bounds_hold_and_are_reached(seed):
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    node = next(n for n in network.nodes if n.kind == "conv")
    tensor = network.tensors[node.input]
    bounds = worst_case(node.weight, tensor)
    acc = golden.accumulate(node, rng.integers(0, 1 << tensor.bits, (4, *tensor.shape)), tensor.zero)
    assert (acc >= bounds[:, :1, None]).all() and (acc <= bounds[:, 1:, None]).all()
    weight = node.weight.reshape(len(node.weight), -1).astype(int)
    for column, sign in ((0, -1), (1, 1)):
        codes = np.where(weight * sign > 0, (1 << tensor.bits) - 1, 0) - tensor.zero
        assert ((weight * codes).sum(1) == bounds[:, column]).all()
    fits = replace(network, nodes=[replace(n, bounds=bounds) if n is node else n for n in network.nodes])
    with pytest.raises(AlloyError, match=f"layer {node.name} was exported with other accumulator bounds"):
        replace(fits, nodes=[replace(n, bounds=bounds + 1) if n is node else n for n in network.nodes])
