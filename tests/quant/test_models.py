"""Models by name: what is found, and one sentence for everything that is not.

Kind: the user's own code and files, in all the ways in which they are not what was meant.
"""

from pathlib import Path
import re
import subprocess
import sys

import pytest
from safetensors.torch import save_file
import torch
from torch import nn

from quant.exported import as_module
from quant.imports import trace
from quant.models import Loaded, find, load_model
from quant.weights import read_state
from spec.errors import AlloyError
from spec.network import Network
from tests.networks import random_network
from tests.user import CLASSES, SIZE, SOURCE, Net, trained

SHAPE = (3, SIZE, SIZE)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model():
    return trained()


@pytest.fixture
def here(tmp_path, monkeypatch, model):
    """A working directory with the user's files; modules of an earlier test are forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("nets_of_mine", "package_of_mine", "package_of_mine.nets", "broken", "needy"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "nets_of_mine.py").write_text(SOURCE)
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "nets.py").write_text(SOURCE)
    torch.save(model.state_dict(), tmp_path / "net.pth")
    return tmp_path


def same(got, model):
    """Both compute the same, in eval mode."""
    x, got = torch.randn(4, *SHAPE), got.model
    with torch.no_grad():
        assert torch.equal(got(x), model(x)) and not any(m.training for m in got.modules())


def refused(words, *arguments):
    with pytest.raises(AlloyError, match=re.escape(words)) as error:
        load_model(*arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["nets_of_mine:Net", "nets_of_mine.py:Net", "./package_of_mine/nets.py:instance",
                                  "package_of_mine.nets:instance", "nets_of_mine:Places.inner",
                                  "nets_of_mine:parallel"])
def test_names(here, model, name):
    same(load_model(name, "net.pth"), model)


def test_a_name_of_alloy_itself(here):
    """The user's folder may hold anything, also packages called as ours are: theirs by file, ours stay ours."""
    (here / "rtl").mkdir()
    (here / "rtl" / "__init__.py").write_text("raise RuntimeError('not this one')")
    (here / "examples").mkdir()
    (here / "examples" / "mine.py").write_text(SOURCE)
    assert isinstance(load_model("examples/mine.py:Net").model, nn.Module)
    refused("examples is a package of Alloy itself, give the file instead", "examples.mine:Net")
    code = "from quant.models import load_model; load_model('nets_of_mine:Net'); import rtl; print(rtl.__file__)"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=here, capture_output=True, text=True,
                          env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0 and str(here) not in done.stdout


@pytest.mark.parametrize("name, words", [
    ("nets_of_mine:needs", "needs the arguments depth, width: write a function without arguments"),
    ("nets_of_mine:number", "nets_of_mine:number() returns a int: let it return the torch.nn.Module"),
    ("nets_of_mine:fails", "fails (RuntimeError: no such data set)"),
    ("nets_of_mine:value", "nets_of_mine:value is a int: give MODULE:NAME"),
    ("nets_of_mine:Nat", "nets_of_mine has no 'Nat': it has Net, needs"),
    ("nets_of_mine:Net.x", "nets_of_mine has no 'Net.x'"),
    ("nets_of_mine:", "names nothing"), (":Net", "names nothing"),
    ("nets_of_mine", "is neither a file nor MODULE:NAME"), ("nets_of_mine.py", "is Python without a name in it"),
    ("net.pth", "it looks like a PyTorch file (.pth): name the model in its place"),
    ("nowhere.nets:Net", "there is no module nowhere"), ("nowhere.py:Net", "there is no file nowhere.py"),
    ("needy:Net", "needy cannot be imported: it needs library_that_is_not_there, which is not installed"),
    ("broken:Net", "broken cannot be imported (SyntaxError:"), ("leaves.py:Net", "cannot be imported (SystemExit"),
    ("cut.pt2", "is no exported program, or is damaged"), ("none.pt2", "there is no exported program none.pt2"),
    ("script.pt", "export the model with torch.export.save"), ("scripted.py:net", "is a TorchScript model"),
    ("none.npz", "there is no network file")])
def test_what_is_no_model(here, model, name, words):
    (here / "needy.py").write_text("import library_that_is_not_there")
    (here / "broken.py").write_text("def net(:")
    (here / "leaves.py").write_text("import sys\nsys.exit(3)")
    (here / "cut.pt2").write_bytes(b"PK\x03\x04")
    torch.jit.script(model).save("script.pt")
    (here / "scripted.py").write_text("import torch\nnet = torch.jit.load('script.pt')")
    refused(words, name)


