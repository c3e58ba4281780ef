"""Images to calibrate with: refused or warned of, wherever they come in."""

import numpy as np
import pytest
import torch
from torch import nn

from quant import QuantNet, trace
from quant.images import check_pixels, look_at
from quant.ptq import reconstruct
from spec.errors import AlloyError
from tests.quant.colours import MEAN, STD, colours, trained


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return QuantNet(trace(nn.Conv2d(3, 4, 3), (3, 12, 12)))


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda x: x / 255,
            r"images of float64 and shape \(20, 3, 12, 12\) are not input codes: give at least one image uint8 3x12x12",
        ),
        (lambda x: x[:, :2], "are not input codes"),
        (lambda x: x[0], "are not input codes"),
        (lambda x: x[:0], "are not input codes"),
        (lambda x: x.astype(int), "images of int64"),
        (lambda x: 0 * x, "each of the 20 images to calibrate with is one flat colour"),
    ],
)
def test_refused(net, change, words):
    images = change(colours(20)[0])
    for function in (lambda: check_pixels(net.graph, images), lambda: reconstruct(net, images)):
        with pytest.raises(AlloyError, match=words):
            function()


def test_images_of_one_pixel_differ_from_each_other():
    graph = trace(nn.Conv2d(1, 2, 1), (1, 1, 1))
    images = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)
    assert (check_pixels(graph, images) == images).all()
    with pytest.raises(AlloyError, match="one flat colour"):
        check_pixels(graph, images[:1])


@pytest.mark.parametrize("shift, strange", [(0, False), (80, True), (-80, True)])
def test_what_a_batch_norm_has_not_seen(recwarn, shift, strange):
    """Images as in training are not warned of; much darker or brighter ones are."""
    images = np.clip(colours(100, seed=2)[0].astype(int) + shift, 0, 255).astype(np.uint8)
    graph = trace(trained(), (3, 12, 12))
    graph.layers[0].weight = graph.layers[0].weight / np.mean(STD)  # grey normalization, by hand
    graph.layers[0].bias = graph.layers[0].bias - graph.layers[0].weight.sum((1, 2, 3)) * np.mean(MEAN)
    look_at(graph, images, 1 / 255, 0)
    found = [str(warning.message) for warning in recwarn]
    assert bool(found) == strange and all("its batch norm did not see in training" in text for text in found), found


def test_known_images_are_not_looked_at_again(net, recwarn):
    images = colours(3)[0]
    reconstruct(net, images, known=True)
    assert not recwarn.list
    reconstruct(net, images)
    assert "3 images to calibrate with" in str(recwarn.pop().message)
