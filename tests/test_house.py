"""House style that no linter knows: functions are short, and the tests lie where the code lies."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("alloy", "boards", "compiler", "docs", "examples", "quant", "rtl", "sim", "spec", "tests")
LINES = 60


@pytest.mark.parametrize("room", ROOMS)
def test_functions_are_short(room):
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                assert lines <= LINES, f"{path.relative_to(ROOT)}: {node.name} has {lines} lines"


def test_tests_lie_where_the_code_lies():
    """A folder of tests has the name of a folder of code."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        assert (ROOT / path.parent.relative_to(ROOT / "tests")).is_dir(), path
