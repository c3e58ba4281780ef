"""``alloy``: every program under its word, known without its module; a library that is not there is one line."""

from importlib import import_module
import os
from pathlib import Path
import subprocess
import sys

import pytest

from alloy.command import PROGRAMS, main
from spec.errors import EXTRAS

ROOT = Path(__file__).resolve().parents[2]


def python(folder, *arguments, path=ROOT):
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(path)})


@pytest.mark.parametrize("word", PROGRAMS)
def test_words(capsys, word):
    """Each has the help that the list shows, an example, and refuses what it does not know in one line."""
    module, name, text = PROGRAMS[word]
    found = getattr(import_module(module), name)
    assert found.__doc__.split("\n")[0] == text
    assert main([word, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Usage: alloy {word}" in shown and f"Example: alloy {word} {found.example}" in shown
    assert main([word, "--no-such-option"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: No such option") and error.count("\n") == 1 and f"see alloy {word} --help" in error


def test_a_board_by_either_name(capsys):
    """Every program that has a board takes --platform and --board for it."""
    having = set()
    for word, (module, name, _) in PROGRAMS.items():
        for param in getattr(import_module(module), name).command.params:
            if param.name in ("platform", "board"):
                having.add(word)
                assert sorted(param.opts) == ["--board", "--platform"]
    assert having >= {"build", "check", "compile", "diff", "explore", "flow", "quantize", "run", "show", "speed"}
    for option in ("--platform", "--board"):
        assert main(["run", option, "zcu1"]) == 2 and "no platform 'zcu1'" in capsys.readouterr().err


@pytest.mark.parametrize("word", PROGRAMS)
def test_the_example_is_a_command_line(word):
    """Its options exist and have the right kind of value."""
    module, name, _ = PROGRAMS[word]
    found = getattr(import_module(module), name)
    with found.command.make_context(word, found.example.split()) as context:
        assert context.params


def test_every_program_has_a_word():
    """Modules with an entry point that can be run, found by what they end with."""
    files = [path for room in ("alloy", "quant", "compiler", "rtl", "sim", "examples")
             for path in (ROOT / room).rglob("*.py")]
    able = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files
            if 'if __name__ == "__main__":' in (text := path.read_text()) and "from spec.entry import" in text}
    assert able == {module for module, _, _ in PROGRAMS.values()}


@pytest.mark.parametrize("line, words", [
    ("", "Missing command"), ("bild", "Did you mean 'build'?"),
    ("build", "Missing option '--platform' / '--board': see alloy build --help")])
def test_wrong_lines(capsys, line, words):
    assert main(line.split()) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("error: ") and error.count("\n") == 1


def test_help_imports_no_program(tmp_path):
    code = "import sys; from alloy.command import main; main(['--help']); print(*sys.modules)"
    found = python(tmp_path, "-c", code).stdout.split()
    assert "typer" in found and not {"torch", "numpy", "amaranth", "quant", "rtl"} & set(found)


@pytest.mark.parametrize("command, library", [
    ("-m alloy quantize --out n.npz", "torch"), ("-m quant --out n.npz", "torch"), ("-m alloy bench --help", "torch"),
    ("-m alloy check net.tflite --platform zcu102", "ai_edge_litert")])
def test_library_that_is_not_there(tmp_path, command, library):
    """One sentence with the way out, not the traceback of an import."""
    (tmp_path / f"{library}.py").write_text(f"raise ModuleNotFoundError('No module named x', name={library!r})")
    done = python(tmp_path, *command.split(), path=f"{tmp_path}{os.pathsep}{ROOT}")
    assert (done.returncode, done.stdout) == (2, "")
    way = f"pip install 'alloy[{EXTRAS[library]}]'"
    assert done.stderr == f"error: {library} is not installed and this needs it: {way}\n"


def test_a_defect_keeps_its_traceback(tmp_path):
    (tmp_path / "torch.py").write_text("import no_such_library")
    done = python(tmp_path, "-m", "quant", path=f"{tmp_path}{os.pathsep}{ROOT}")
    assert done.returncode == 1 and "Traceback" in done.stderr and "no_such_library" in done.stderr


def completed(words):
    """What the shell is told may come next; the last word is what was typed so far."""
    done = subprocess.run([sys.executable, "-c", "import sys; from alloy.command import main; sys.exit(main())"],
                          capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT), "_ALLOY_COMPLETE": "complete_bash",
                                            "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)})
    return done.stdout.split()


def test_completion_of_the_shell():
    """Words, and options of a program, which is imported for them."""
    assert completed("alloy dis") == ["disassemble"] and set(completed("alloy ")) >= set(PROGRAMS)
    assert completed("alloy compile --conf") == ["--config"]


def test_completion_can_be_installed(capsys, monkeypatch):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")     # of whatever has started the tests
    assert main(["--show-completion", "bash"]) == 0
    assert "_ALLOY_COMPLETE=complete_bash" in capsys.readouterr().out
