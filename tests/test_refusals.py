"""The finder of refusals that no test reaches."""

from tests import refusals

CODE = """from spec.errors import AlloyError


def small(value):
    if value > 3:
        raise AlloyError(f"it is {value}: "
                         "give 3")
    if value < 0:
        raise AlloyError("it is negative")
"""


def test_places_that_are_not_reached(tmp_path, capsys, monkeypatch):
    (tmp_path / "spec").mkdir()
    path = tmp_path / "spec" / "small.py"
    path.write_text(CODE)
    assert refusals.missed(tmp_path, {(str(path), 7)}) == (
        ["spec/small.py:9: AlloyError(\"it is negative\")"], 2)
    (tmp_path / "1.txt").write_text(f"{path}:6\n{path}:9\n")
    monkeypatch.setattr(refusals, "ROOT", tmp_path)
    assert refusals.main(tmp_path) == 0 and "2 of 2" in capsys.readouterr().out
    (tmp_path / "1.txt").write_text(f"{path}:6\n")
    assert refusals.main(tmp_path) == 1 and "1 of 2" in capsys.readouterr().out
