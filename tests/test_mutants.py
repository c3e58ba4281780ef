"""The changes on purpose: the list fits the code, the sample is one by its seed, and a survivor is told."""

import ast
import json

import pytest

from spec.errors import AlloyError
from tests import forked, mutants
from tests.mutants import Mutant
from tests.touched import statement


def test_list_fits_the_code():
    found = mutants.by_hand()
    assert len({mutant.key for mutant in found}) == len(found) >= 30
    for mutant in found:
        ast.parse(mutant.text)
        assert all((mutants.ROOT / tests).exists() for tests in mutant.tests)
    mutants.reasons()


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


def test_selection_by_statement():
    """The lines of the whole statement, of the head of one that has a body, and whether it runs when the file is
    loaded."""
    text = "\n".join(("A = (1 +", "     2)", "@f", "def g(x=3,", "      y=4):", "    if x:", "        return (y,",
                      "                x)", "    return 5"))
    assert [statement(text, line) for line in (1, 2)] == 2 * [(1, 2, False)]
    assert [statement(text, line) for line in (3, 4, 5)] == 3 * [(3, 5, False)]
    assert [statement(text, line) for line in (6, 7, 8, 9)] == [(6, 6, True), (7, 8, True), (7, 8, True), (9, 9, True)]


FILES = {
    "spec/__init__.py": "",
    "spec/small.py": """ONE = 1
def two():
    return 2
def three(n):
    while n < 3:
        n += 1
    return n
def four():
    return 4
""",
    "tests/__init__.py": "", "tests/spec/__init__.py": "",
    "tests/spec/test_small.py": """import pytest
from spec.small import ONE, two, three
@pytest.fixture(scope="module")
def made(): return two()
def test_first(made): pass
def test_made(made): assert made == 2
def test_three(): assert three(0) == 3
def test_one(): assert ONE == 1
def test_wrong(): two(); assert False
""",
    "tests/spec/test_other.py": """from spec.small import three
def test_slow_and_blind(): three(1)
""",
}
CHANGES = {     # and what is to see them
    "one": ("ONE = 1", "ONE = 7", "FAILED tests/spec/test_small.py::test_one"),
    "two": ("return 2", "return 7", "FAILED tests/spec/test_small.py::test_made"),
    "three": ("n += 1", "n += 2", "FAILED tests/spec/test_small.py::test_three"),
    "for ever": ("n += 1", "n += 0", "time"),
    "four": ("return 4", "return 7", None),
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A file with tests for most of its lines; the last of them fails whatever it reads."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    text = FILES["spec/small.py"]
    found = [mutants._mutant("spec/small.py", name, text, text.replace(old, new))
             for name, (old, new, _) in CHANGES.items()]
    (tmp_path / "docs" / "results").mkdir(parents=True)
    (tmp_path / "survivors.json").write_text("[]")
    monkeypatch.setattr(mutants, "REASONS", tmp_path / "survivors.json")
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.setattr(mutants, "ROOMS", ("spec",))
    monkeypatch.setattr(forked, "LIBRARIES", ())
    monkeypatch.setattr(mutants, "PATIENCE", (3, 5.0))
    monkeypatch.setattr(mutants, "sample", lambda count, seed: found[:count])
    return tmp_path


def results(project):
    """What has seen each change."""
    kept = json.loads((project / "build" / "mutants" / "results.json").read_text())
    return {one["change"].split(":")[0]: one["caught"] for one in kept.values()}


def test_what_sees_a_change(project, capsys):
    """A test that runs the statement, itself or in a fixture that it shares; what hangs; never what fails anyway."""
    assert mutants.main(["--count", "5", "--no-hand"]) == 0
    found = results(project)
    assert {name: seen and seen.split(" - ")[0] for name, seen in found.items()} == {
        name: seen for name, (*_, seen) in CHANGES.items()}
    assert "survived: spec/small.py, four" in capsys.readouterr().out
    assert (project / "spec" / "small.py").read_text() == FILES["spec/small.py"]


def test_survivors_and_status(project, capsys, monkeypatch):
    """Goes on where it was; with --again, with the tests that there are now."""
    assert mutants.main(["--count", "1", "--no-hand"]) == 0
    assert "caught: 1 of 1" in capsys.readouterr().out
    tried = []
    tests_of = mutants.Judge._tests
    monkeypatch.setattr(mutants.Judge, "_tests", lambda self, one, *rest: tried.append(one.change) or tests_of(
        self, one, *rest))
    monkeypatch.setattr(mutants, "ENOUGH", 0.9)
    assert mutants.main(["--count", "5", "--no-hand"]) == 1
    assert len(tried) == 4        # the first is known
    assert "caught: 4 of 5 (80%, wanted 90%)" in capsys.readouterr().out
    tests = project / "tests" / "spec" / "test_other.py"
    tests.write_text(FILES["tests/spec/test_other.py"] + "def test_four():\n    import spec.small\n"
                     "    assert spec.small.four() == 4\n")
    assert mutants.main(["--count", "5", "--no-hand", "--again"]) == 0 and len(tried) == 5
    assert results(project)["four"].startswith("FAILED tests/spec/test_other.py::test_four")


def test_limits_are_of_a_processor(project, monkeypatch):
    """Whom others keep from computing is not stopped, unless that takes many times as long."""
    (project / "tests" / "spec" / "test_waits.py").write_text("import time\ndef test(): time.sleep(3)\n")
    def status():
        return forked.run_tests(project, ["tests/spec/test_waits.py"], 2.0)
    assert status() == 0
    monkeypatch.setattr(forked, "WAITS", 1)
    assert status() is None


def test_tests_that_fail_anyway(project, capsys, monkeypatch):
    """Those that a change by hand names have to pass without it."""
    monkeypatch.setattr(mutants, "by_hand", lambda: [Mutant("spec/small.py", "x", 1, "ONE = 2\n", ("tests/spec",))])
    assert mutants.main(["--count", "0"]) == 2
    assert "tests/spec fail as the code is" in capsys.readouterr().err


def rows(project):
    """The tables of the report: cells of each row."""
    lines = (project / mutants.REPORT).read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]


