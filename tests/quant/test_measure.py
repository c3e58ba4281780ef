"""Integer network against float model: numbers that can be worked out by hand."""

from math import log10, sqrt

import numpy as np
import pytest
import torch
from torch import nn

from quant.measure import Share, measure
from quant.normalize import Normalization
from quant.pictures import Pictures
from spec.network import Network, Tensor
from spec.numerics import Scheme
from spec.operators.convolution import Conv

PLAIN = Normalization.of(None, None, 1)


class Shown(nn.Module):
    """Three numbers for each position: the pixel times 255, its opposite, and 100."""

    def __init__(self, offset=0.0):
        super().__init__()
        self.offset = offset

    def forward(self, x):
        out = torch.cat([x * 255 + self.offset, 255 - x * 255, torch.full_like(x, 100)], 1)
        return out[:, :, 0, 0] if x.shape[2:] == (1, 1) else out


def network(size):
    """The same in integers: codes q -> q, 255 - q, 100."""
    tensors = {"image": Tensor(name="image", channels=1, height=size, width=size, bits=8, scale=1 / 255),
               "out": Tensor(name="out", channels=3, height=size, width=size, bits=8, scale=1.0)}
    node = Conv(name="c", input="image", output="out", weight=np.array([1, -1, 0], np.int16).reshape(3, 1, 1, 1),
                scheme=np.full(3, Scheme.FIXED8, np.uint8), mult=np.full(3, 2, np.int32),
                bias=np.array([0, 510, 200], np.int64), shift=1, lo=0, hi=255, padding=(0, 0))
    return Network(name="n", input="image", output="out", tensors=tensors, nodes=[node])


def pictures(codes, labels=None):
    return Pictures("here", [str(i) for i in range(len(codes))], lambda i: codes[i],
                    None if labels is None else np.array(labels))


def test_shares():
    share = Share.of(np.array([1, 1, 1, 0]))
    assert share.value == 0.75 and share.error == pytest.approx(sqrt(0.75 * 0.25 / 4))
    assert str(Share.of(np.array([True, False]))) == "50.00 +- 35.36"


@pytest.mark.parametrize("count", [5, 250_000])
def test_accuracy_and_agreement(count):
    """Also over several batches; the float model answers otherwise where the offset decides."""
    codes = np.resize(np.array([10, 90, 120, 140, 250], np.uint8), count).reshape(-1, 1, 1, 1)
    labels = np.resize([1, 1, 0, 0, 2], count)
    found = measure(Shown(offset=30.0), network(1), pictures(codes, labels), PLAIN)
    # float: 1 1 0 0 0, integer: 1 1 1 0 0
    assert found.images == count
    assert {name: share.value for name, share in found.accuracy.items()} == pytest.approx(
        {"float": 0.8, "integer": 0.6, "difference": -0.2})
    assert found.accuracy["difference"].error == pytest.approx(sqrt((0.2 - 0.04) / count))
    assert found.agreement.value == pytest.approx(0.8)
    lines = found.lines()
    assert lines[0].startswith("accuracy float") and "points" in lines[2] and f"{count} test images" in lines[-1]
    assert found.to_dict()["accuracy"]["float"]["value"] == pytest.approx(0.8)


def test_noise_without_labels():
    codes = np.array([10, 90], np.uint8).reshape(-1, 1, 1, 1)
    found = measure(Shown(offset=3.0), network(1), pictures(codes), PLAIN)
    signal = 13 ** 2 + 245 ** 2 + 93 ** 2 + 165 ** 2 + 2 * 100 ** 2
    assert found.accuracy == {} and found.sqnr == pytest.approx(10 * log10(signal / (2 * 9)), rel=1e-5)
    assert found.agreement.value == 1 and len(found.lines()) == 3
    same = measure(Shown(), network(1), pictures(codes), PLAIN)
    assert same.sqnr is None and len(same.lines()) == 2
    alone = measure(network(1), network(1), pictures(codes, [1, 0]), PLAIN)
    assert set(alone.accuracy) == {"integer"} and alone.agreement is alone.sqnr is None
    assert alone.accuracy["integer"].value == 0.5


def test_a_class_for_each_position():
    codes = np.array([[10, 90], [120, 250]], np.uint8).reshape(1, 1, 2, 2)
    found = measure(Shown(offset=30.0), network(2), pictures(codes, [1]), PLAIN)
    assert found.agreement.value == 0.75 and found.accuracy == {}
