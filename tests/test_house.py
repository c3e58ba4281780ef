"""House style that no linter knows: functions are short, and the tests lie where the code lies."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("alloy", "boards", "compiler", "docs", "driver", "examples", "quant", "rtl", "sim", "spec", "tests")
HINTED = ("alloy", "boards", "compiler", "driver", "quant", "rtl", "sim", "spec")
LINES = 60


@pytest.mark.parametrize("room", ROOMS)
def test_functions_are_short(room):
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                assert lines <= LINES, f"{path.relative_to(ROOT)}: {node.name} has {lines} lines"


def public(tree):
    """Functions, methods and properties that others may call: no name on the way to them begins with an underscore."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            if isinstance(node, ast.ClassDef):
                yield from public(node)
            else:
                yield node


@pytest.mark.parametrize("room", HINTED)
def test_public_functions_have_type_hints(room):
    """On all parameters and the return value; ``elaborate`` is Amaranth's."""
    for path in (ROOT / room).rglob("*.py"):
        for node in public(ast.parse(path.read_text())):
            given = node.args
            arguments = filter(None, (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg))
            hints = {arg.arg: arg.annotation for arg in arguments if arg.arg not in ("self", "cls")}
            bare = [name for name, hint in {**hints, "return": node.returns}.items() if hint is None]
            assert not bare or node.name == "elaborate", f"{path.relative_to(ROOT)}: {node.name} has no hint on {bare}"


def test_tests_lie_where_the_code_lies():
    """A folder of tests has the name of a folder of code."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        assert (ROOT / path.parent.relative_to(ROOT / "tests")).is_dir(), path
