"""The bench of recipes: one row on the embedded example, kept rows, bad names, missing data."""

from dataclasses import replace
from importlib import import_module
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from quant import quantize
from quant.bench import data, runs
from quant.bench.__main__ import _add, main
from quant.bench.paired import compare, holm, pack, unpack
from quant.bench.table import better, markdown
from quant.sketch import sketch
from sim.estimate import layer_cycles
from spec.errors import AlloyError

KEYS = (
    "recipe",
    "network",
    "data",
    "mode",
    "images",
    "calibration",
    "float_top1",
    "fake_top1",
    "int_top1",
    "stderr",
    "agree",
    "bits_per_weight",
    "weight_bytes",
    "compressed_bytes",
    "entropy_bytes",
    "shares",
    "board",
    "cycles",
    "fps",
    "seed",
    "date",
    "hardware",
)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The embedded example without what lies beside the repository, on 60 test images."""
    monkeypatch.setattr(data, "SHARED", tmp_path / "nothing")
    task = data.load("resnet8")
    task = replace(task, test=(task.test[0][:60], task.test[1][:60]))
    monkeypatch.setattr(data, "load", lambda name: task)
    return task


def test_embedded_example_is_complete(small):
    """Training, calibration and report need nothing beside the repository, and no image that is reported on is trained
    with."""
    whole = data.NETWORKS["resnet8"]()
    (train, labels), (test, known) = whole.train, whole.test
    assert len(train) == len(labels) == 8192 and len(test) == len(known) == 10_000 and (np.bincount(labels) > 700).all()
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}


@pytest.mark.slow
def test_row_and_resume(small, tmp_path, monkeypatch, capsys):
    out = tmp_path / "results"
    arguments = ["--only", "film_qnn:resnet8:ptq", "--out", str(out)]
    assert main(arguments) == 0
    (row,) = json.loads((out / "quant.json").read_text())
    assert (
        set(KEYS) <= set(row)
        and row["fake_top1"] == row["int_top1"] > 80
        and row["images"] == 60
        and abs(row["bits_per_weight"] - 4.2) < 0.05
    )
    assert row["compressed_bytes"] < row["weight_bytes"] and row["fps"]["zcu102"] == pytest.approx(
        150e6 / row["cycles"]["zcu102"], rel=1e-3
    )
    assert f"| film_qnn | ptq | {row['calibration']} |" in (out / "quant.md").read_text()
    assert (
        unpack(row["agreed"], 60).mean() == pytest.approx(row["agree"] / 100, abs=1e-4) and 0 < row["divergence"] < 0.1
    )
    assert unpack(row["right"], 60).mean() == pytest.approx(row["int_top1"] / 100, abs=1e-4)
    assert unpack(row["float_right"], 60).mean() == pytest.approx(row["float_top1"] / 100, abs=1e-4)
    monkeypatch.setattr(runs, "measure", None)  # a row that is there is not measured again, but shown
    capsys.readouterr()
    assert main(arguments) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert f"film_qnn resnet8 ptq: float {row['float_top1']} %, integer {row['int_top1']} +- {row['stderr']} %" in line
    assert f"{row['cycles']['zcu102']:,} cycles on zcu102" in line
    assert f"(measured {row['date']}, --again does it again)" in line


@pytest.mark.parametrize("mode", ["ptq", "qat"])
def test_cycles_are_counted_again(small, tmp_path, monkeypatch, capsys, mode):
    """With nothing else of a row touched, and nothing calibrated or measured: those of the network of such a row."""
    old = _row("film_qnn", _flags(60, 6), 7, mode=mode) | {"seed": 0, "network": "resnet8"}
    other = old | {"network": "resnet20"}
    _add(tmp_path, old, other)
    arguments = ["--cycles", "--only", "film_qnn,fixed8:resnet8", "--out", str(tmp_path)]
    sketched = []
    with monkeypatch.context() as patch:
        patch.setattr(runs, "sketch", lambda *given: sketched.append(sketch(*given)) or sketched[-1])
        patch.setattr(import_module("quant.quantize"), "reconstruct", None)
        for name in ("measure", "_measured", "_trained"):
            patch.setattr(runs, name, None)
        assert main(arguments) == 0
    new, same = json.loads((tmp_path / "quant.json").read_text())
    changed = {"board", "cycles", "fps", "counted"}
    assert same == other
    assert {key: new[key] for key in new.keys() - changed} == {key: old[key] for key in old.keys() - changed}
    assert new["fps"]["zcu102"] == pytest.approx(150e6 / new["cycles"]["zcu102"], rel=1e-3)
    assert f"| {new['counted']} |" in (tmp_path / "quant.md").read_text()
    if mode == "ptq":
        network = quantize(small.model, small.train[0], recipe="film_qnn", report=None)
        assert new["cycles"]["zcu102"] == round(sum(layer_cycles(network, "zcu102").values()))
        for one, other in zip(network.nodes, sketched[0][0].nodes, strict=True):
            assert np.array_equal(getattr(one, "scheme", 0), getattr(other, "scheme", 0))
    assert main([*arguments, "--again"]) == 2
    assert "--again measures rows, their cycles too, and --cycles measures nothing" in capsys.readouterr().err


def test_what_is_measured():
    """Logits are codes from the output's zero point on, times its scale."""
    rng, labels = np.random.default_rng(0), np.array([0, 1, 2, 2, 1])
    codes, exact = rng.integers(0, 32, (5, 3, 1, 1)), rng.normal(size=(5, 3))
    network = SimpleNamespace(output="out", tensors={"out": SimpleNamespace(zero=11, scale=0.25)},
                              run=lambda images: codes)
    found = runs._measured(None, network, SimpleNamespace(
        task=SimpleNamespace(test=(np.zeros((5, 1, 2, 2)), labels)), logits=exact))
    one = torch.log_softmax(torch.from_numpy(exact), 1)
    two = torch.log_softmax(torch.from_numpy((codes[:, :, 0, 0] - 11) * 0.25), 1)
    apart = (one.exp() * (one - two)).sum(1).numpy()
    right, answers = codes[:, :, 0, 0].argmax(1) == labels, exact.argmax(1)
    assert found["divergence"] == pytest.approx(apart.mean(), abs=1e-5)
    assert found["divergence_error"] == pytest.approx(apart.std() / 5 ** 0.5, abs=1e-5)
    assert found["int_top1"] == found["fake_top1"] == 100 * right.mean()
    assert found["agree"] == 100 * (answers == codes[:, :, 0, 0].argmax(1)).mean()
    assert found["float_top1"] == 100 * (answers == labels).mean()
    assert found["stderr"] == round(100 * right.std() / 5 ** 0.5, 2)
    assert (unpack(found["right"], 5) == right).all()


