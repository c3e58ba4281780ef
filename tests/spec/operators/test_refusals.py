"""What a node may not be: one sentence each, that names the layer."""

from dataclasses import replace

import numpy as np
import pytest

from spec.errors import AlloyError
from spec.network import Network, Tensor
from spec.numerics import Scheme
from spec.operators.average_pool import AveragePool
from spec.operators.convolution import Conv
from spec.operators.max_pool import MaxPool


def tensor(name, channels=4, size=6, bits=5, zero=0):
    return Tensor(name=name, channels=channels, height=size, width=size, bits=bits, zero=zero)


def network(node, *tensors):
    """A network of one node from ``a`` to ``b``; ``tensors`` take the place of those."""
    known = {"a": tensor("a"), "b": tensor("b")} | {t.name: t for t in tensors}
    return Network(name="n", input="a", output="b", tensors=known, nodes=[node])


def conv(**values):
    """A 1x1 convolution that adds its input."""
    return replace(Conv(
        name="c", input="a", output="b", weight=np.ones((4, 4, 1, 1), np.int16), residual="a", res_mult=3,
        scheme=np.full(4, Scheme.FIXED4, np.uint8), mult=np.ones(4, np.int32), bias=np.zeros(4, np.int64),
        shift=2, lo=0, hi=31), **values)


def pool(cls, **values):
    return cls(**dict(name="p", input="a", output="b", kernel=(1, 1), hi=31) | values)


def filled(value, kind=np.int64):
    return np.full(4, value, kind)


WEIGHT = np.ones((4, 4, 1, 1), np.int16)


@pytest.mark.parametrize("values, words", [
    (dict(weight=WEIGHT[..., 0]), r"weights of shape \(4, 4, 1\): they need filters, channels, rows and columns"),
    (dict(weight=WEIGHT[:, :3]), r"weights of shape \(4, 3, 1, 1\), but reads 4 channels"),
    (dict(mult=np.ones(3, np.int32)), "needs one mult for each of its 4 filters"),
    (dict(codebook=np.ones((2, 2), np.int16)), r"a codebook of shape \(2, 2\): it is a list of values"),
    (dict(weight=WEIGHT[:2], scheme=filled(4)[:2], mult=filled(1)[:2], bias=filled(0)[:2]),
     "makes 2x6x6, but tensor b is 4x6x6"),
    (dict(hi=32), r"clips to 0..32, outside the 5 bits of tensor b"),
    (dict(hi=256, table=np.zeros(256, np.uint8)), r"clips to 0..256, outside the 8 bits of its table"),
    (dict(shift=47), "shifts by 47: the requantizer shifts by 1 to 46"),
    (dict(scheme=filled(10, np.uint8)), "filters of the unknown number system 10: known are FIXED2, "),
    (dict(weight=WEIGHT * 8), "filter 0 has a weight that is no level of FIXED4"),
    (dict(mult=filled(1 << 16)), r"has a multiplier outside 0..65535"),
    (dict(mult=filled(-1)), r"has a multiplier outside 0..65535"),
    (dict(res_mult=1 << 16), r"has a multiplier outside 0..65535"),
    (dict(bias=filled(1 << 46)), "has a bias that needs more than 47 bits"),
    (dict(table=np.zeros(255, np.uint8)), "has a table that is not 256 codes of the 5 bits of its output"),
    (dict(table=np.full(256, 32, np.uint8)), "has a table that is not 256 codes of the 5 bits of its output"),
    (dict(bounds=np.zeros((4, 2), np.int64)), "was exported with other accumulator bounds than its weights"),
])
def test_convolutions(values, words):
    network(conv())
    with pytest.raises(AlloyError, match=f"layer c.*{words}"):
        network(conv(**values))


def test_a_residual_of_another_shape():
    node = conv(weight=np.ones((4, 2, 1, 1), np.int16))
    with pytest.raises(AlloyError, match="layer c adds tensor a of another shape than its output"):
        network(replace(node, weight=np.ones((4, 8, 1, 1), np.int16)), tensor("a", channels=8))


@pytest.mark.parametrize("cls, values, words", [
    (MaxPool, dict(hi=32), r"clips to 0..32, outside the 5 bits of tensor b"),
    (MaxPool, dict(mult=1 << 16), r"has multiplier 65536, outside 0..65535"),
    (AveragePool, dict(shift=0), "shifts by 0: the requantizer shifts by 1 to 46"),
    (AveragePool, dict(kernel=(2, 2)), "makes 4x5x5, but tensor b is 4x6x6"),
])
def test_pools(cls, values, words):
    network(pool(cls))
    with pytest.raises(AlloyError, match=f"layer p {words}"):
        network(pool(cls, **values))


@pytest.mark.parametrize("out", [tensor("b", bits=6), tensor("b", zero=1)])
def test_max_pools_keep_codes(out):
    with pytest.raises(AlloyError, match="layer p changes bits or zero point in a max pool"):
        network(pool(MaxPool), out)


@pytest.mark.parametrize("make, words", [
    (lambda: conv(stride=(0, 1)), r"has stride \(0, 1\), padding \(0, 0\) to \(0, 0\) and dilation \(1, 1\): strides"),
    (lambda: pool(MaxPool, padding=(0, -1)), r"padding \(0, -1\) to \(0, -1\) and dilation .* padding 0 or more"),
    (lambda: pool(MaxPool, padding_end=(-1, 0)), r"padding \(0, 0\) to \(-1, 0\) and dilation"),
    (lambda: conv(dilation=(1, 0)), r"padding \(0, 0\) to \(0, 0\) and dilation \(1, 0\): strides and dilations are 1"),
    (lambda: pool(AveragePool, kernel=(0, 1)), r"pools with kernel \(0, 1\): its sides must be 1 or more"),
    (lambda: conv(bias=np.zeros(4)), "has bias of float64, values that are not integers"),
    (lambda: conv(residual=""), "has an empty name for itself or a tensor"),
    (lambda: pool(MaxPool, input=""), "has an empty name for itself or a tensor"),
])
def test_nodes_in_no_network(make, words):
    with pytest.raises(AlloyError, match=words):
        make()


@pytest.mark.parametrize("change, words", [
    (dict(output="c"), "network output c is written by no layer"),
    (dict(input="c"), "network input c is not among its tensors"),
    (dict(tensors={"a": tensor("a"), "b": tensor("c")}), "listed under another name than its own"),
    (dict(tensors={"a": tensor("a")}), "layer c writes tensor b, which is not described"),
    (dict(nodes=[conv(), conv()]), "two layers are called c"),
    (dict(nodes=[conv(), conv(name="d")]), "layer d writes tensor b, which is written already"),
    (dict(nodes=[conv(input="b", residual=None)]), "layer c reads tensor b before anything writes it"),
])
def test_networks(change, words):
    whole = network(conv())
    with pytest.raises(AlloyError, match=words):
        replace(whole, **change)
