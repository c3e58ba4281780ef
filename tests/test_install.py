"""The product as it is installed: everything that it needs is in the wheel, and it runs outside the checkout."""

import json
import os
from pathlib import Path
import subprocess
import sys
import tomllib

import numpy as np
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
import pytest

from sim.run import layer_network
from spec.config import EngineConfig
from tests.user import write_user

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TINY = EngineConfig(name="tiny", ic=2, pixels=2, dsp_filters=2, lut_filters=0, dsp_device="dsp48e1", act_depth=64,
                    weight_depth=32, param_depth=4, tap_depth=16, ports=1, port_bits=64, addr_bits=32)


def call(folder, *command):
    """Run in a folder, with no way to find the checkout."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Programs of a fresh environment with the wheel in it; other packages are those of this one."""
    folder = tmp_path_factory.mktemp("install")
    call(folder, sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "wheel",
         ROOT)
    call(folder, sys.executable, "-m", "venv", "--without-pip", "venv")
    python = folder / "venv" / "bin" / "python"
    call(folder, sys.executable, "-m", "pip", "--quiet", "--python", python, "install", "--no-deps", "--no-index",
         next((folder / "wheel").iterdir()))
    place = Path(call(folder, python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (place / "shared.pth").write_text(str(Path(np.__file__).parents[1]) + "\n")
    return folder / "venv" / "bin"


def test_commands_from_another_folder(installed, tmp_path):
    (tmp_path / "tiny.json").write_text(json.dumps(TINY.to_dict()))
    layer_network("3x3,4,4,6", TINY).save(tmp_path / "network.npz")
    assert "quantize" in call(tmp_path, installed / "alloy", "--help")
    assert "written to b" in call(tmp_path, installed / "alloy", "build", "--platform", "pynq-z2", "--config",
                                  "tiny.json",
                                  "--no-synth", "--out", "b")
    assert "module alloy(" in (tmp_path / "b" / "alloy.v").read_text()
    call(tmp_path, installed / "alloy", "compile", "--network", "network.npz", "--config", "b/config.json", "--out",
         "p")
    listing = call(tmp_path, installed / "python", "-m", "compiler", "disassemble", "p")
    assert "LOAD_WEIGHTS" in listing and listing == call(tmp_path, installed / "alloy", "disassemble", "p")


def test_a_users_network(installed, tmp_path):
    """Model, weights and pictures of a folder that knows nothing of the checkout."""
    write_user(tmp_path, "nets", 6)
    (tmp_path / "tiny.json").write_text(json.dumps(TINY.to_dict()))
    shown = call(tmp_path, installed / "alloy", "flow", "nets:Net", "--weights", "net.pth", "--images", "photos",
                 "--size", "8", "--mean", "0.5", "--std", "0.25", "--recipe", "fixed8", "--platform", "pynq-z2",
                 "--config", "tiny.json", "--to", "compile", "--out", "o", "--json")
    assert json.loads(shown)["steps"]["compile"]["commands"] > 3 and (tmp_path / "o" / "program.alloy").exists()


def test_what_is_no_code_is_there(installed, tmp_path):
    """C++ of the bench, models of vendor cells, images and weights of the example, Verilog and C of the system."""
    code = ("import sim.verilator.verilate as v, examples; from pathlib import Path; import compiler; "
            "print(v.HERE / 'bench.cpp', *v.MODELS.values(), *examples.paths('fashion_mnist'), "
            "*(examples.HERE / 'soc').rglob('*.[cSv]'), sep='\\n')")
    files, here = ([Path(line) for line in call(folder, python, "-c", code).splitlines()]
                   for folder, python in ((tmp_path, installed / "python"), (ROOT, sys.executable)))
    assert sorted(path.name for path in files) == sorted(path.name for path in here)
    assert all(path.is_file() and installed.parent in path.parents for path in files)


def test_pins():
    """Every direct dependency is pinned, at a version that ``pip install`` would take, too."""
    lines = (line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    pins = {canonicalize_name(one.name): next(iter(one.specifier)).version
            for one in map(Requirement, filter(None, lines))}
    extras = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *(text for extra in extras.values() for text in extra)]:
        one = Requirement(text)
        if one.name == PROJECT["name"]:
            assert one.extras <= set(extras)
        else:
            assert one.specifier.contains(pins[canonicalize_name(one.name)]), text
