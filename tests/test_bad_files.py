"""Whatever is given as a file to any command: one sentence that says what it is, status 2, nothing written.

The kind: a program finds out what a file is by failing in the middle of it.
"""

import io
import json
import os
from pathlib import Path
import zipfile

import numpy as np
import pytest

from alloy import clock
from compiler import compile
from compiler.__main__ import main as compiler
from examples import paths
from examples.fashion_mnist.train import main as train
from quant import example
from quant.__main__ import main as quant
from quant.bench.__main__ import main as bench
from rtl import build as rtl_build, study as rtl_study
from rtl.regmap import main as regmap
from sim import run as simulation
from spec.config import EngineConfig
from spec.errors import AlloyError
from tests.networks import random_network

CONFIG = EngineConfig(name="files", ic=4, pixels=4, dsp_filters=4, lut_filters=2, act_depth=128, weight_depth=128,
                      ports=1, port_bits=32)


def _zip(*names):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name in names:
            file.writestr(name, b"\x80\x02}q\x00.")
    return data.getvalue()


def _npz(**arrays):
    data = io.BytesIO()
    np.savez(data, **arrays)
    return data.getvalue()


def _npy(array):
    data = io.BytesIO()
    np.save(data, array, allow_pickle=True)
    return data.getvalue()


STRANGE = {     # content, what it is called
    "empty": (b"", "an empty file"),
    "text": (b"hello\n", "text"),
    "zeros": (bytes(1000), "binary data"),
    "latin": ("caf\u00e9".encode("latin-1"), "binary data"),
    "jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF\0" + bytes(100), "a JPEG image"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG image"),
    "onnx": (b"\x08\x07\x12\x07pytorch\x1a\x032.1:\x80\x01" + bytes(40), "an ONNX model"),
    "pth": (_zip("archive/data.pkl", "archive/data/0", "archive/version"), "a PyTorch file"),
    "old_pth": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "a pickle (an old PyTorch .pth)"),
    "script": (_zip("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"), "a TorchScript model"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file"),
    "npy": (_npy(np.zeros(3)), "a single NumPy array"),
    "pickled": (_npz(graph=np.array([{}], object), images=np.array([{}], object), labels=np.zeros(1)), ""),
    "other_npz": (_npz(weights=np.zeros(3), bias=np.zeros(2)), "other arrays"),
    "zip": (_zip("readme.txt"), "a zip archive"),
    "cut_zip": (_npz(graph=np.zeros(100))[:200], "truncated"),
    "json_list": (b"[1, 2]", "JSON text"),
    "json_nan": (b'{"name": NaN}', "JSON text"),
    "json_twice": (b'{"ic": 1, "ic": 2}', "JSON text"),
    "json_deep": (b"[" * 100_000, "JSON text"),
    "json_cut": (b'{"ic": ', "JSON text"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
}


@pytest.fixture
def good(tmp_path, monkeypatch):
    """A whole set of files, and no long work."""
    def started(*args, **kwargs):
        raise AssertionError("long work has started")
    for module, name in ((simulation, "generate"), (rtl_build, "generate"), (rtl_study, "page"),
                         (clock, "generate"),
                         (example, "quantize")):
        monkeypatch.setattr(module, name, started)
    network = random_network(np.random.default_rng(1), layers=2)
    network.save(tmp_path / "network.npz")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG.to_dict()))
    compile(network, CONFIG).save(tmp_path / "program.alloy")
    np.savez(tmp_path / "images.npz", images=np.zeros((2, *network.tensors["image"].shape), np.uint8),
             labels=np.zeros(2, int))
    (tmp_path / "bench").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMANDS = {        # command line with BAD in the place of the file
    "network": (compiler, "compile --network BAD --config config.json --out out"),
    "config": (compiler, "compile --network network.npz --config BAD --out out"),
    "program": (compiler, "disassemble BAD"),
    "run_network": (simulation.main, "--platform zcu102 --network BAD --json out"),
    "run_config": (simulation.main, "--platform zcu102 --config BAD --network network.npz --images-file images.npz "
                   "--json out"),
    "run_images": (simulation.main, "--platform zcu102 --network network.npz --images-file BAD --json out"),
    "build_config": (rtl_build.main, "--platform zcu102 --no-synth --out out --config BAD"),
    "bench_rows": (bench, "--only film_qnn:resnet8:ptq --out BENCH"),
    "train": (train, "--data BAD"),
}


def refused(capsys, main, arguments):
    """The one line of a refusal."""
    assert main(arguments) == 2
    out = capsys.readouterr()
    assert out.err.startswith("error: ") and out.err.count("\n") == 1 and out.out == "", out
    return out.err


def listing(folder):
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("command", COMMANDS)
def test_strange_content(capsys, good, command, kind):
    """The sentence says what the file looks like."""
    main, line = COMMANDS[command]
    content, words = STRANGE[kind]
    path = good / "bench" / "quant.json" if command == "bench_rows" else good / "bad"
    path.write_bytes(content)
    before = listing(good)
    text = refused(capsys, main, line.replace("BAD", "bad").replace("BENCH", "bench").split())
    rows = command == "bench_rows" and kind == "json_list"
    other = rows and "is not a table of rows" in text or "config" in command and words == "JSON text"
    assert words in text or other, text
    assert listing(good) == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["missing", "folder", "loop", "unreadable", "below_a_file"])
