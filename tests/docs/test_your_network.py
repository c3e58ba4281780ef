"""Every command and every line of Python on the page "Your own network" runs, on a small model and a few pictures.

``python -m tests.docs.test_your_network`` renews the table of what is supported.
"""

import json
from pathlib import Path
import re
import shlex
import sys

import numpy as np
import pytest

from alloy.command import main
from quant.capture.table import supported_table
from tests.networks import random_config
from tests.sim.verilator.test_engines import CONFIGS
from tests.user import write_user
from tests.verilated import shared_cache

PAGE = Path(__file__).resolve().parents[2] / "docs" / "your-network.md"
CONFIG = random_config(np.random.default_rng(1), **CONFIGS["portable"])
# What the page says for a board and photographs -> what takes seconds. The model and the pictures are the test's.
SMALLER = {"--size 224": "--size 8", "--platform zcu102": "--platform zcu102 --config small.json",
           "224, 224": "8, 8", '"zcu102"': "CONFIG", "zcu102/config.json": "zcu102/config.json"}
NOT_RUN = {"git clone https://github.com/alloy/alloy && cd alloy", "make venv && source .venv/bin/activate"}
BLOCK = re.compile(r"^(<!-- supported: .* -->\n)(.*?)(<!-- end -->)$", re.M | re.S)


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


def smaller(text):
    for words, fewer in SMALLER.items():
        text = text.replace(words, fewer)
    return text


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = write_user(tmp_path_factory.mktemp("page"), "models", 6)
    (folder / "small.json").write_text(json.dumps(CONFIG.to_dict()))
    (folder / "build").mkdir()
    (folder / "build" / "cache").symlink_to(shared_cache(tmp_path_factory))
    shared_cache(tmp_path_factory).mkdir(exist_ok=True)
    return folder


@pytest.fixture
def here(files, monkeypatch):
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "path", [str(files), *sys.path])
    for name in ("models",):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return files


@pytest.mark.slow
def test_commands(here, capsys):
    """In the order of the page; words that are no command of Alloy are known."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("alloy ")]
    assert set(lines) - set(commands) == NOT_RUN and len(commands) >= 7
    for line in commands:
        words = shlex.split(smaller(line))[1:]
        more = ["--calibration", "9", "--count", "4"] if words[0] in ("flow", "quantize") else []
        if words[0] == "show":
            words = [word for word in words if word not in ("--platform", "zcu102")]
        assert main([*words, *more]) == 0, line + capsys.readouterr().err
    assert all((here / "build" / name).exists() for name in ("Net/report.json", "net.npz", "net.alloy", "other"))
    assert "frames per second" in (here / "build" / "Net" / "report.txt").read_text()


def test_python(here, capsys):
    for block in blocks("python"):
        exec(compile(smaller(block), str(PAGE), "exec"), {"CONFIG": CONFIG})
    assert "None" in capsys.readouterr().out        # frames per second of a configuration without a board


def test_what_is_supported_is_as_the_page_says():
    assert BLOCK.search(PAGE.read_text())[2] == "\n".join(supported_table()) + "\n"


def test_links_and_options():
    """The page names only files and options that are there."""
    text = PAGE.read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (PAGE.parent / target).exists(), target
    from alloy.diff.options import DiffOptions
    from alloy.flow import FlowOptions
    known = {f"--{name.replace('_', '-')}" for name in FlowOptions.model_fields | DiffOptions.model_fields} | {
        "--out", "--options", "--from", "--to", "--help", "--json", "--quiet", "--batch", "--no-synth",
        "--install-completion", "--part", "--picture", "--trace"}
    assert set(re.findall(r"--[a-z][a-z-]*", text)) <= known


if __name__ == "__main__":
    table = "\n".join(supported_table()) + "\n"
    PAGE.write_text(BLOCK.sub(lambda found: found[1] + table + found[3], PAGE.read_text()))
