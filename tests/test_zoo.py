"""The zoo: every network is accepted, or refused with reasons; nothing crashes, and what passed once still does."""

from concurrent.futures import ThreadPoolExecutor
import json

import numpy as np
import pytest
import torch

import boards
from compiler import compile
from quant import quantize
from sim import command_model
from spec.errors import AlloyError
from tests import zoo
from tests.zoo import PLATFORM, RECIPE, RESULTS, ZOO, ask

QUICK = ("ds_cnn", "preactivation", "resnet20_option_a", "mlp", "lenet", "functional", "espcn", "yolo_neck",
         "autoencoder")
SMALL = 49          # pixels of the images' sides that the command model runs in seconds
IMAGES = 4
ROWS = json.loads((RESULTS / "zoo.json").read_text())


def look(name):
    report = ask(name, small=True)
    for one in report.refused:
        assert one.reason and one.rewrite and one.layer, (name, one)
    assert report.accepted == (report.performance is not None and report.performance.cycles > 0)
    return report


@pytest.mark.parametrize("name", QUICK)
def test_quick(name):
    """At a small size; what the table accepts at its own size is accepted here, too."""
    report = look(name)
    assert report.accepted or name in ROWS and not ROWS[name]["accepted"], report.refused


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ZOO if name not in QUICK])
def test_all(name):
    report = look(name)
    assert report.accepted or not ROWS.get(name, {"accepted": False})["accepted"], report.refused


def test_enough_networks():
    """The kind: a table of a few that happen to work."""
    assert len(ROWS) >= 30 and set(ROWS) <= set(ZOO) and sum(row["accepted"] for row in ROWS.values()) >= 24


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row["accepted"] and ZOO[name].small <= SMALL])
def test_nothing_later_fails(name):
    """What is accepted is quantized with images and compiled, and its commands compute what the golden model does."""
    entry, config = ZOO[name], boards.get(PLATFORM).config
    torch.manual_seed(0)
    shape = (entry.channels, entry.small, entry.small)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, *shape), np.uint8)
    network = quantize(entry.make().eval(), images, recipe=RECIPE, board=PLATFORM, report=None)
    codes = images[:1].astype(np.int64)
    found = command_model.run(compile(network, config, keep="all"), config, codes[0])
    expected = network.codes(codes)
    assert network.output in found
    assert not [key for key in found if not np.array_equal(found[key], expected[key][0])]


def test_rows_one_by_one(tmp_path, monkeypatch):
    """A run that was cut off goes on, and names update their rows alone."""
    def row(name):
        if name in broken:
            raise RuntimeError(name)
        asked.append(name)
        return {"shape": "1x1x1", "accepted": False, "refused": ["cumsum"], "layers": 1, "weights": None, "macs": None,
                "cycles": None, "fps": None, "seconds": 0.0}
    asked, broken = [], {"mlp"}
    monkeypatch.setattr(zoo, "ZOO", {name: ZOO[name] for name in ("ds_cnn", "mlp", "lenet")})
    monkeypatch.setattr(zoo, "measured", row)
    monkeypatch.setattr(zoo, "ProcessPoolExecutor", lambda count, context: ThreadPoolExecutor(count))
    with pytest.raises(RuntimeError, match="mlp"):
        zoo.main([], tmp_path)
    broken.clear()
    zoo.main(["--resume"], tmp_path)
    assert asked == ["ds_cnn", "mlp", "lenet"] == list(json.loads((tmp_path / "zoo.json").read_text()))
    zoo.main(["mlp"], tmp_path)
    assert asked[3:] == ["mlp"] and (tmp_path / "zoo.md").read_text().count("no: `cumsum`") == 3
    zoo.main([], tmp_path)
    assert asked[4:] == ["ds_cnn", "mlp", "lenet"]
    with pytest.raises(AlloyError, match="there is no network vgg99 in the zoo"):
        zoo.main(["vgg99"], tmp_path)