def test_what_is_no_verdict(project, capsys, monkeypatch):
    """pytest that fails itself, for want of a file or of a folder."""
    monkeypatch.setattr(mutants, "run_tests", lambda *args, **more: 3)
    monkeypatch.setattr(mutants, "by_hand", lambda: [Mutant("spec/small.py", "x", 1, "ONE = 2\n", ("tests/spec",))])
    monkeypatch.setattr(mutants.Judge, "_fails", lambda self, one, tests: self._tried(one, [tests], 9.0))
    assert mutants.main(["--count", "0"]) == 2
    assert "which says nothing of spec/small.py, x: try it again" in capsys.readouterr().err
    assert not (project / "build" / "mutants" / "results.json").exists()
    assert (project / "spec" / "small.py").read_text() == FILES["spec/small.py"]
    monkeypatch.setattr(mutants, "run_tests", lambda tree, *args, **more: 3 if "ONE = 2" in (
        tree / "spec" / "small.py").read_text() else 0)
    assert mutants.main(["--count", "0"]) == 0 and "pytest itself, which does not" in capsys.readouterr().out


def test_report(project, monkeypatch):
    """Who survived, with the reason; how many are not tried, which ``--most`` and ``--room`` leave out."""
    monkeypatch.setattr(mutants.Judge, "caught", lambda self, one: None if "four" in one.change else "time")
    reason = {"file": "spec/small.py", "was": "return 4", "now": "return 7", "reason": "nobody asks | cares"}
    (project / "survivors.json").write_text(json.dumps([reason]))
    assert mutants.main(["--count", "5", "--no-hand", "--room", "quant"]) == 0
    assert ["spec", "5", "0", "0"] in rows(project)
    assert mutants.main(["--count", "5", "--no-hand", "--most", "2"]) == 0
    assert "2 of 5 were tried: the others have no verdict." in (project / mutants.REPORT).read_text()
    assert ["spec", "5", "2", "2"] in rows(project) and not any("spec/small.py" in row for row in rows(project))
    assert mutants.main(["--count", "5", "--no-hand"]) == 0
    assert ["spec", "5", "5", "4"] in rows(project)
    assert rows(project)[-1] == ["spec/small.py", "9", "`return 4`", "`return 7`", r"nobody asks \| cares"]
    (project / "survivors.json").write_text("[]")
    assert mutants.main(["--count", "5", "--no-hand", "--most", "0"]) == 0
    assert rows(project)[-1][-1] == "no test yet"


def test_reason_for_a_line_that_is_gone(project, capsys):
    reason = {"file": "spec/small.py", "was": "return 5", "now": "return 7", "reason": "nobody asks"}
    (project / "survivors.json").write_text(json.dumps([reason]))
    with pytest.raises(AlloyError, match="'return 5', which is no line of spec/small.py any more: take it out"):
        mutants.reasons()
    assert mutants.main(["--count", "5", "--no-hand"]) == 2
    assert not (project / "build").exists()


def test_the_nearest_tests_come_first(project, monkeypatch):
    """Of the folder that a change by hand names."""
    tried = []
    monkeypatch.setattr(mutants.Judge, "_run", lambda self, arguments, *rest: tried.append(arguments) or 0)
    judge = mutants.Judge(project / "build" / "mutants")
    assert judge.caught(Mutant("spec/small.py", "x", 1, "ONE = 2\n", ("tests/spec",))) is None
    assert tried == [["tests/spec"], ["-x", str(judge.tree / "tests/spec/test_small.py"), "tests/spec"]]