def test_no_file(capsys, good, command, kind):
    main, line = COMMANDS[command]
    name = {"folder": "bench", "below_a_file": "network.npz/x"}.get(kind, "bad")
    if command == "bench_rows":
        pytest.skip("its file need not exist")
    if kind == "loop":
        (good / "bad").symlink_to("bad")
    if kind == "unreadable":
        (good / "bad").write_text("{}")
        (good / "bad").chmod(0)
        if os.access(good / "bad", os.R_OK):
            pytest.skip("this user may read everything")
    before = sorted(str(p) for p in good.rglob("*"))
    assert f"{name}" in refused(capsys, main, line.replace("BAD", name).split())
    assert sorted(str(p) for p in good.rglob("*")) == before


@pytest.mark.parametrize("reader, source", [(compiler, "network.npz"), (compiler, "program.alloy")])
def test_a_file_of_the_other_kind(capsys, good, reader, source):
    """A program given as network, and the other way round."""
    line = (f"compile --network {source} --config config.json --out out"
            if source.endswith("alloy") else f"disassemble {source}")
    words = "an Alloy program" if source.endswith("alloy") else "an Alloy network file"
    assert words in refused(capsys, reader, line.split())


def test_arrays_are_named(capsys, good):
    """The file of images: which arrays are there and which are needed."""
    np.savez(good / "x.npz", x_test=np.zeros(3), y_test=np.zeros(3))
    text = refused(capsys, simulation.main, "--platform zcu102 --network network.npz --images-file x.npz".split())
    assert ("has x_test, y_test and lacks images and labels; give --images-file an .npz with images (N, C, H, W) and "
            "labels (N)") in text


@pytest.mark.parametrize("kind", STRANGE)
def test_weights(good, kind):
    """The functions that read float weights."""
    (good / "bad").write_bytes(STRANGE[kind][0])
    if kind != "other_npz":
        with pytest.raises(AlloyError, match="is not a whole .npz file"):
            example.load_float(None, good / "bad")
    for name in ("float", "training", "images"):
        (good / f"{name}.npz").write_bytes(STRANGE[kind][0])
    with pytest.raises(AlloyError):
        example.load("fashion_mnist", good)


OUTPUTS = {
    "compile": (compiler, "compile --network network.npz --config config.json --out OUT"),
    "quant": (quant, "--out OUT"),
    "run": (simulation.main, "--platform zcu102 --network network.npz --images-file images.npz --json OUT"),
    "run_layer": (simulation.main, "--platform zcu102 --layer 1x1,4,4,4 --json OUT"),
    "cache": (simulation.main, "--platform zcu102 --layer 1x1,4,4,4 --cache OUT"),
    "build": (rtl_build.main, "--platform zcu102 --no-synth --out OUT"),
    "study": (rtl_study.main, "--out OUT"),
    "clock": (clock.main, "--engine small --out OUT"),
    "bench": (bench, "--only film_qnn:resnet8:ptq --out OUT"),
    "regmap": (regmap, "OUT"),
    "software": (regmap, "--software OUT"),
}
FOLDERS = ("cache", "build", "clock", "bench", "regmap", "software")


@pytest.mark.parametrize("command", OUTPUTS)
@pytest.mark.parametrize("place", ["network.npz/below", "/proc/nowhere", "/dev/null/x", "", "bench/", "x" * 300])
def test_outputs_are_tried_at_the_start(capsys, good, command, place):
    """Whether the result can be written is known before the work, not after minutes of it."""
    main, line = OUTPUTS[command]
    if command in FOLDERS and place in ("", "bench/"):
        pytest.skip("a folder is what it wants")
    before = listing(good)
    arguments = [place if word == "OUT" else word for word in line.split()]
    text = refused(capsys, main, arguments)
    assert "cannot be written" in text or "is a folder" in text, text
    assert listing(good) == before


@pytest.mark.parametrize("command, output", [
    *((name, file) for name in ("compile", "run") for file in ("network.npz",)), ("compile", "config.json"),
    ("run", "images.npz"),
    ("quant", str(paths("fashion_mnist")[0])),
    ("quant", str(paths("fashion_mnist")[1]))])
@pytest.mark.parametrize("way", ["same", "absolute", "relative", "link", "hard_link", "link_to_folder"])
def test_an_output_that_is_an_input(capsys, good, command, output, way):
    """``--out X --network X`` by any name of X."""
    main, line = OUTPUTS[command]
    target = Path(good, output)
    names = {"same": output, "absolute": str(target), "relative": f"bench/../{output}", "link": "alias",
             "hard_link": "alias",
             "link_to_folder": f"there/{target.name}"}
    if way == "link":
        (good / "alias").symlink_to(target)
    if way == "hard_link":
        try:
            os.link(target, good / "alias")
        except OSError:
            pytest.skip("another file system")
    if way == "link_to_folder":
        (good / "there").symlink_to(target.parent)
    content = target.read_bytes()
    name = names[way] if output[0] != "/" or way in ("link", "hard_link", "link_to_folder") else output
    assert "is the input" in refused(capsys, main, line.replace("OUT", name).split())
    assert target.read_bytes() == content


def test_a_build_whose_configuration_lies_in_its_folder(capsys, good):
    """The configuration that the build would replace is an input, too."""
    out = good / "out"
    out.mkdir()
    (out / "report.json").write_text('{"verilog_sha256": ""}')
    (out / "config.json").write_text(json.dumps(CONFIG.to_dict()))
    text = refused(capsys, rtl_build.main, f"--platform zcu102 --config {out}/config.json --out {out}".split())
    assert "is the input" in text


@pytest.mark.parametrize("main, line", [
    (regmap, ""), (bench, "--only film_qnn:resnet8 --seed -1"), (compiler, ""), (simulation.main, ""),
    (simulation.main, "--platform zcu102 --images x"), (simulation.main, "--platform zcu102 --stalls -1"),
    (rtl_build.main, "")])
def test_usage(capsys, main, line):
    """A command line that asks for nothing is an error."""
    assert main(line.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
