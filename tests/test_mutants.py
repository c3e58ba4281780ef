"""The changes on purpose: the list fits the code, the sample is one by its seed, and a survivor is told."""

import ast

import pytest

from tests import mutants
from tests.mutants import Mutant


def test_list_fits_the_code():
    found = mutants.by_hand()
    assert len({mutant.key for mutant in found}) == len(found) >= 30
    for mutant in found:
        ast.parse(mutant.text)
        assert all((mutants.ROOT / tests).exists() for tests in mutant.tests)


def test_sample():
    """The same by the same seed; each is another text of Python."""
    first, again, other = (mutants.sample(3, seed) for seed in (1, 1, 2))
    assert first == again != other and len({mutant.key for mutant in first}) == 3
    for mutant in first:
        assert ast.dump(ast.parse(mutant.text)) != ast.dump(ast.parse((mutants.ROOT / mutant.file).read_text()))


def test_operators_that_need_arguments_are_left_out(monkeypatch):
    """They have no constructor without arguments; one of the two comes early in almost every sample."""
    monkeypatch.setattr(mutants, "operator_names", lambda: {"core/VariableReplacer", "core/NumberReplacer"})
    assert all(mutant.change.startswith("core/NumberReplacer") for mutant in mutants.sample(3, 0))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A file with a test for one of its two lines."""
    for name, text in {"spec/small.py": "ONE = 1\nTWO = 2\n", "tests/spec/test_small.py":
                       "def test():\n    assert 'ONE = 1' in open('spec/small.py').read()\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    found = [Mutant("spec/small.py", "one", "ONE = 7\nTWO = 2\n", ("tests/spec",)),
             Mutant("spec/small.py", "two", "ONE = 1\nTWO = 7\n", ("tests/spec",))]
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.setattr(mutants, "sample", lambda count, seed: found[:count])
    return tmp_path


def test_survivors_and_status(project, capsys, monkeypatch):
    assert mutants.main(["--count", "1", "--no-hand"]) == 0
    assert "caught: 1 of 1" in capsys.readouterr().out
    tried = []
    right = mutants.caught
    monkeypatch.setattr(mutants, "caught", lambda mutant, *rest: tried.append(mutant.change) or right(mutant, *rest))
    assert mutants.main(["--count", "2", "--no-hand"]) == 1 and tried == ["two"]        # the first is known
    text = capsys.readouterr().out
    assert "survived: spec/small.py, two" in text and "caught: 1 of 2 (50%, wanted 80%)" in text
    assert (project / "spec" / "small.py").read_text() == "ONE = 1\nTWO = 2\n"
