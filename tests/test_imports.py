"""The direction of imports: who may know whom."""

import ast
from pathlib import Path
import re

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"spec", "quant", "compiler", "rtl", "sim", "boards"}
FORBIDDEN = {
    "spec": (PACKAGES - {"spec"}) | {"amaranth", "torch"},
    "quant": {"rtl", "compiler", "boards", "amaranth"},
    "compiler": {"rtl", "quant", "sim", "boards", "amaranth", "torch"},
    "rtl": {"quant", "compiler", "sim", "torch"},
    "boards": {"rtl", "quant", "compiler", "sim", "amaranth", "torch"},
}
ABOVE = ROOT / "quant" / "bench"        # measures the whole flow, so it may know all of it; nothing in quant may know it
PLAIN = ("sim/golden.py", "sim/command_model.py", "sim/cycle_model.py", "sim/compare.py")


def imported(path):
    """Top-level packages that a file imports."""
    out = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            out |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            out.add(node.module.split(".")[0])
    return out


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages(package):
    for path in (ROOT / package).rglob("*.py"):
        if ABOVE not in path.parents:
            assert not imported(path) & FORBIDDEN[package], path


def test_nothing_below_knows_the_bench():
    for path in (ROOT / "quant").rglob("*.py"):
        text = path.read_text()
        assert ABOVE in path.parents or not re.search(r"^from \.+bench|^from \. import .*bench|quant\.bench import", text, re.M), path


@pytest.mark.parametrize("name", PLAIN)
def test_models_need_no_hardware(name):
    assert not imported(ROOT / name) & {"amaranth", "torch", "rtl"}
