"""The bench of recipes: one row on the embedded example, kept rows, bad names, missing data."""

from dataclasses import replace
import json

import numpy as np
import pytest

from quant.bench import data, runs
from quant.bench.__main__ import main
from quant.bench.table import markdown
from spec.errors import AlloyError

KEYS = ("recipe", "network", "data", "mode", "images", "calibration", "float_top1", "fake_top1", "int_top1", "stderr", "agree", "bits_per_weight",
        "weight_bytes", "compressed_bytes", "entropy_bytes", "shares", "board", "cycles", "fps", "seed", "date", "hardware")


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The embedded example without what lies beside the repository, on 60 test images."""
    monkeypatch.setattr(data, "SHARED", tmp_path / "nothing")
    task = data.load("resnet8")
    task = replace(task, test=(task.test[0][:60], task.test[1][:60]))
    monkeypatch.setattr(data, "load", lambda name: task)
    return task


def test_embedded_example_is_complete(small):
    """Training, calibration and report need nothing beside the repository, and no image that is reported on is trained with."""
    whole = data.NETWORKS["resnet8"]()
    (train, labels), (test, known) = whole.train, whole.test
    assert len(train) == len(labels) == 8192 and len(test) == len(known) == 10_000 and (np.bincount(labels) > 700).all()
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}


def test_row_and_resume(small, tmp_path, monkeypatch, capsys):
    out = tmp_path / "results"
    arguments = ["--only", "film_qnn:resnet8:ptq", "--out", str(out)]
    assert main(arguments) == 0
    row, = json.loads((out / "quant.json").read_text())
    assert set(KEYS) <= set(row) and row["fake_top1"] == row["int_top1"] > 80 and row["images"] == 60 and abs(row["bits_per_weight"] - 4.2) < 0.05
    assert row["compressed_bytes"] < row["weight_bytes"] and row["fps"]["zcu102"] == pytest.approx(150e6 / row["cycles"]["zcu102"], rel=1e-3)
    assert f"| film_qnn | ptq | {row['calibration']} |" in (out / "quant.md").read_text()
    monkeypatch.setattr(runs, "run", None)          # a row that is there is not measured again, but shown
    capsys.readouterr()
    assert main(arguments) == 0
    line, = capsys.readouterr().out.splitlines()
    assert f"film_qnn resnet8 ptq: float {row['float_top1']} %, integer {row['int_top1']} +- {row['stderr']} %" in line
    assert f"{row['cycles']['zcu102']:,} cycles on zcu102" in line
    assert f"(measured {row['date']}, --again does it again)" in line


def test_bad_names(tmp_path, capsys):
    assert main(["--only", "best:resnet8", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no row matches 'best:resnet8'" in error and not (tmp_path / "quant.json").exists()


def test_missing_data(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(data, "SHARED", tmp_path)
    for name in ("resnet18", "resnet20", "mobilenetv2"):
        with pytest.raises(AlloyError, match="not part of the repository"):
            data.load(name)
    assert main(["--only", "film_qnn:resnet18", "--out", str(tmp_path / "r")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"junk", b"\xfd7zXZ\0junk", b"PK\x03\x04"])
def test_damaged_data(monkeypatch, tmp_path, content):
    """What lies beside the repository may be damaged, too."""
    monkeypatch.setattr(data, "SHARED", tmp_path)
    for name in ("cifar10_resnet20_jpegft.npz.xz", "resnet18_pqf.npz.xz", "mobilenetv2_fp32.npz"):
        (tmp_path / name).write_bytes(content)
    for name in ("resnet18", "resnet20", "mobilenetv2"):
        with pytest.raises(AlloyError, match=f"a file of {name} in .* is truncated or damaged"):
            data.load(name)


def test_a_network_that_does_not_compile_is_shown():
    row = dict(recipe="r", network="n", data="d", mode="ptq", images=1, calibration=1, float_top1=1.0, fake_top1=1.0, int_top1=1.0, stderr=0.1,
               agree=1.0, bits_per_weight=4.0, weight_bytes=1, compressed_bytes=1, entropy_bytes=1, act_bits=5, board=["zcu102"],
               cycles={"zcu102": "too big"}, fps={"zcu102": None}, note="x", shares={"POT4": 0.6, "FIXED8": 0.4}, date="2026-11-26")
    page = markdown([row])
    assert "does not compile" in page and "| P4 60 F8 40 |" in page and "| x | 2026-11-26 |" in page
