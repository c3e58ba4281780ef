"""Pools as PyTorch has them: kernels, strides, padding, dilation and rounding of sizes, against its own functions."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from spec.errors import AlloyError
from spec.network import Network, Tensor
from spec.operators.average_pool import AveragePool, AveragePoolLayer
from spec.operators.max_pool import MaxPoolLayer
from spec.operators.operator import Call


def drawn(rng):
    """A map (1, 2, H, W) of whole numbers, and arguments that PyTorch takes for it."""
    size, kernel, stride = (rng.integers(1, high, 2).tolist() for high in (13, 6, 6))
    padding = [int(rng.integers(0, k // 2 + 1)) for k in kernel]
    given = {"kernel_size": kernel, "stride": [] if rng.random() < 0.2 else stride, "padding": padding,
             "ceil_mode": bool(rng.random() < 0.5)}
    return torch.from_numpy(rng.integers(0, 32, (1, 2, *size))).double(), given


def called(function, x, given):
    return Call("p", "layer p", function, ("x",), (tuple(x.shape[1:]),), given)


def torch_or_none(function, x, **given):
    """None for what PyTorch itself refuses: a kernel beyond the map."""
    try:
        return function(x, **given)
    except RuntimeError:
        return None


def test_maxima():
    rng, count = np.random.default_rng(0), 0
    for _ in range(400):
        x, given = drawn(rng)
        given["dilation"] = rng.integers(1, 4, 2).tolist() if rng.random() < 0.5 else [1, 1]
        expected = torch_or_none(F.max_pool2d, x, **given | {"stride": given["stride"] or None})
        if expected is None:
            continue
        layer, count = MaxPoolLayer.read(called("max_pool2d", x, given)), count + 1
        assert layer.shape(tuple(x.shape[1:])) == expected.shape[1:], given
        assert torch.equal(layer.apply(torch, x), expected), given
        node = layer.export(SimpleNamespace(top=lambda layer: 31))
        network = Network(name="n", input="x", output="p", nodes=[node], tensors={
            name: Tensor(name=name, channels=2, height=value.shape[2], width=value.shape[3], bits=5)
            for name, value in (("x", x), ("p", expected))})
        found = network.codes(x.long().numpy())["p"]        # 0 is the least code: that of windows without a value
        assert (found == expected.clamp_min(0).numpy()).all(), given
    assert count > 150


def test_averages():
    rng, count, several = np.random.default_rng(1), 0, 0
    for _ in range(400):
        x, given = drawn(rng)
        given |= {"count_include_pad": bool(rng.random() < 0.5),
                  "divisor_override": int(rng.integers(1, 20)) if rng.random() < 0.2 else None}
        expected = torch_or_none(F.avg_pool2d, x, **given | {"stride": given["stride"] or None})
        if expected is None:
            continue
        layer, count = AveragePoolLayer.read(called("avg_pool2d", x, given)), count + 1
        assert layer.shape(tuple(x.shape[1:])) == expected.shape[1:], given
        assert torch.allclose(layer.apply(torch, x), expected), given
        net = SimpleNamespace(step=lambda name: torch.tensor(0.125 if name == "x" else 0.5), top=lambda layer: 255,
                              tensor=lambda name, size=tuple(x.shape[1:]): SimpleNamespace(shape=size),
                              multipliers=lambda factors: (np.round(factors * 2.0 ** 14).astype(np.int32), 14))
        node = layer.export(net)
        several += node.mults.size > 0
        assert (node.mults.size > 0) == (len(np.unique(layer.divisors(tuple(x.shape[2:])))) > 1), given
        network = Network(name="n", input="x", output="p", nodes=[node], tensors={
            name: Tensor(name=name, channels=2, height=value.shape[2], width=value.shape[3], bits=8)
            for name, value in (("x", x), ("p", expected))})
        found = network.codes(x.long().numpy())["p"]
        assert np.abs(found - np.clip(expected.numpy() / 4, 0, 255)).max() < 0.52, given
    assert count > 150 and several > 20


@pytest.mark.parametrize("mults, words", [
    (np.ones((2, 3), np.int32), r"has multipliers \(2, 3\) from 1 to 1: each pixel of its output needs one"),
    (np.full((3, 3), -1, np.int32), "has multipliers .* from -1 to -1"),
    (np.full((3, 3), 1 << 16, np.int32), "has multipliers .* from 65536 to 65536")])
def test_multipliers_that_do_not_fit(mults, words):
    tensors = {name: Tensor(name=name, channels=1, height=3, width=3, bits=8) for name in "ab"}
    node = AveragePool(name="p", input="a", output="b", kernel=(1, 1), mults=mults)
    with pytest.raises(AlloyError, match=f"layer p {words}"):
        Network(name="n", input="a", output="b", nodes=[node], tensors=tensors)


def test_multipliers_are_kept_in_the_file(tmp_path):
    tensors = {name: Tensor(name=name, channels=1, height=3, width=3, bits=8) for name in "ab"}
    for mults in (np.arange(9, dtype=np.int32).reshape(3, 3), np.zeros((0, 0), np.int32)):
        node = AveragePool(name="p", input="a", output="b", kernel=(3, 2), padding=(1, 0), padding_end=(1, 1),
                           mults=mults)
        Network(name="n", input="a", output="b", nodes=[node], tensors=tensors).save(tmp_path / "n.npz")
        again, = Network.load(tmp_path / "n.npz").nodes
        assert again.padding_end == (1, 1) and again.dilation == (1, 1) and np.array_equal(again.mults, mults)
