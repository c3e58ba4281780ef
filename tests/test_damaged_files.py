"""Damaged and hostile files: each is read, or refused with one sentence; nothing of it is run, and it takes no memory
that it does not have.

2,000 of each kind in the slow tests, some in the fast ones.
"""

from functools import cache
import io
import json
import os
import pickle
from random import Random
import resource
import struct
import sys
import zipfile

import numpy as np
from PIL import Image
import pytest
from safetensors.torch import save as save_tensors
import torch

from alloy.flow.options import FlowOptions
from compiler import compile
from quant.kept import load_net
from quant.onnx import load as load_onnx
from quant.options import collected
from quant.pictures import open_pictures
from quant.prepare import Preparation
from quant.qat import _checkpoint
from quant.tflite import load as load_tflite
from quant.weights import read_state
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.files import read_arrays
from spec.network import Network
from spec.program import Program
from tests.networks import random_network
from tests.quant.onnx.test_files import mutated, small, small_quantized
from tests.quant.tflite.test_files import network as tflite_network
from tests.test_bad_files import CONFIG

FAST, SLOW = 40, 2000
MOST = 1 << 29          # bytes of memory that reading damaged files may take
RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "pty.spawn",
        "ctypes.dlopen", "webbrowser.open", "urllib.Request")
STATE = {"a.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "a.bias": torch.ones(2), "n": torch.tensor(3)}
YAML = """model: models:Net
images: photos
size: [224, 320]
mean: [0.485, 0.456, 0.406]
recipe: alloy
crop: true
seed: 3
"""


@cache
def net():
    return random_network(np.random.default_rng(1), layers=2)


def saved(function, *arguments, **options):
    out = io.BytesIO()
    function(*arguments, out, **options)
    return out.getvalue()


def torch_file(**options):
    out = io.BytesIO()
    torch.save(STATE, out, **options)
    return out.getvalue()


def picture(form):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (13, 17, 3)).astype(np.uint8)).save(out, form)
    return out.getvalue()


def arrays(folder):
    np.savez_compressed(folder / "good.npz", images=np.zeros((3, 2, 4, 4), np.uint8), labels=np.arange(3))
    return (folder / "good.npz").read_bytes()


def tflite_file():
    builder, output = tflite_network()
    return bytes(builder.content(output))


def own(folder, thing, name):
    thing.save(folder / name)
    return (folder / name).read_bytes()


# Kind of file -> (its name, a good one made in a folder, what reads it).
FILES = {
    "network": ("n.npz", lambda folder: own(folder, net(), "n.npz"), Network.load),
    "program": ("p.alloy", lambda folder: own(folder, compile(net(), CONFIG), "p.alloy"),
                lambda path: Program.load(path).runs_on(CONFIG)),
    "config": ("c.json", lambda folder: json.dumps(CONFIG.to_dict()).encode(), EngineConfig.load),
    "images": ("i.npz", arrays, lambda path: open_pictures(path, Preparation(channels=2)).codes()),
    "arrays": ("a.npz", arrays, lambda path: read_arrays(path, needed=("images",))),
    "pth": ("w.pth", lambda folder: torch_file(), read_state),
    "old_pth": ("w.pt", lambda folder: torch_file(_use_new_zipfile_serialization=False), read_state),
    "safetensors": ("w.safetensors", lambda folder: save_tensors(STATE), read_state),
    "onnx": ("m.onnx", lambda folder: small(folder)[1], load_onnx),
    "onnx_quantized": ("m.onnx", lambda folder: small_quantized(folder)[1], load_onnx),
    "tflite": ("m.tflite", lambda folder: tflite_file(), load_tflite),
    "jpeg": ("p.jpg", lambda folder: picture("JPEG"), Preparation().decode),
    "png": ("p.png", lambda folder: picture("PNG"), Preparation().decode),
    "yaml": ("o.yaml", lambda folder: YAML.encode(), lambda path: collected(FlowOptions, {}, path)),
}


@pytest.fixture(autouse=True)
def watched():
    """While the list has something in it, whatever would be run is an error and is written down."""
    seen = _watch()
    seen.clear()
    seen.append("watching")
    yield seen
    assert seen == ["watching"]
    seen.clear()


@cache
def _watch():
    """A hook of Python's own, which stays; it does nothing while the list is empty."""
    seen = []

    def hook(event, arguments):
        if seen and event in RUNS:
            seen.append(f"{event} {arguments}")
            raise RuntimeError(f"{event} while a file was read")
    sys.addaudithook(hook)
    return seen


def damage(content, seed):
    """A file with bytes changed, missing or added, cut off, or with a piece of it again."""
    draw = Random(seed)
    match draw.randrange(8):
        case 0:
            return content[:draw.randrange(len(content))]
        case 1:
            first, at = sorted(draw.randrange(len(content)) for _ in range(2))
            return content[:at] + content[first:]
        case 2:
            changed, at = bytearray(content), draw.randrange(len(content))
            word = draw.choice([0, 1, 1 << 16, 1 << 30, (1 << 31) - 1, (1 << 32) - 1])
            changed[at:at + 4] = word.to_bytes(4, "little")
            return bytes(changed)
    return mutated(content, seed)