@pytest.mark.parametrize("network, mode, wide, words", [
    ("resnet8", "qat", (), "{}, 8 epochs"), ("resnet20", "qat", "a", "{}, 1 epoch, 1 of 4 tensors A8"),
    ("resnet8", "ptq", "ab", "{}, 2 of 4 tensors A8"), ("other", "ptq", (), "{}")])
def test_what_a_row_is(network, mode, wide, words):
    """Its training and what has more bits."""
    prepared = SimpleNamespace(task=SimpleNamespace(name=network),
                               source=SimpleNamespace(graph=SimpleNamespace(bounded="abcd")))
    found = runs._note(SimpleNamespace(note="some levels"), SimpleNamespace(wide=wide), prepared, mode)
    assert found == words.format("some levels")


def test_bad_names(tmp_path, capsys):
    assert main(["--only", "best:resnet8", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert (
        error.count("\n") == 1 and "no row matches 'best:resnet8'" in error and not (tmp_path / "quant.json").exists()
    )


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


ROW = dict(network="n", data="d", calibration=1, stderr=0.1, bits_per_weight=4.0, weight_bytes=1, compressed_bytes=1,
           entropy_bytes=1, act_bits=5, board=["zcu102"], note="x", date="2026-11-28")


def test_a_network_that_does_not_compile_is_shown():
    row = ROW | dict(recipe="r", mode="ptq", images=1, float_top1=1.0, fake_top1=1.0, int_top1=1.0, agree=1.0,
                     cycles={"zcu102": "too big"}, fps={"zcu102": None}, shares={"POT4": 0.6, "FIXED8": 0.4})
    page = markdown([row])
    assert "does not compile" in page and "| P4 60 F8 40 |" in page and "| x | 2026-11-28 | 2026-11-28 |" in page


# -- kind: a difference that chance makes, printed as a result ---------------------------------------------------------
def _row(recipe, agreed, cycles, mode="ptq", **more):
    return ROW | dict(
        recipe=recipe, mode=mode, images=len(agreed), float_top1=90.0, fake_top1=80.0, int_top1=80.0,
        agree=round(100 * float(np.mean(agreed)), 2), divergence=0.1, divergence_error=0.01, agreed=pack(agreed),
        right=pack(agreed), cycles={"zcu102": cycles}, fps={"zcu102": 1.0}, shares={"POT4": 1.0}, **more)


def _flags(count, wrong, seed=0):
    out = np.ones(count, bool)
    out[np.random.default_rng(seed).permutation(count)[:wrong]] = False
    return out


def test_flags_survive_the_file():
    for count in (1, 7, 8, 800, 10_000):
        flags = _flags(count, count // 5)
        assert (unpack(pack(flags), count) == flags).all()


def test_differences_are_paired():
    """The same difference in shares means nothing where the images disagree and a lot where they are the same but for
    one side."""
    one = _flags(800, 100)
    two = one.copy()
    two[np.flatnonzero(one)[:20]] = False  # 20 images lost, none won
    found = compare(one, two)
    assert found.difference == pytest.approx(2.5) and found.error == pytest.approx(
        100 * (20 / 800 * (1 - 20 / 800) / 799) ** 0.5
    )
    assert found.p == pytest.approx(2 * 0.5**20)
    other = _flags(800, 120, seed=1)
    assert compare(one, other).difference == pytest.approx(2.5) and compare(one, other).p > 0.05
    assert compare(one, one) == (0.0, 0.0, 1.0)


@pytest.mark.slow
def test_many_comparisons_find_something():
    """Holm's correction, against the definition; of 400 families of recipes that are all alike about one in twenty has
    a false result."""
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06]) and holm([]).tolist() == []
    random, false = np.random.default_rng(0), [0, 0]
    for _ in range(400):
        rows = random.random((18, 300)) < 0.8
        p = np.array([compare(row, rows[0]).p for row in rows[1:]])
        false = [false[0] + (p < 0.05).any(), false[1] + (holm(p) < 0.05).any()]
    assert false[1] < 0.08 * 400 < false[0]


def test_only_what_is_beyond_chance_is_called_better():
    alloy, near, far = _flags(800, 100), _flags(800, 85, seed=1), _flags(800, 20, seed=2)
    rows = [
        _row("alloy", alloy, 100),
        _row("near", near, 90),
        _row("far", far, 90),
        _row("slow", far, 110),
        _row("other", far, 90, mode="qat"),
    ]
    assert better(rows, "zcu102") == ["far"]
    page = markdown(rows)
    assert "on zcu102 far." in page and page.index("| far |") < page.index("| near |") < page.index("| alloy |"), (
        "ranked by agreement"
    )
    assert "+10.0 +- " in page and "| 0.90 x |" in page
    del rows[0]["agreed"], rows[0]["right"]
    assert better(rows, "zcu102") == [] and "their answers were not kept" in markdown(rows)


# -- what is refused
# -------------------------------------------------------------------------------------------------------


def test_no_such_network():
    with pytest.raises(AlloyError, match="the bench has no network 'vgg': choose resnet8, "):
        data.load("vgg")


def test_rows_that_are_not_whole(tmp_path):
    row = _row("alloy", _flags(8, 1), 100) | {"seed": 0}
    del row["shares"]
    (tmp_path / "quant.json").write_text(json.dumps([row]))
    with pytest.raises(AlloyError, match="quant.json has a row that is not whole .*shares.*: remove it"):
        _add(tmp_path)


def test_rows_are_put_into_both_files(tmp_path):
    """In the place of those of the same name."""
    first, second = (_row("alloy", _flags(8, wrong), 100) | {"seed": 0} for wrong in (1, 2))
    for row in (first, second):
        _add(tmp_path, row)
    assert json.loads((tmp_path / "quant.json").read_text()) == [second]
    assert "| alloy |" in (tmp_path / "quant.md").read_text()


def test_a_place_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AlloyError, match="below cannot be written .*: choose another --out"):
        _add(tmp_path / "file" / "below")


def test_cycles_and_rates(monkeypatch):
    """Of each board, at its clock; or why it cannot run the network."""
    def layer_cycles(network, board):
        if board.name == "zcu102":
            return {"a": 1000.4, "b": 500.0}
        raise AlloyError("too large")
    monkeypatch.setattr(runs, "layer_cycles", layer_cycles)
    cycles, fps = runs._cycles(None)
    assert cycles.pop("zcu102") == 1500 and fps.pop("zcu102") == 100_000.0
    assert {*cycles.values()} == {"too large"} and {*fps.values()} == {None} and cycles.keys() == fps.keys()
