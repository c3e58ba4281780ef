"""``alloy flow``: every step in a folder, resumed, refused where a result is not what it seems, nothing of the user's
lost."""

from contextlib import chdir
import json
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
from PIL import Image
import pytest
import torch

from alloy import Engine, Network, Program
from alloy.flow import FlowOptions, run_flow
from alloy.flow.__main__ import main
from alloy.flow.digests import model_digest, pictures_digest
from alloy.flow.record import Record, opened
from alloy.flow.run import NAMES
from quant.options import collected
from quant.pictures import open_pictures
from quant.prepare import Preparation
from spec.config import EngineConfig
from spec.errors import AlloyError, Failed
from tests.alloy.folder import CONFIG, folder_with_options
from tests.user import Net, photographs
from tests.verilated import shared_cache

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return folder_with_options(tmp_path_factory.mktemp("user"), "mine_to_flow", simulate=1,
                               cache=shared_cache(tmp_path_factory))


@pytest.fixture
def here(files, monkeypatch):
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return files


@pytest.fixture(scope="module")
def whole(files):
    """Everything, once."""
    with chdir(files):
        assert main(["--options", "flow.yaml", "--out", "whole", "--batch", "--json", "whole.json"]) == 0
    return files / "whole"


def flow(*arguments, out="whole"):
    return main(["--options", "flow.yaml", "--out", out, "--batch", *map(str, arguments)])


def done(shown):
    """The steps that have run."""
    return re.findall(r"\] (\w+) \(\d of 6\)", shown)


def test_from_a_model_to_cycles(here, whole, capsys):
    """All the files are there and fit each other; the simulated outputs are those of the network in the file."""
    result = json.loads((here / "whole.json").read_text())
    report = json.loads((whole / "report.json").read_text())
    assert result["status"] == 0 and list(result["steps"]) == list(NAMES) and result["steps"]["report"] == report
    assert report["tensors"] == report["tensors_equal"] > 2 and report["cycles"] > 1000
    assert report["fps"] == pytest.approx(150e6 / report["cycles"])
    assert (report["batch"], report["images_in_flight"]) == (1, 1)
    assert report["test"]["accuracy"]["integer"]["value"] > 0
    text = (whole / "report.txt").read_text()
    assert "accuracy integer" in text and "(batch 1, one image in flight)" in text and "seconds " in text
    assert all(Path(name).exists() for name in report["files"])
    network, run = Network.load(whole / "network.npz"), json.loads((whole / "run.json").read_text())
    with np.load(whole / "images.npz") as arrays:
        outputs = network.run(arrays["images"])
        assert arrays["labels"].shape == (1,)
    assert (np.array(run["outputs"]).reshape(outputs.shape) == outputs).all()
    Program.load(whole / "program.alloy").runs_on(EngineConfig.load(whole / "engine" / "config.json"))
    assert "module alloy(" in (whole / "engine" / "alloy.v").read_text()


def test_nothing_is_done_twice(here, whole, capsys):
    """The same command goes on where it was; its own file of options repeats it."""
    assert flow() == 0
    shown = capsys.readouterr().out
    assert done(shown) == [] and shown.count("done before, of the same inputs") == 6 and "frames per second" in shown
    assert main(["--options", "whole/flow.yaml", "--out", "whole", "--batch"]) == 0
    assert done(capsys.readouterr().out) == []


def test_from_and_to(here, whole, capsys):
    assert flow("--from", "compile", "--to", "compile") == 0
    shown = capsys.readouterr().out
    assert done(shown) == ["compile"] and "quantize: as it is" in shown and "frames per second" not in shown
    assert flow("--to", "quantize", out="part") == 0
    assert done(capsys.readouterr().out) == ["check", "quantize"]
    assert sorted(p.name for p in (here / "part").iterdir()) == ["check.json", "flow.json", "flow.yaml", "images.npz",
                                                                 "network.npz", "state.pt"]
    assert flow("--from", "run", out="part") == 2
    assert "the result of compile in part is not there: begin --from compile" in capsys.readouterr().err


