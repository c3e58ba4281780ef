"""The node that scales channels: its codes, and what it may not be."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spec.errors import AlloyError
from spec.network import Network, Tensor
from spec.operators.scaling import Scaling, ScalingLayer
from tests.networks import scaled_network


def network(tensors=(), **values):
    """A network of one node: 3 channels of ``a`` times themselves, for they are of one pixel."""
    known = {name: Tensor(name=name, channels=3, height=1, width=1, bits=8, zero=zero)
             for name, zero in (("a", 7), ("b", 9))}
    node = dict(name="s", input="a", factor="a", output="b", weight=3, shift=2, lo=0, hi=255) | values
    return Network(name="n", input="a", output="b", tensors=known | {t.name: t for t in tensors},
                   nodes=[Scaling(**node)])


def test_codes_are_rounded_products():
    """Value by value with Python's numbers: half up, zero points, residual, clip, table."""
    rng, seen = np.random.default_rng(0), set()
    for seed in range(20):
        net = scaled_network(np.random.default_rng(seed))
        codes = net.codes(rng.integers(0, 256, (3, *net.tensors["image"].shape)))
        for node in net.nodes:
            if not isinstance(node, Scaling):
                continue
            x, s, *res = (codes[name].tolist() for name in node.inputs)
            for n, c, y, z in np.ndindex(codes[node.output].shape):
                value = node.weight * (x[n][c][y][z] - net.tensors[node.input].zero) * (
                    s[n][c][0][0] - net.tensors[node.factor].zero)
                value += node.res_mult * (res[0][n][c][y][z] - net.tensors[node.residual].zero) if res else 0
                code = (2 * value + 2 ** node.shift) // 2 ** (node.shift + 1) + net.tensors[node.output].zero
                code = min(max(code, node.lo), node.hi)
                seen.add((bool(res), node.table.size > 0, 0 < code < 255))
                assert codes[node.output][n, c, y, z] == (node.table[code] if node.table.size else code)
    assert len(seen) == 8


def test_the_file_keeps_it(tmp_path):
    net = scaled_network(np.random.default_rng(1))
    net.save(tmp_path / "net.npz")
    again, codes = Network.load(tmp_path / "net.npz"), np.random.default_rng(2).integers(
        0, 256, (2, *net.tensors["image"].shape))
    assert (again.run(codes) == net.run(codes)).all()


def tensor(name, channels=3, size=1, bits=8, zero=0):
    return Tensor(name=name, channels=channels, height=size, width=size, bits=bits, zero=zero)


@pytest.mark.parametrize("tensors, values, words", [
    ([tensor("a", size=2), tensor("b", size=2)], {}, "scales 3 channels by tensor a of 3x2x2: it needs one number for "
                                                     "each channel"),
    ([tensor("b", size=2)], {}, "makes 3x1x1, but tensor b is 3x2x2"),
    ([], dict(weight=0), "has the weight 0 and shifts by 2: the weight is 1 to 7, the shift 1 to 30"),
    ([], dict(weight=8), "has the weight 8"),
    ([], dict(shift=31), "shifts by 31"),
    ([], dict(shift=0), "shifts by 0"),
    ([tensor("b", bits=5)], {}, "clips to 0..255, outside the 5 bits of tensor b"),
    ([], dict(res_mult=-1), r"has the multiplier -1 of its residual, outside 0..4095"),
    ([], dict(res_mult=4096), r"has the multiplier 4096 of its residual, outside 0..4095"),
    ([tensor("a")], dict(res_mult=65536), r"has the multiplier 65536 of its residual, outside 0..65535"),
    ([], dict(table=np.zeros(9, np.uint8)), "has a table that is not 256 codes of the 8 bits of its output"),
])
def test_refusals(tensors, values, words):
    network()
    with pytest.raises(AlloyError, match=f"layer s .*{words}"):
        network(tensors, **values)


def test_a_residual_of_another_shape():
    net = scaled_network(np.random.default_rng(3), channels=4, size=(3, 3))
    at = next(i for i, node in enumerate(net.nodes) if isinstance(node, Scaling))
    nodes = [replace(node, residual=node.factor) if i == at else node for i, node in enumerate(net.nodes)]
    with pytest.raises(AlloyError, match=f"layer to_y adds tensor {net.nodes[at].factor} of another shape"):
        replace(net, nodes=nodes)


@pytest.mark.parametrize("weight, shift, residual, fits", [
    (1, 9, None, (4, 11)), (3, 5, None, (6, 6)), (7, 1, None, (7, 1)), (4, 1, None, (4, 1)), (3, 5, 15e3, (3, 5))])
def test_exported(weight, shift, residual, fits):
    """The largest weight that makes its step with a shift of 1 or more, and leaves room for the residual."""
    unit = 2.0 ** -9
    steps = {"a": 2.0 ** -4, "f": 2.0 ** -5, "o": unit * 2 ** shift / weight, "r": unit * (residual or 0.0)}
    net = SimpleNamespace(zeros={"f": 0, "o": 9}, tables={}, top=lambda layer: 255,
                          step=lambda name: torch.tensor(steps[name], dtype=torch.float64))
    node = ScalingLayer(name="s", sources=("a", "f"), output="o", residual="r" if residual else None).export(net)
    assert (node.weight, node.shift) == fits and node.res_mult == round((residual or 0) * node.weight)
    assert (node.lo, node.hi, node.residual) == (0, 255, "r" if residual else None)
