"""What all programs share: --json, --quiet, --batch, and how they end."""

import gc
import json
from typing import Annotated

import pytest
from typer import Argument, Option

from spec.entry import Entry
from spec.errors import AlloyError, importing
from spec.progress import going, say, shown


def program(wide: Annotated[bool, Option("--wide", help="more")] = False,
            file: Annotated[str | None, Option(help="read")] = None):
    """Count."""
    say("counting")
    print("counted 3")
    if wide:
        raise AlloyError("it is wide: make it narrow")
    return 1 if file else 0, {"count": 3}


MAIN = Entry(program, "python -m count", "--wide")


def test_json_on_standard_output(capsys):
    """It is all that is there; the rest goes to standard error."""
    assert MAIN(["--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"status": 0, "count": 3}
    assert "counted 3" in shown.err and "counting" in shown.err


@pytest.mark.parametrize("arguments", [["--json", "--wide"], ["--wide", "--json"], ["--wide", "--json", "-"]])
def test_a_refusal_as_json(capsys, arguments):
    assert MAIN(arguments) == 2
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"status": 2, "error": "it is wide: make it narrow"}
    assert "error: it is wide: make it narrow" in shown.err


def named(model: Annotated[str, Argument()]):
    """Say it."""
    print(model)
    return 0, {"model": model}


def test_json_before_an_argument(tmp_path, capsys, monkeypatch):
    """A word that may be the argument is the file only if its name says so."""
    monkeypatch.chdir(tmp_path)
    main = Entry(named, "python -m name", "x")
    assert main(["--json", "models:Net"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "models:Net"
    assert main(["--json", "x.json", "models:Net"]) == 0 and (tmp_path / "x.json").exists()
    assert MAIN(["--json", "out"]) == 0 and (tmp_path / "out").exists()


def test_json_in_a_file(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_text("1")
    assert MAIN(["--json", "r.json", "--file", "x"]) == 1
    assert json.loads((tmp_path / "r.json").read_text()) == {"status": 1, "count": 3}
    assert "counted 3" in capsys.readouterr().out
    (tmp_path / "r.json").unlink()
    assert MAIN(["--json", "r.json", "--wide"]) == 2 and not (tmp_path / "r.json").exists()
    (tmp_path / "in.json").write_text("1")
    assert MAIN(["--json", "in.json", "--file", "in.json"]) == 2
    assert "would overwrite it" in capsys.readouterr().err


def test_quiet(capsys):
    assert MAIN(["--quiet"]) == 0
    assert capsys.readouterr().out == "counted 3\n"
    assert MAIN([]) == 0 and "counting" in capsys.readouterr().out      # the next one is not


def test_help_has_them_all(capsys):
    assert MAIN(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("--json", "--quiet", "--batch", "--wide", "Example: python -m count --wide"))


def test_silence_of_long_steps(capsys):
    with shown(quiet=True), going(say, "working", 0.01):
        say("nothing")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("looks", [True, False])
def test_nobody_looks_for_garbage_while_importing(looks):
    was = gc.isenabled()
    (gc.enable if looks else gc.disable)()
    try:
        with importing():
            assert not gc.isenabled()
        assert gc.isenabled() is looks
    finally:
        (gc.enable if was else gc.disable)()
