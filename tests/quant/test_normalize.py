"""Normalization: folded exactly, refused where it has no place, asked for where nothing shows that it is missing."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from quant import quantize
from quant.normalize import Normalization
from quant.quantize import Source
from spec.errors import AlloyError
from tests.quant.colours import MEAN, STD, answered, colours, quick, refused


@pytest.fixture(scope="module")
def task():
    return answered()


class Stem(nn.Module):
    """What reads the image: two convolutions, one of them grouped, and one behind a pool, added."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.pool = nn.Conv2d(3, 6, 3, groups=3), nn.Conv2d(6, 4, 1), nn.MaxPool2d(3, 1)
        self.three = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return F.relu(self.two(F.relu(self.one(x))) + self.three(self.pool(x)))


@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, 1), nn.AvgPool2d(3, 1)])
def test_normalization_is_folded_exactly(pool):
    """Into every convolution that reads the image, also through a pool; grouped ones read their own channels."""
    torch.manual_seed(1)
    model, images = Stem(), colours(20)[0]
    model.pool = pool
    source = Source(model, images, MEAN, STD)
    found = source.graph.tensors(source.real)[source.graph.output]
    assert torch.allclose(found, model(source.normalization.real(images)), atol=1e-4)


@pytest.mark.parametrize("mean, padded", [(0.0, True), (1.0, True), (0.2, True), (0.21, False), (MEAN, False)])
def test_zero_padding(mean, padded):
    """It is what it was in training if the mean is a pixel: 0.2 is 51."""
    assert Normalization.of(mean, 0.25, 3).padded == padded


def test_normalization_is_part_of_the_network(task):
    """The outputs are those of the float model on normalized images; without mean and std they are not, and a warning
    says so."""
    model, images, _, expected = task

    def distance(**options):
        return np.abs(quick(model, images, **options).logits(images) - expected).mean() / np.abs(expected).mean()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "the multipliers of")
        assert distance(mean=MEAN, std=STD) < 0.05
    with pytest.warns(UserWarning, match="its batch norm did not see in training .* give quantize the mean and std"):
        assert distance() > 0.2


def test_forgotten_normalization_that_nothing_can_see(capsys):
    """A network without batch norm gets a line of text."""
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(400, 3)), colours(20)[0]
    quantize(model, images, recipe="fixed8")
    text = capsys.readouterr().out
    assert (
        "taken to read pixels / 255: give mean and std" in text
        and "the 3 outputs are taken for the logits of a classifier" in text
    )
    quantize(model, images, recipe="fixed8", mean=0, std=1, logits=True)
    assert "taken" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "values, words",
    [
        (dict(mean=MEAN, std=None), "there is a mean and no std: give both"),
        (dict(mean=None, std=STD), "there is a std and no mean"),
        (dict(mean=MEAN[:2], std=STD), "the mean has 2 values .* one finite number for each of the 3 channels"),
        (dict(mean=MEAN, std=[STD]), "the std has 3 values .* one finite number"),
        (dict(mean=MEAN, std=(0.2, 0.0, 0.2)), "the std 0.2, 0, 0.2 is not above 0"),
        (dict(mean=MEAN, std=(0.2, -0.1, 0.2)), "is not above 0"),
        (
            dict(mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4)),
            "the mean 123.7, 116.3, 103.5 is not that of pixels from 0 to 1: divide it",
        ),
        (dict(mean=(0.4, float("nan"), 0.4), std=STD), "one finite number"),
        (dict(mean=MEAN, std=float("inf")), "one finite number"),
        (dict(mean="imagenet", std=STD), "the mean is 'imagenet': give one number for each of the 3 channels"),
    ],
)
def test_mean_and_std(task, values, words):
    refused(task, words, **values)


def test_an_added_image_cannot_be_normalized():
    torch.manual_seed(0)

    class Added(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return self.conv(x) + x

    images = colours(20)[0]
    with pytest.raises(
        AlloyError, match="reads the normalized image and is no convolution, so that mean and std have no place"
    ):
        quick(Added(), images, mean=MEAN, std=STD)
    assert quick(Added(), images).run(images).shape == (20, 3, 12, 12)