# -- weights ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("nested", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_weights_in_all_forms(here, model, nested, prefix):
    state = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save(state if nested is None else {"epoch": 3, nested: state, "optimizer": {"state": {}}}, "other.pt")
    same(load_model("nets_of_mine:Net", "other.pt"), model)


def test_safetensors(here, model):
    save_file(model.state_dict(), "net.safetensors")
    same(load_model("nets_of_mine:Net", "net.safetensors"), model)


def test_weights_that_do_not_fit(here, model):
    """All that is wrong is in one sentence."""
    state = model.state_dict()
    del state["conv.bias"], state["norm.num_batches_tracked"]
    state |= {"fc.weight": torch.zeros(5, 6), "head.weight": torch.zeros(1)}
    torch.save(state, "other.pt")
    refused("it lacks conv.bias; the model does not have its head.weight; other shapes have fc.weight (5x6 in the "
            "file, 3x6 in the model)", "nets_of_mine:Net", "other.pt")
    torch.save({f"layer{i}.w": torch.zeros(1) for i in range(9)}, "other.pt")
    refused("layer0.w, layer1.w, layer2.w, layer3.w and 5 more", "nets_of_mine:Net", "other.pt")


class Mean:
    """What an attacker, or a careless script, puts into a file."""

    def __reduce__(self):
        return open, ("executed", "w")


@pytest.mark.parametrize("make, words", [
    (lambda model: torch.save(model, "w"), "holds Python objects beside its tensors"),
    (lambda model: torch.save({"x": Mean()}, "w"), "holds Python objects beside its tensors"),
    (lambda model: torch.save([1, 2], "w"), "holds no state_dict() but list"),
    (lambda model: torch.save({"epoch": 3}, "w"), "holds no state_dict() but a dictionary of epoch"),
    (lambda model: torch.jit.script(model).save("w"), "is a TorchScript model, whose Python is not there"),
    (lambda model: open("w", "wb").write(b"\x08\x07\x12\x03abcdefg"), "is an ONNX model, not a file of weights"),
    (lambda model: open("w", "wb").write(open("net.pth", "rb").read()[:900]), "is no file of weights, or is damaged"),
    (lambda model: open("w", "wb").write(b"\x10" + bytes(7) + b'{"x"}'), "it looks like a safetensors file"),
    (lambda model: open("w", "w").write("hello"), "it looks like text"),
    (lambda model: None, "there is no file of weights w")])
def test_files_that_are_no_weights(here, model, make, words):
    make(model)
    with pytest.raises(AlloyError, match=re.escape(words)):
        read_state("w")
    assert not (here / "executed").exists()


