"""What commands cannot count is one sentence that names it."""

import pytest

from compiler.lower import lower
from compiler.passes import hold_limits
from spec.errors import AlloyError
from tests.compiler.graphs import CONFIG, layer, network


@pytest.mark.parametrize("shape, values, words", [
    ((1021, 1, 1), {}, "tensor image has 1021 channels, 256 groups of 4: commands count 255, so make it of several"),
    ((1, 65536, 1), {}, "tensor image has 65536x1 pixels: commands count 65535 rows and columns"),
    ((1, 1, 40000), {"kernel": (1, 32768)}, "layer to_out has windows of 1x32768 pixels: taps reach 32767 of them"),
    ((1, 40000, 1), {"kernel": (2, 1), "dilation": (32767, 1)}, "layer to_out has windows of 32768x1 pixels")])
def test_limits(shape, values, words):
    rows, cols = (size - (k - 1) * d for size, k, d in zip(shape[1:], values.get("kernel", (1, 1)), values.get(
        "dilation", (1, 1)), strict=True))
    made = network({"image": shape, "out": (1, rows, cols)}, layer("image", "out", 1, shape[0], **values))
    with pytest.raises(AlloyError, match=words):
        hold_limits(lower(made), CONFIG)


@pytest.mark.parametrize("shape", [(1020, 1, 1), (1, 65535, 1), (1, 1, 65535)])
def test_the_largest(shape):
    graph = lower(network({"image": shape, "out": (1, *shape[1:])}, layer("image", "out", 1, shape[0])))
    assert hold_limits(graph, CONFIG) is graph