@pytest.mark.slow
def test_another_recipe_is_another_network(here, whole, capsys):
    """What depends on a change is done again, what does not is kept; with --from a stale result is refused."""
    assert flow("--to", "quantize", out="change") == 0
    before = (here / "change" / "network.npz").read_bytes()
    assert flow("--recipe", "ratio", "--from", "compile", "--to", "compile", out="change") == 2
    assert "the result of check in change is of other inputs (recipe): begin --from check" in capsys.readouterr().err
    assert flow("--seed", "3", "--from", "compile", "--to", "compile", out="change") == 2
    assert "the result of quantize in change is of other inputs (images, seed)" in capsys.readouterr().err
    assert flow("--seed", "3", "--to", "compile", out="change") == 0
    shown = capsys.readouterr().out
    assert done(shown) == ["quantize", "compile"] and "check: done before" in shown
    assert (here / "change" / "network.npz").read_bytes() != before
    (here / "change" / "program.alloy").write_bytes(b"x")
    assert flow("--seed", "3", "--from", "build", "--to", "build", out="change") == 2
    assert "the result of compile in change has another program.alloy than was written" in capsys.readouterr().err
    assert flow("--seed", "3", "--to", "compile", out="change") == 2
    assert "program.alloy is not as an earlier flow wrote it: move it away" in capsys.readouterr().err
    assert (here / "change" / "program.alloy").read_bytes() == b"x"
    (here / "change" / "program.alloy").unlink()
    assert flow("--seed", "3", "--to", "compile", out="change") == 0
    assert done(capsys.readouterr().out) == ["compile"]


def test_the_users_files_stay(here, capsys):
    (here / "mine").mkdir()
    (here / "mine" / "notes.txt").write_text("important")
    assert flow(out="mine") == 2
    assert "mine holds something and no flow.json of an earlier flow: give another --out" in capsys.readouterr().err
    assert [path.name for path in (here / "mine").iterdir()] == ["notes.txt"]
    assert flow(out="net.pth") == 2 and "is a file: give a folder" in capsys.readouterr().err
    (here / "mine" / "flow.json").write_text('{"flow": 9}')
    assert flow(out="mine") == 2 and "is not the record of a flow of this version" in capsys.readouterr().err
    (here / "mine" / "flow.json").write_text("{")
    assert flow(out="mine") == 2 and "is not a JSON record of a flow" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, words", [
    (["--from", "fly"], "there is no step 'fly': choose check, quantize"),
    (["--from", "run", "--to", "check"], "--from run comes after --to check"),
    (["--platform", "zcu1"], "there is no platform 'zcu1'"), (["--simulate", "99"], "--simulate 99 images, and there"),
    (["--images", "none"], "there are no images none"), (["--recipe", "x"], "there is no recipe 'x'"),
    (["--config", "flow.yaml"], "is not a JSON configuration"), (["--size", "2"], "the model cannot run on pictures")])
def test_what_is_refused_before_any_step(here, capsys, arguments, words):
    """Status 2, and no folder is made."""
    assert flow(*arguments, out="new") == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and not (here / "new").exists()


def test_a_model_and_a_board_are_needed(here, capsys):
    assert main(["--images", "photos"]) == 2 and "no model is given" in capsys.readouterr().err
    assert main(["mine_to_flow:Net", "--images", "photos", "--out", "new"]) == 2
    assert "a board is needed: give --platform, one of zcu102" in capsys.readouterr().err


def test_a_step_that_fails(here, capsys):
    """Status 1, the name of the step, and what was done before stays."""
    for index in range(4):
        (here / "flat").mkdir(exist_ok=True)
        Image.new("RGB", (9, 9), (40 * index,) * 3).save(here / "flat" / f"{index}.png")
    assert flow("--images", "flat", "--json", out="fails") == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"status": 1, "error": shown.err.splitlines()[-1].removeprefix("error: ")}
    assert "error: quantize: each of the 2 images to calibrate with is one flat colour" in shown.err
    options = collected(FlowOptions, {"images": "flat"}, "flow.yaml")
    with pytest.raises(Failed, match="^quantize: ") as error:
        run_flow(options, "fails", say=lambda text: None)
    assert error.value.status == 1 and not (here / "fails" / "network.npz").exists()
    (here / "fails" / "network.npz").write_bytes(b"half")     # of a step that was cut off: no user's file
    assert flow("--to", "quantize", out="fails") == 0
    assert done(capsys.readouterr().out) == ["check", "quantize"]