def test_weights_of_torchvision_are_never_fetched(here, monkeypatch, model):
    refused("there is no file of weights DEFAULT: give a .pt", "nets_of_mine:Net", "DEFAULT")
    refused("net.pt2 has its weights in it: leave out --weights net.pth", "net.pt2", "net.pth")
    (here / "torchvision").mkdir()
    (here / "torchvision" / "__init__.py").write_text("from . import models")
    (here / "torchvision" / "models.py").write_text(f"""{SOURCE}
import enum, types
net = Net
def get_model_weights(name):
    class Weights(enum.Enum):
        DEFAULT = types.SimpleNamespace(url="https://download.pytorch.org/models/net-1234.pth")
        @property
        def url(self):
            return self.value.url
    return Weights
""")
    for name in ("torchvision", "torchvision.models"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(here / "home"))
    refused("fetch https://download.pytorch.org/models/net-1234.pth and give the file", "torchvision.models:net",
            "DEFAULT")
    refused("has no weights 'V9': choose DEFAULT", "torchvision.models:net", "V9")
    (here / "home" / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(model.state_dict(), here / "home" / "hub" / "checkpoints" / "net-1234.pth")
    same(load_model("torchvision.models:net", "DEFAULT"), model)


def test_torchvision_whose_kernels_are_for_another_pytorch(here, monkeypatch, model):
    """As the wheels of the registry are beside a PyTorch without CUDA: networks need no kernels."""
    (here / "torchvision").mkdir()
    (here / "torchvision" / "__init__.py").write_text("from torchvision import _meta_registrations, models")
    (here / "torchvision" / "_meta_registrations.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')")
    (here / "torchvision" / "models.py").write_text(SOURCE)
    (here / "users.py").write_text("from torchvision.models import Net")
    (here / "broken.py").write_text("raise RuntimeError('operator mine::nms does not exist')")
    torch.save(model.state_dict(), here / "w.pth")
    for name in ("torchvision.models:Net", "users.py:Net", "users:Net"):
        for known in [one for one in sys.modules if one.partition(".")[0] in ("torchvision", "users")]:
            monkeypatch.delitem(sys.modules, known)
        same(load_model(name, "w.pth"), model)
    refused("broken cannot be imported (RuntimeError: operator mine::nms does not exist)", "broken:Net")


# -- exported programs -------------------------------------------------------------------------------------------------
class Viewed(Net):
    """Names the number of images in its views."""

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        x = torch.nn.functional.adaptive_avg_pool2d(x, 1)
        return self.fc(x.view(x.shape[0], 6)).reshape(x.shape[0], -1)


def exported(model, count=1, **options):
    return torch.export.export(model.eval(), (torch.randn(count, *SHAPE),), **options)


@pytest.mark.parametrize("kind", [Net, Viewed])
@pytest.mark.parametrize("dynamic", [False, True])
def test_exported_programs(here, model, kind, dynamic):
    """They are traced as the module that they were made of is, whatever number of images they were made with."""
    whole = kind()
    whole.load_state_dict(model.state_dict())
    how = {"dynamic_shapes": ({0: torch.export.Dim("images", min=1)},)} if dynamic else {}
    torch.export.save(exported(whole, 2 if dynamic else 1, **how), "net.pt2")
    loaded = load_model("net.pt2")
    found = loaded.model
    assert (loaded.channels, *loaded.size) == SHAPE
    x = torch.randn(5, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(found(x), whole.eval()(x), rtol=1e-5, atol=1e-5)
        graph = trace(found, SHAPE, logits=True)
        torch.testing.assert_close(graph.tensors(x)[graph.output].flatten(1), whole(x), rtol=1e-4, atol=1e-4)
    (here / "programs.py").write_text("import torch\nprogram = torch.export.load('net.pt2')\nmade = lambda: program\n")
    for name in ("program", "made"):
        assert load_model(f"programs.py:{name}").size == SHAPE[1:]


class Mixes(nn.Module):
    """One image is not one of several."""

    def forward(self, x):
        return x.reshape(3, -1).mean(1)[None]


class Two(nn.Module):
    def forward(self, x, y):
        return x + y


def test_exported_programs_that_are_refused():
    with pytest.raises(AlloyError, match="takes one image and cannot be made one of several"):
        as_module(exported(Mixes()))
    with pytest.raises(AlloyError, match="takes 2 images at a time: export it with one"):
        as_module(exported(Net(), 2))
    with pytest.raises(AlloyError, match=r"was exported in training mode \(batch_norm\): call model.eval"):
        as_module(torch.export.export(Net().train(), (torch.randn(2, *SHAPE),)))
    with pytest.raises(AlloyError, match="has 2 inputs"):
        as_module(torch.export.export(Two(), (torch.zeros(1, *SHAPE), torch.zeros(1, *SHAPE))))
    with pytest.raises(AlloyError, match=r"takes 2x7: export it with images \(N, C, H, W\)"):
        as_module(torch.export.export(nn.Linear(7, 2), (torch.zeros(2, 7),)))


def test_what_a_model_says_of_its_images():
    assert [(found.channels, found.size) for found in map(Loaded.of, (Net(), nn.Conv2d(1, 2, 3), nn.Linear(4, 2)))] == [
        (3, None), (1, None), (3, None)]


def test_onnx(here, model):
    """With the size of its images, or the one that is asked for where the file leaves it open."""
    for shapes, size in ((None, None), ({2: "h", 3: "w"}, (9, 10))):
        torch.onnx.export(model, (torch.zeros(1, *SHAPE),), "net.onnx", dynamo=False, input_names=["x"],
                          dynamic_axes={"x": {0: "n", **(shapes or {})}})
        found = load_model("net.onnx", size=size)
        assert (found.channels, found.size) == (3, size or SHAPE[1:])
        x = torch.randn(2, 3, *found.size)
        with torch.no_grad():
            torch.testing.assert_close(found.model(x), model(x), rtol=1e-4, atol=1e-4)
    refused("whose rows and columns are open: say how large with --size", "net.onnx")


def test_networks_are_loaded_as_they_are(here):
    import numpy as np
    random_network(np.random.default_rng(1), layers=2).save("n.npz")
    found = load_model("n.npz")
    assert isinstance(found.model, Network) and found.size == found.model.tensors[found.model.input].shape[1:]
    assert find("tests.user:CLASSES") == CLASSES
