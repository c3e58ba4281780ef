"""Folders of generated files: what is written, what is taken out again, and whose files stay."""

import json

import pytest

from spec.errors import AlloyError
from spec.folders import check_generated, generating

RECORD = "report.json"


def build(folder, **files):
    with generating(folder, RECORD, {"verilog_sha256": "of the Verilog"}) as fresh:
        for name, text in files.items():
            (fresh / name).write_text(text)


def found(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != RECORD}


def test_builds_take_turns(tmp_path):
    """The second replaces what the first wrote; a file of the user stays."""
    folder = tmp_path / "deep" / "out"
    build(folder, one="1", two="2")
    (folder / "mine").write_text("of the user")
    assert json.loads((folder / RECORD).read_text())["files"].keys() == {"one", "two"}
    assert check_generated(folder, RECORD, ["one", "three"]) == {"one", "two", RECORD}
    build(folder, two="22", three="3")
    assert found(folder) == {"two": "22", "three": "3", "mine": "of the user"}
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("spoil, words", [
    (lambda folder: (folder / "one").write_text("changed"), "one is not as an earlier build wrote it"),
    (lambda folder: (folder / RECORD).unlink(), "exists and is not an earlier build"),
    (lambda folder: (folder / RECORD).write_text("{}"), "is not the report of an earlier build")])
def test_nothing_of_the_user_is_replaced(tmp_path, spoil, words):
    folder = tmp_path / "out"
    build(folder, one="1")
    spoil(folder)
    before = {path.name: path.read_text() for path in folder.iterdir()}
    with pytest.raises(AlloyError, match=words):
        build(folder, one="11", two="2")
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_an_error_leaves_no_trace(tmp_path):
    with pytest.raises(KeyError), generating(tmp_path / "out", RECORD, {}) as fresh:
        (fresh / "one").write_text("1")
        raise KeyError
    assert not list(tmp_path.iterdir())