def check(kind, folder, seeds):
    """Numbers of files that were read and refused."""
    name, make, load = FILES[kind]
    content, path, found = make(folder), folder / f"bad_{name}", [0, 0]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in seeds:
        path.write_bytes(damage(content, seed))
        try:
            load(path)
            found[0] += 1
        except AlloyError as error:
            assert "\n" not in str(error) and len(str(error)) < 2000, (seed, error)
            found[1] += 1
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < MOST, f"{grown:,} bytes"
    return found


@pytest.mark.parametrize("kind", FILES)
def test_some_damaged_files(tmp_path, kind):
    name, make, load = FILES[kind]
    (tmp_path / name).write_bytes(make(tmp_path))
    load(tmp_path / name)
    assert check(kind, tmp_path, range(FAST))[1] > FAST // 8


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_many_damaged_files(tmp_path, kind):
    read, refused = check(kind, tmp_path, range(SLOW))
    assert read + refused == SLOW and refused > SLOW // 8


@pytest.mark.parametrize("load", [read_state, lambda path: load_net(path, None), lambda path: _checkpoint(path, "cpu")])
@pytest.mark.parametrize("raised", [struct.error, OverflowError, AssertionError, IndexError, pickle.UnpicklingError])
def test_whatever_pytorch_raises(tmp_path, monkeypatch, load, raised):
    """Kind: an exception of a reader that one of its callers does not know."""
    torch.save({"a": torch.zeros(2)}, tmp_path / "a.pth")

    def broken(*_, **__):
        raise raised("broken")
    monkeypatch.setattr(torch, "load", broken)
    with pytest.raises(AlloyError, match="a.pth"):
        load(tmp_path / "a.pth")


class Payload:
    """What writes a file when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def pickled_zip(payload, inner):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(inner, payload)
        file.writestr(inner.rpartition("/")[0] + "/version", b"3")
    return out.getvalue()


@pytest.mark.parametrize("kind", FILES)
def test_nothing_of_a_file_is_run(tmp_path, kind):
    """Pickles that would write a file, in every form that the reader could take them for."""
    name, _, load = FILES[kind]
    payload, target = pickle.dumps(Payload(tmp_path / "ran"), protocol=2), tmp_path / "ran"
    objects = np.array([Payload(target)], object)
    forms = [payload, pickled_zip(payload, "archive/data.pkl"), pickled_zip(payload, "graph.npy"),
             saved(lambda out: np.savez(out, graph=objects, images=objects, labels=objects)),
             f"model: !!python/object/apply:os.system ['touch {target}']\n".encode()]
    for content in forms:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AlloyError) as caught:
            load(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not target.exists()


def bomb(names, size):
    """A zip file of zeros."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            with file.open(name, "w", force_zip64=True) as member:
                if name.endswith(".npy"):
                    np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False,
                                                                  "shape": (size,)})
                for _ in range(size >> 22):
                    member.write(bytes(1 << 22))
    return out.getvalue()


@pytest.mark.parametrize("kind, names", [
    ("network", ["graph.npy"]), ("images", ["images.npy"]), ("program", ["program.json", "image.bin"]),
    ("pth", ["archive/data.pkl", "archive/data/0", "archive/version"])])
def test_files_that_unpack_to_more_than_there_is(tmp_path, monkeypatch, kind, names):
    """A hundred megabytes of zeros where sixteen are as much as may be."""
    monkeypatch.setattr("spec.files.unpacked_limit", lambda: 1 << 24)
    name, _, load = FILES[kind]
    (tmp_path / name).write_bytes(bomb(names, 100 << 20))
    with pytest.raises(AlloyError, match=r"unpacks to 1\d\d MiB|unpacks to [23]\d\d MiB") as caught:
        load(tmp_path / name)
    assert "more than half of this machine's memory" in str(caught.value)


def test_arrays_that_are_not_there(tmp_path):
    """An array that says that it is larger than the file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file, file.open("graph.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})
    (tmp_path / "n.npz").write_bytes(out.getvalue())
    with pytest.raises(AlloyError, match="is not a whole Alloy network file: it is truncated or damaged"):
        Network.load(tmp_path / "n.npz")


@pytest.mark.parametrize("text, words", [
    ("a: &a [x, x]\nrecipe: *a\n", "alias"),
    ("recipe: " + "[" * 5000 + "]" * 5000, "nested too deeply"), ("recipe: 2001-13-41\n", "no YAML"),
    ("recipe: " + "x" * 5000 + "\nseed: [" + "y" * 5000 + "]", "seed is")])
def test_options_that_grow(tmp_path, text, words):
    """What ten aliases of ten aliases hold has no end, nor has a sentence that shows it."""
    (tmp_path / "o.yaml").write_text(text)
    with pytest.raises(AlloyError, match=words) as caught:
        collected(FlowOptions, {}, tmp_path / "o.yaml")
    assert len(str(caught.value)) < 1000


def test_pictures_that_grow(tmp_path):
    """A picture of a few kilobytes that is said to have 10^10 pixels."""
    content = bytearray(picture("PNG"))
    content[16:24] = (100_000).to_bytes(4, "big") * 2
    import zlib
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "p.png").write_bytes(content)
    with pytest.raises(AlloyError, match="p.png"):
        Preparation().decode(tmp_path / "p.png")
