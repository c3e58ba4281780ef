"""Rows of the resource model: what belongs to which block, builds and random engines as rows, row by row."""

import json

import pytest

import boards
from boards.resources import ROWS
from rtl import samples
from rtl.samples import main
from rtl.tools import plan, sample
from rtl.tools.samples import LARGEST, blocks
from spec.config import EngineConfig
from spec.errors import AlloyError
from tests.rtl.tools.test_synth import LEAF, PAIR

NOTHING = {"lut": 0, "ff": 0, "dsp": 0, "bram36": 0, "uram": 0}
STORED = json.loads(ROWS.read_text())


def test_blocks():
    """The parts of a block, and its variants, belong to it; the top is the pins."""
    modules = {"alloy": (1, 1), "\\alloy.w_axi_w": (1, 2), "alloy_requant": (4, 3), "alloy_requant__12": (5, 4),
               "\\alloy_post.res$320": (1, 5), "alloy_post": (1, 6), "\\alloy_core.fifo0.entries": (2, 7)}
    found = blocks({name: (count, {**NOTHING, "lut": lut}) for name, (count, lut) in modules.items()})
    assert {block: own["lut"] for block, own in found.items()} == {"pins": 3, "requant": 32, "post": 11, "core": 14}
    with pytest.raises(AlloyError, match="module other belongs to no block: name it in rtl.tools.samples"):
        blocks({"other": (1, NOTHING)})


def test_sample():
    text = (LEAF + PAIR).replace("leaf", "alloy_leaf").replace("pair", "alloy_pair__2")
    _, config = next(plan(1))
    row = sample(boards.get("pynq-z2"), config, {"a.v": text}, "alloy_pair__2", lambda line: None)
    assert row["family"] == "xc7" and EngineConfig.from_dict(row["config"]) == config
    assert row["blocks"]["leaf"] == {**NOTHING, "lut": 16, "ff": 16} and row["blocks"]["pair"] == NOTHING


def test_plan():
    """Small engines that are legal, all different, of both families; a longer plan begins as a shorter one."""
    found = list(plan(12))
    assert len({config.digest for _, config in found}) == 12 and {name for name, _ in found} == {"zcu102", "pynq-z2"}
    assert found[:5] == list(plan(5))
    for name, c in found:
        assert 0 < c.out_pixels * c.pixels * c.ic * c.slots <= LARGEST
        assert c.dsp_device == boards.get(name).config.dsp_device


@pytest.fixture(autouse=True)
def _no_arrays(monkeypatch):
    """They take minutes."""
    monkeypatch.setattr(samples, "arrays", lambda: ())


@pytest.fixture
def built(tmp_path):
    """A folder of a build: the first stored engine, in one module for each block."""
    row = STORED[0]
    config = EngineConfig.from_dict(row["config"])
    report = {"platform": "zcu102", "digest": config.digest, "modules": {
        "alloy" if block == "pins" else f"alloy_{block}": {"count": 1, "cells": 1, **own}
        for block, own in row["blocks"].items()}}
    (tmp_path / "config.json").write_text(json.dumps(row["config"]))
    (tmp_path / "report.json").write_text(json.dumps(report))
    return tmp_path


def test_rows_of_builds(built, capsys):
    """The row of a build takes the place of the one of the same engine; the errors are shown."""
    out = built / "rows.json"
    out.write_text(json.dumps(STORED[1:]))
    words = ["--count", "0", "--out", str(out), "--build", str(built), "--resume"]
    for _ in range(2):
        assert main(words) == 0
        rows = json.loads(out.read_text())
        assert len(rows) == len(STORED) and rows[-1]["blocks"] == STORED[0]["blocks"]
    assert f"{len(STORED)} engines in" in (text := capsys.readouterr().out) and "each by a fit to the others" in text


def test_builds_without_resources(built, capsys):
    report = json.loads((built / "report.json").read_text())
    for change in ({"modules": {}}, {"digest": "12345678"}):
        (built / "report.json").write_text(json.dumps(report | change))
        assert main(["--count", "0", "--out", str(built / "rows.json"), "--build", str(built)]) == 2
        assert "has no resources of its configuration: build it again" in capsys.readouterr().err
    assert not (built / "rows.json").exists()


def test_row_by_row(tmp_path, monkeypatch):
    """What was cut off goes on; without --resume all rows are made anew."""
    made = []

    def one(board, config, verilog, top, say):
        if len(made) == 2 and not (tmp_path / "go").exists():
            raise KeyboardInterrupt
        made.append(config.name)
        return {**STORED[0], "config": config.to_dict()}
    monkeypatch.setattr(samples, "sample", one)
    monkeypatch.setattr(samples, "generate", lambda config: {})
    words = ["--count", "4", "--out", str(tmp_path / "rows.json")]
    assert main(words) == 130 and made == ["sample0", "sample1"]
    (tmp_path / "go").touch()
    assert main([*words, "--resume"]) == 0 and made == ["sample0", "sample1", "sample2", "sample3"]
    assert main(words) == 0 and len(made) == 8
