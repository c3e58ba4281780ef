"""What models do before the first layer and behind the last: normalization, dropout, softmax; which images look."""

import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from quant import trace
from quant.quantize import Source
from quant.recipes import variant
from spec.errors import AlloyError
from spec.operators.affine import AffineLayer

MEAN, STD, SHAPE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (3, 8, 7)
IMAGES = np.random.default_rng(0).integers(0, 256, (100, *SHAPE)).astype(np.uint8)


class Classifier(nn.Module):
    def __init__(self, before=lambda self, x: x, behind=lambda x: x):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.l = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 4)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(STD).reshape(1, 3, 1, 1))
        self.before, self.behind = before, behind
        self.eval()

    def forward(self, x):
        return self.behind(self.l(self.a(self.before(self, x)).relu().mean((2, 3))))


class Normalize(nn.Module):
    """As torchvision's: constants become tensors in forward, changes in place."""

    def forward(self, x):
        x = x.clone()
        mean, std = (torch.as_tensor(values, dtype=x.dtype, device=x.device) for values in (MEAN, STD))
        return x.sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))


def source(before, mean=None, std=None):
    return Source(Classifier(before), IMAGES, mean, std)


# How the model normalizes; mean and std that it is given beside; those that this is.
NORMALIZATIONS = {
    "buffers": (lambda self, x: (x - self.mean) / self.std, None, None, MEAN, STD),
    "a module": (lambda self, x: Normalize()(x), None, None, MEAN, STD),
    "channels last": (lambda self, x: ((x.permute(0, 2, 3, 1) - self.mean.flatten()) / self.std.flatten()
                                       ).permute(0, 3, 1, 2), None, None, MEAN, STD),
    "one number": (lambda self, x: (x - 0.5) / 0.5, None, None, 0.5, 0.5),
    "to both sides": (lambda self, x: x * 2 - 1, None, None, 0.5, 0.5),
    "of whole pixels": (lambda self, x: x / 255, 0, 1 / 255, 0, 1),
    "of whole pixels and channels": (lambda self, x: (x.float() / 255.0 - self.mean) / self.std, 0, 1 / 255, MEAN, STD),
    "half of it": (lambda self, x: x - self.mean, 0, STD, (0.111065, 0.102144, 0.09135), STD),
}


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalization_in_forward(name):
    """It is the same network as with mean and std beside the model."""
    before, mean, std, meant, divided = NORMALIZATIONS[name]
    inside, outside = source(before, mean, std), source(lambda self, x: x, meant, divided)
    assert inside.normalization == outside.normalization
    assert [layer.name for layer in inside.graph.layers][1:] == [layer.name for layer in outside.graph.layers][1:]
    for one, other in zip(inside.graph.weighted, outside.graph.weighted, strict=True):
        assert torch.equal(one.weight, other.weight) and torch.equal(one.bias, other.bias)


@pytest.mark.parametrize("before", [lambda self, x: 1 - x, lambda self, x: x - 3, lambda self, x: (x - 0.5).relu(),
                                    lambda self, x: x * 0])
def test_what_is_no_normalization_of_pixels_stays(before):
    made = source(before)
    assert isinstance(made.graph.layers[0], AffineLayer) and made.normalization.std == (1.0,) * 3


def test_pixels_that_are_divided_twice_are_told():
    assert any("divides pixels / 255 once more" in line for line in source(lambda self, x: x / 255).assumptions())


@pytest.mark.parametrize("behind, name", [
    (nn.Softmax(1), "softmax"), (nn.LogSoftmax(-1), "log_softmax"), (lambda x: F.softmax(x, dim=1), "softmax"),
    (lambda x: x.argmax(1), "argmax"), (lambda x: torch.argmax(x, -1, keepdim=True), "argmax"),
    (lambda x: F.log_softmax(x[:, None], 2), "log_softmax")])
def test_a_classifier_ends_with_its_logits(behind, name):
    made = Source(Classifier(behind=behind), IMAGES)
    assert made.graph.end == name and made.graph.logits
    assert any(f"ends with {name}" in line for line in made.assumptions())
    plain = trace(Classifier(), SHAPE)
    for one, other in zip(made.graph.weighted, plain.weighted, strict=True):
        assert torch.equal(one.weight, other.weight)


def test_softmax_of_every_pixel():
    assert trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softmax(1)), SHAPE).end == "softmax"


@pytest.mark.parametrize("behind, name", [
    (lambda x: 2 * F.softmax(x, 1), "softmax"), (lambda x: F.softmax(x, 0), "softmax"),
    (lambda x: x.argmax(), "argmax"),
    (lambda x: F.log_softmax(x.reshape(-1, 2, 2), 2), "log_softmax")])
def test_softmax_elsewhere(behind, name):
    with pytest.raises(AlloyError, match=f"is {name}, which is not supported but over the classes at the very end"):
        trace(Classifier(behind=behind), SHAPE)


@pytest.mark.parametrize("dropout", [nn.Dropout(), nn.Dropout2d(), nn.AlphaDropout(), nn.FeatureAlphaDropout(),
                                     lambda x: F.dropout(x, 0.3, training=False)])
def test_dropout_is_nothing(dropout):
    graph = trace(Classifier(lambda self, x: dropout(x)).eval() if not isinstance(dropout, nn.Module)
                  else nn.Sequential(dropout, Classifier(), dropout), SHAPE)
    assert len(graph.layers) == 3


@pytest.mark.parametrize("shown, fewest, step", [(1, 30, 4), (1, 100, 1), (50 * 3 * 8 * 7, 10, 2), (1 << 24, 1, 1)])
def test_fewer_of_large_images_show_ranges_and_slopes(monkeypatch, shown, fewest, step):
    """As many as have so many values, but not too few, evenly among all; reconstruction sees all of them."""
    module, seen = sys.modules["quant.quantize"], {}
    monkeypatch.setattr(module, "SHOWN", shown)
    monkeypatch.setattr(module, "FEWEST", fewest)

    def kept(name, right):
        def keep(*given, **options):
            seen[name] = np.asarray(given[1])
            return right(*given, **options)
        return keep
    for name in ("equalize", "collect", "reconstruct"):
        monkeypatch.setattr(module, name, kept(name, getattr(module, name)))
    found = source(lambda self, x: (x - self.mean) / self.std)
    found.net(variant("alloy"), "zcu102")
    assert all(np.array_equal(seen[name], found.real[::step]) for name in ("equalize", "collect"))
    assert len(seen["reconstruct"]) == 100
