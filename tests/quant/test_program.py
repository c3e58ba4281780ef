"""``alloy quantize`` of what a user brings, from the command line."""

from contextlib import contextmanager
import json
from pathlib import Path
import re
import sys
import warnings

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from PIL import Image
import pytest
import torch

from quant import job
from quant.__main__ import main
from quant.job import network_name, open_job
from quant.options import QuantizeOptions
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.network import Network
from tests.user import CLASSES, photographs, pixels, trained, write_user

CONFIG = EngineConfig(name="small", ic=4, pixels=4, dsp_filters=4, lut_filters=2, act_depth=256, weight_depth=64,
                      ports=1, port_bits=64)
NORMAL = ["--mean", "0.5", "--std", "0.25"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = write_user(tmp_path_factory.mktemp("user"), "mine_to_quantize")
    (folder / "small.json").write_text(json.dumps(CONFIG.to_dict()))
    (folder / "one.csv").write_text("file,label\nclass0/000.jpg,7\n")
    (folder / "six.csv").write_text("file,label\n" + "".join(
        f"class{c}/{i:03}.{('jpg', 'png')[i % 2]},{c}\n" for c in range(CLASSES) for i in range(2)))
    return folder


@pytest.fixture
def here(files, monkeypatch):
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return files


def run(*arguments, out="net.npz"):
    return main(["mine_to_quantize:Net", "--weights", "net.pth", "--config", "small.json", "--recipe", "fixed8",
                 "--out", out, *map(str, arguments)])


def test_one_command(here, capsys):
    """Accuracy of both with standard errors, agreement, and a network that reads pixels as the files have them."""
    assert run("--images", "photos", "--size", 12, *NORMAL) == 0
    shown = capsys.readouterr()
    assert re.search(r"accuracy float +\d+\.\d\d \+- \d+\.\d\d %", shown.out) and "same answer" in shown.out
    assert "18 images calibrate, 18 test" in shown.out and "accuracy difference" in shown.out
    network = Network.load("net.npz")
    assert network.name == "Net" and network.tensors[network.input].shape == (3, 12, 12)
    images = np.stack([pixels(label, 200 + i, (12, 12)) for label in range(3) for i in range(9)]).transpose(0, 3, 1, 2)
    assert (network.logits(images).argmax(1) == np.arange(27) // 9).mean() > 0.9


def test_options_from_a_file(here, capsys):
    Path("o.yaml").write_text("model: mine_to_quantize:Net\nweights: net.pth\nimages: photos\nsize: 12\nmean: 0.5\n"
                              "std: 0.25\nrecipe: fixed8\nconfig: small.json\nname: from_a_file\n")
    assert main(["--options", "o.yaml", "--out", "o.npz", "--name", "mine"]) == 0
    assert Network.load("o.npz").name == "mine"


def test_two_folders(here, capsys):
    assert run("--images", "photos/class1", "--test", "photos", "--test-labels", "six.csv", "--size", 12, *NORMAL,
               "--calibration", 10) == 0
    assert "10 images calibrate, 6 test" in capsys.readouterr().out


def test_without_labels(here, capsys):
    """And with sub-folders that are not the model's classes."""
    (here / "two").mkdir()
    for name in ("x", "y"):
        (here / "two" / name).symlink_to(here / "photos" / "class1")
    assert run("--images", "two", "--size", "12x14", *NORMAL, "--count", 5) == 0
    shown = capsys.readouterr().out
    assert "has 2 kinds of labels and the model tells 3 classes apart: they are not used" in shown
    assert "accuracy" not in shown and "same answer" in shown and "5 test images" in shown


@pytest.mark.parametrize("arguments, words", [
    (["--images", "none"], "there are no images none"), ([], "there is a model and no images"),
    (["--images", "photos", "--size", "2"], "the model cannot run on pictures of 3x2x2"),
    (["--images", "photos", "--channels", "1"], "the model cannot run on pictures of 1x12x14"),
    (["--images", "photos", "--labels", "one.csv"], "has one picture"),
    (["--images", "photos", "--recipe", "best"], "there is no recipe 'best'"),
    (["--images", "photos", "--config", "none.json"], "there is no configuration file"),
    (["--images", "photos", "--weights", "small.json"], "is no file of weights"),
    (["--images", "photos", "--mean", "0.5"], "there is a mean and no std"),
    (["--images", "photos", "--test-labels", "one.csv"], "--test-labels are those of --test"),
    (["--images", "photos", "--test", "photos", "--test-labels", "one.csv"], "the labels of photos are 7 to 7"),
    (["--images", "photos", "--transform", "mine_to_quantize:Net"], "says neither size nor mean and std"),
    (["--images", "photos", "--example", "fashion_mnist"], "has its own model and images: leave out --model"),
    (["--images", "photos", "--resize", "3", "--size", "12"], "--resize 3 is less"),
    (["--images", "photos", "--out", "net.pth"], "is the input net.pth of this command"),
    (["--images", "photos", "--platform", "zcu1", "--config", ""], "there is no platform 'zcu1'")])
def test_what_is_refused(here, capsys, arguments, words):
    """In one line, before any long work, and nothing is written."""
    before = sorted(path.name for path in here.iterdir())
    weights = (here / "net.pth").read_bytes()
    assert run(*arguments, out="new.npz") == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("error: ") and error.count("\n") == 1, error
    assert sorted(path.name for path in here.iterdir() if path.name != "__pycache__") == [
        name for name in before if name != "__pycache__"]
    assert (here / "net.pth").read_bytes() == weights


def test_other_models_are_refused(here, capsys):
    run("--images", "photos", "--size", 12, *NORMAL, out="done.npz")
    capsys.readouterr()
    assert main(["done.npz", "--images", "photos", "--out", "x.npz"]) == 2
    assert "is quantized already: compile it with alloy compile" in capsys.readouterr().err
    assert main(["--images", "photos", "--out", "x.npz"]) == 2
    assert "no model is given" in capsys.readouterr().err
    torch.export.save(torch.export.export(trained(), (torch.zeros(1, 3, 12, 12),)), "net.pt2")
    assert main(["net.pt2", "--images", "photos", "--size", "13", "--out", "x.npz"]) == 2
    assert "takes images of 12x12, and these would be 13x13: leave out --size" in capsys.readouterr().err


def test_an_exported_program_knows_its_size(here, capsys):
    torch.export.save(torch.export.export(trained(), (torch.zeros(1, 3, 12, 12),)), "net.pt2")
    assert main(["net.pt2", "--images", "photos", *NORMAL, "--config", "small.json", "--recipe", "fixed8", "--out",
                 "p.npz"]) == 0
    assert Network.load("p.npz").name == "net" and "accuracy integer" in capsys.readouterr().out


def test_a_broken_picture_is_named(here, capsys, tmp_path):
    photographs(tmp_path / "p", 2)
    for path in (tmp_path / "p").glob("*/*.png"):
        path.write_bytes(path.read_bytes()[:60])
    Image.fromarray(pixels(0, 0)).save(tmp_path / "p" / "class0" / "000.png")
    assert run("--images", tmp_path / "p", "--size", 12, *NORMAL) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_names_of_networks():
    assert [network_name(name) for name in ("a.b:Net", "a:b.c", "x/y.pt2", "f.py:n", "")] == [
        "Net", "c", "y", "n", "network"]


def test_quantized_onnx_reads_pixels(here):
    """Its own input are codes of normalized values: a first layer makes them of pixels, with the mean and std that are
    given, so that it is as right as the model was."""
    images = np.stack([pixels(label, i, (12, 12)) for label in range(3) for i in range(8)]).transpose(0, 3, 1, 2)
    real = ((images / 255 - 0.5) / 0.25).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(trained(), (torch.from_numpy(real[:1]),), "float.onnx", dynamo=False, input_names=["x"],
                          dynamic_axes={"x": {0: "n"}})

    class Some(CalibrationDataReader):
        left = iter([{"x": one[None]} for one in real])

        def get_next(self):
            return next(self.left, None)
    quantize_static("float.onnx", "q.onnx", Some(), quant_format=QuantFormat.QDQ)
    said = {"model": "q.onnx", "images": "photos", "size": "12", "count": 0}
    job = open_job(QuantizeOptions(**said, mean="0.5", std="0.25"), lambda text: None, quantized=True)
    right = job.measure(job.model, lambda text: None).accuracy["integer"].value
    wrong = open_job(QuantizeOptions(**said), lambda text: None, quantized=True)
    assert isinstance(job.model, Network) and right > 0.9
    assert wrong.measure(wrong.model, lambda text: None).accuracy["integer"].value < right
    assert main(["q.onnx", "--images", "photos", "--out", "x.npz"]) == 2


def test_loading_is_told(monkeypatch):
    """A model may take as long to load as anything else: within a block that tells how long it takes."""
    texts = []

    @contextmanager
    def telling(report, text="", **other):
        texts.append(text)
        yield lambda text: None
    monkeypatch.setattr(job, "telling", telling)
    with pytest.raises(AlloyError, match="there is no module nothing"):
        open_job(QuantizeOptions(model="nothing:Net", images="photos"), lambda text: None)
    assert texts == ["loading nothing:Net"]
