"""What is done with pictures, and the mean and std, of what the command line, a preset and the model say.

Kind: an image that the network sees otherwise than in training costs accuracy without a word.
"""

from types import SimpleNamespace

import pytest

from quant import job
from quant.job import prepared
from quant.models import Loaded
from quant.options import QuantizeOptions
from quant.prepare import IMAGENET, Preparation
from spec.errors import AlloyError

BOTH = IMAGENET["mean"], IMAGENET["std"]
PRESET = SimpleNamespace(crop_size=[8, 9], resize_size=[12], mean=[0.1], std=[0.2],
                         interpolation=SimpleNamespace(value="bicubic"))


def found(loaded=None, **said):
    return prepared(QuantizeOptions(model="m:Net", **said), loaded or Loaded(None, 3))


@pytest.mark.parametrize("said, normal", [
    ({}, (None, None)), ({"mean": "0.5", "std": "0.25,0.5,1"}, ((0.5,), (0.25, 0.5, 1.0))),
    ({"mean": "0.5"}, ((0.5,), None)), ({"std": "0.5"}, (None, (0.5,))),
    ({"mean": "imagenet"}, BOTH), ({"std": "imagenet"}, BOTH), ({"mean": "imagenet", "std": "imagenet"}, BOTH),
    ({"mean": "imagenet", "std": "0.5"}, (BOTH[0], (0.5,))), ({"mean": "0", "std": "imagenet"}, ((0.0,), BOTH[1]))])
def test_mean_and_std(said, normal):
    """imagenet said once is both, beside a number only the one."""
    assert found(**said) == (Preparation(), *normal)


@pytest.mark.parametrize("said, fields, normal", [
    ({}, {}, ((0.1,), (0.2,))), ({"mean": "0.5"}, {}, ((0.5,), (0.2,))), ({"std": "imagenet"}, {}, BOTH),
    ({"size": "10", "resize": 11}, {"size": (10, 10), "resize": 11}, ((0.1,), (0.2,)))])
def test_a_preset_and_what_differs_from_it(monkeypatch, said, fields, normal):
    monkeypatch.setattr(job, "find", lambda name: {"w:Preset": PRESET}[name])
    preset = {"size": (8, 9), "resize": 12, "crop": True, "way": "bicubic"}
    assert found(transform="w:Preset", **said) == (Preparation(**preset | fields), *normal)


def test_what_the_model_says():
    """Its channels and its size, of which the first may be said otherwise; pictures are cut if asked for."""
    loaded = Loaded(None, 1, (8, 9))
    assert found(loaded)[0] == Preparation(channels=1, size=(8, 9))
    assert found(loaded, channels=4, size="8x9", crop=True)[0] == Preparation(channels=4, size=(8, 9), crop=True)
    with pytest.raises(AlloyError, match="m:Net takes images of 8x9, and these would be 9x8: leave out --size"):
        found(loaded, size="9x8")
