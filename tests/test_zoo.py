"""The zoo: every network is accepted, or refused with reasons; nothing crashes, and what passed once still does."""

import json

import pytest

from tests.zoo import ROOT, ZOO, ask

QUICK = ("ds_cnn", "preactivation", "resnet20_option_a", "mlp", "lenet", "functional", "espcn", "yolo_neck",
         "autoencoder")
RESULTS = json.loads((ROOT / "docs" / "results" / "zoo.json").read_text())


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
    assert report.accepted or name in RESULTS and not RESULTS[name]["accepted"], report.refused


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ZOO if name not in QUICK])
def test_all(name):
    report = look(name)
    assert report.accepted or not RESULTS.get(name, {"accepted": False})["accepted"], report.refused


def test_enough_networks():
    """The kind: a table of a few that happen to work."""
    assert len(ZOO) >= 30 and set(RESULTS) <= set(ZOO)