def test_a_quantized_network_starts_at_compile(here, whole, capsys):
    assert main(["whole/network.npz", "--images", "photos", "--platform", "zcu102", "--config", "small.json", "--out",
                 "again", "--to", "compile", "--batch"]) == 0
    shown = capsys.readouterr().out
    assert "accuracy integer" in shown and "accuracy float" not in shown
    assert model_digest(Network.load("again/network.npz")) == model_digest(Network.load(whole / "network.npz"))
    assert main(["whole/network.npz", "--images", "photos", "--platform", "zcu102", "--mean", "0.5", "--out",
                 "again"]) == 2
    assert "is quantized already and reads pixels as they are: leave out --mean" in capsys.readouterr().err


@pytest.mark.slow
def test_rtl_that_differs(here, whole, capsys, monkeypatch):
    """Is a failure, not a result."""
    from alloy.flow import steps
    shutil.copytree(whole, here / "differs")
    result = json.loads((whole / "run.json").read_text())

    def wrong(board, config, network, images, *, verilog, **options):
        assert verilog == {"alloy.v": (whole / "engine" / "alloy.v").read_text()}      # what is delivered is simulated
        return {**result, "outputs": np.array(result["outputs"]), "tensors_equal": result["tensors"] - 1,
                "difference": "image 0: layer fc"}
    monkeypatch.setattr(steps, "run_network", wrong)
    for _ in range(2):      # what a failed step has written is no user's file
        assert flow("--from", "run", out="differs") == 1
        assert "error: run: RTL and golden model differ (image 0: layer fc)" in capsys.readouterr().err
    assert flow("--from", "report", out="differs") == 2
    assert "the result of run in differs is not there" in capsys.readouterr().err


def test_one_at_a_time(here):
    with opened(here / "busy"), pytest.raises(AlloyError, match="another flow is at work in .*busy"), opened(
            here / "busy"):
        pass
    assert not (here / "busy").exists()


def test_ctrl_c_leaves_what_was_done(here, capsys):
    """The step that was cut off is done again, the ones before are not."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "alloy.flow", "--options", "flow.yaml", "--out", "cut", "--batch"], cwd=here,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    for line in process.stdout:
        if "build (4 of 6)" in line:
            break
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and error.splitlines()[-1] == "interrupted"
    assert "engine" not in os.listdir(here / "cut")
    assert flow("--to", "build", out="cut") == 0
    assert done(capsys.readouterr().out) == ["build"]


def test_digests(tmp_path):
    """The same model is the same; a weight, a layer, a picture or a label more is another."""
    torch.manual_seed(0)
    one, other = Net(), Net()
    assert model_digest(one) != model_digest(other)
    other.load_state_dict(one.state_dict())
    assert model_digest(one) == model_digest(other)
    other.extra = torch.nn.ReLU()
    assert model_digest(one) != model_digest(other)
    photographs(tmp_path / "p", 2)
    pictures = open_pictures(tmp_path / "p", Preparation())
    before = pictures_digest(pictures)
    assert pictures_digest(open_pictures(tmp_path / "p", Preparation())) == before
    assert len({before, pictures_digest(pictures.unlabelled()), pictures_digest(pictures.some([0, 1]))}) == 3
    os.utime(tmp_path / "p" / "class0" / "000.jpg", (1, 1))
    assert pictures_digest(pictures) != before


def test_a_file_that_is_gone(tmp_path):
    record = Record(tmp_path)
    assert record.stale("check", {}) == "is not there"
    (tmp_path / "x").write_text("1")
    with pytest.raises(AlloyError, match="x is not as an earlier flow wrote it"):
        record.check_replaceable("check", ("x",))
    assert isinstance(Engine(CONFIG, report=None), Engine)
