"""``python -m rtl.build``: what it writes, what it refuses, and that a refusal changes nothing."""

from functools import cache
from hashlib import sha256
import json
import os
from pathlib import Path

import pytest

import boards
from rtl import build
from rtl.tools import synth
from rtl.generate import generate
from spec import folders
from spec.config import EngineConfig
from spec.devices import RESOURCES

TINY = EngineConfig(name="tiny", ic=4, pixels=2, dsp_filters=2, lut_filters=1, dsp_device="dsp48e1", act_depth=64,
                    weight_depth=32,
                    param_depth=4, tap_depth=16, ports=1, port_bits=64, addr_bits=32)
FILES = {"alloy.core", "alloy.f", "alloy_sim.f", "alloy_cells.v", "alloy.rdl", "alloy.svd", "alloy_inst.vh",
         "alloy_regs.py", "build.md", "component.xml", "alloy.c", "alloy.h", "bare_metal.c", "bare_metal.h", "linux.c",
         "linux.h", "alloy.v", "alloy_regs.h", "alloy_regs.json", "registers.md", "commands.md", "config.json",
         "vivado.tcl", "report.json", "report.txt"}


@pytest.fixture
def tiny(tmp_path):
    """File of the small configuration."""
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(TINY.to_dict()))
    return path


@pytest.fixture(autouse=True)
def _generate_once(monkeypatch):
    """Each configuration is elaborated once for all tests."""
    monkeypatch.setattr(build, "generate", generated)


@cache
def generated(config):
    return generate(config)


def refused(capsys, *arguments):
    """Run the program, expect status 2, return the one line on stderr."""
    assert build.main([str(a) for a in arguments]) == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ") and text.count("\n") == 1
    return text


def test_files_and_keys(tiny, tmp_path):
    out = tmp_path / "out"
    assert build.main(["--platform", "pynq-z2", "--config", str(tiny), "--no-synth", "--out", str(out)]) == 0
    assert {p.name for p in out.iterdir()} == FILES
    assert EngineConfig.load(out / "config.json") == TINY
    report = json.loads((out / "report.json").read_text())
    assert set(report) >= {"platform", "clock_mhz", "digest", "verilog_sha256", "resources", "budget", "fits",
                           "macs_per_cycle",
                           "lut_per_mac", "pe"}
    assert report["platform"] == "pynq-z2" and report["digest"] == TINY.digest
    assert report["verilog_sha256"] == sha256((out / "alloy.v").read_bytes()).hexdigest()
    assert report["fits"] is None and report["resources"] is None
    assert set(report["budget"]) == set(RESOURCES)
    assert report["macs_per_cycle"] == {"dsp": 16, "lut": 8}
    assert "not synthesized" in (out / "report.txt").read_text()
    assert report["files"] == {name: sha256((out / name).read_bytes()).hexdigest() for name in FILES - {"report.json"}}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "tiny.json"]


@pytest.fixture
def built(tiny, tmp_path):
    """A build's folder and the command line that makes it again."""
    out = tmp_path / "out"
    arguments = ["--platform", "pynq-z2", "--config", str(tiny), "--no-synth", "--out", str(out)]
    assert build.main(arguments) == 0
    return out, arguments


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_rebuild_replaces_its_own_files_and_keeps_the_users(built, tiny):
    """Vivado's project and whatever else a user puts into the folder of a build. The kind: a folder that is replaced as
    a whole."""
    out, arguments = built
    first = content(out)
    (out / "vivado" / "alloy.runs").mkdir(parents=True)
    for name in ("vivado/alloy.xpr", "clock.xdc", "notes.txt", ".hidden"):
        (out / name).write_text("mine")
    (out / "link.v").symlink_to("alloy.v")
    (out / "report.txt").chmod(0o640)
    assert build.main(arguments) == 0
    assert first.items() <= content(out).items()
    tiny.write_text(json.dumps(TINY.to_dict() | {"queue_depth": 5}))
    assert build.main(arguments) == 0
    again = content(out)
    assert again["alloy.v"] != first["alloy.v"] and b'"queue_depth": 5' in again["config.json"]
    assert [again[name] for name in ("vivado/alloy.xpr", "clock.xdc", "notes.txt", ".hidden")] == [b"mine"] * 4
    assert (out / "link.v").is_symlink() and (out / "vivado" / "alloy.runs").is_dir()
    assert (out / "report.txt").stat().st_mode & 0o777 == 0o640
    assert len(again) == len(first) + 5


def test_files_of_an_earlier_build_that_are_no_more(built):
    """A file that only the earlier build wrote goes; if the user has changed it, it stays."""
    out, arguments = built
    report = json.loads((out / "report.json").read_text())
    for name in ("gone.v", "changed.v", "../outside.v"):
        (out / name).write_text(name)
        report["files"][name] = sha256(name.encode()).hexdigest()
    (out / "changed.v").write_text("mine")
    (out / "report.json").write_text(json.dumps(report))
    assert build.main(arguments) == 0
    assert {p.name for p in out.iterdir()} == FILES | {"changed.v"} and (out.parent / "outside.v").exists()


@pytest.mark.parametrize("name, change", [
    ("vivado.tcl", lambda path: path.write_text(path.read_text() + "# mine")),
    ("alloy.v", lambda path: path.write_text("mine")),
    ("alloy.v", lambda path: (path.rename(path.parent / "x.v"), path.symlink_to("x.v"))),
    ("report.txt", lambda path: (path.unlink(), path.mkdir()))])
def test_what_the_user_changed_is_refused(capsys, built, name, change):
    """A generated file that is not as it was written any more is the user's."""
    out, arguments = built
    change(out / name)
    before = content(out)
    capsys.readouterr()
    assert f"{out / name} is not as an earlier build wrote it: move it away" in refused(capsys, *arguments)
    assert content(out) == before


def test_builds_of_before_the_list_of_files(built):
    """A report without ``files``: the names that a build writes are taken for its own."""
    out, arguments = built
    report = json.loads((out / "report.json").read_text())
    del report["files"]
    (out / "report.json").write_text(json.dumps(report))
    (out / "mine").write_text("mine")
    assert build.main(arguments) == 0 and {p.name for p in out.iterdir()} == FILES | {"mine"}


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"files": {}}', '{"verilog_sha256": "", "files": ["alloy.v"]}'])
def test_a_report_of_something_else(capsys, tiny, tmp_path, text):
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.json").write_text(text)
    refused(capsys, "--platform", "pynq-z2", "--config", tiny, "--no-synth", "--out", out)
    assert content(out) == {"report.json": text.encode()}


@pytest.mark.parametrize("at", [0, 1, 4, 9, 16, *range(len(FILES) - 1, len(FILES) + 3)])
@pytest.mark.parametrize("error", [OSError("stop"), KeyboardInterrupt()])
def test_an_exchange_that_fails_in_the_middle(built, monkeypatch, at, error):
    """All files are of one build, whichever step of putting them into place fails."""
    out, arguments = built
    (out / "mine").write_text("mine")
    report = json.loads((out / "report.json").read_text())
    (out / "gone.v").write_text("gone")
    report["files"]["gone.v"] = sha256(b"gone").hexdigest()
    (out / "report.json").write_text(json.dumps(report))
    before, steps, replace, unlink = content(out), [], os.replace, Path.unlink

    def step(then):
        def counted(*args, **kwargs):
            if out in (Path(args[-1]).parent, Path(args[0]).parent):
                steps.append(1)
                if len(steps) == at + 1:
                    raise error
            return then(*args, **kwargs)
        return counted
    monkeypatch.setattr(folders.os, "replace", step(replace))
    monkeypatch.setattr(Path, "unlink", step(unlink))
    status = build.main(arguments)
    after = content(out)
    assert status in ((2, 130) if at <= len(FILES) else (0,))
    assert after == before or status == 0 and "gone.v" not in after and after["mine"] == b"mine"
    assert sorted(p.name for p in out.parent.iterdir()) == ["out", "tiny.json"]


def test_a_link_to_a_folder(tiny, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    assert build.main(["--platform", "pynq-z2", "--config", str(tiny), "--no-synth", "--out",
                       str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").is_symlink() and {p.name for p in (tmp_path / "real").iterdir()} == FILES


def test_a_board_of_ones_own(tmp_path):
    """One file outside the package is all that a build needs."""
    (tmp_path / "mine.py").write_text(
        f"import boards\nfrom dataclasses import replace\nfrom spec.config import EngineConfig\n"
        f"BOARD = replace(boards.of_part('xc7a100tcsg324-1'), name='mine', config={TINY!r})\n")
    out = tmp_path / "out"
    assert build.main(["--board", str(tmp_path / "mine.py"), "--no-synth", "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["platform"] == "mine" and report["budget"]["lut"] == 63400 and report["digest"] == TINY.digest
    assert "-part {xc7a100tcsg324-1}" in (out / "vivado.tcl").read_text()


def test_unknown_platform(capsys, tmp_path):
    assert "no platform 'zcu103': choose zcu102, pynq-z2" in refused(capsys, "--platform", "zcu103", "--out",
                                                                     tmp_path / "out")


@pytest.mark.parametrize("values, text", [
    ({"colour": 1}, "unknown key 'colour': known keys are"),
    ({"pixels": 3}, "pixels is 3: it must be even"),
    ({"dsp_device": "dsp48e2"}, "pynq-z2 has dsp48e1: set dsp_device to dsp48e1"),
    ({"ic": 64, "pixels": 8, "dsp_filters": 8}, "needs 1042 dsp and pynq-z2 gives at most 213"),
    ({"act_depth": 65536, "pixels": 16}, "bram36 and pynq-z2 gives at most 126"),
])
def test_bad_configuration(capsys, tmp_path, values, text):
    path, out = tmp_path / "bad.json", tmp_path / "out"
    path.write_text(json.dumps(TINY.to_dict() | values))
    assert text in refused(capsys, "--platform", "pynq-z2", "--config", path, "--out", out)
    assert [p.name for p in tmp_path.iterdir()] == ["bad.json"]


def test_missing_configuration_file(capsys, tmp_path):
    assert "there is no configuration file" in refused(capsys, "--platform", "zcu102", "--config",
                                                       tmp_path / "none.json")


def test_a_directory_that_is_no_build_is_kept(capsys, tiny, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.tex").write_text("precious")
    text = refused(capsys, "--platform", "pynq-z2", "--config", tiny, "--no-synth", "--out", out)
    assert "is not an earlier build" in text
    assert (out / "thesis.tex").read_text() == "precious"


def test_over_budget_after_synthesis_keeps_the_earlier_build(capsys, tiny, tmp_path, monkeypatch):
    out = tmp_path / "out"
    arguments = ["--platform", "pynq-z2", "--config", str(tiny), "--out", str(out)]
    assert build.main([*arguments, "--no-synth"]) == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    total = {"lut": 50_000, "ff": 1, "dsp": 1, "bram36": 1, "uram": 0}
    monkeypatch.setattr(build, "synthesize", lambda *a, **k: {"total": total, "modules": {}})
    text = refused(capsys, *arguments)
    assert "needs 50000 lut and pynq-z2 gives at most 42560 (80% of 53200): reduce lut_filters" in text
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "tiny.json"]


def test_a_failed_write_leaves_nothing(capsys, tiny, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError("no space left")
    monkeypatch.setattr(build, "write_software", full)
    text = refused(capsys, "--platform", "pynq-z2", "--config", tiny, "--no-synth", "--out", tmp_path / "out")
    assert "no space left" in text
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.json"]


def test_longest_paths(tiny, tmp_path, monkeypatch):
    """They are asked for, of the Verilog that is written, with synthesis or without."""
    path, out = {"luts": 3, "carries": 0, "chains": 0, "start": "a", "end": "b", "modules": ()}, tmp_path / "out"
    asked = []
    monkeypatch.setattr(build, "longest_paths", lambda text, *more, report: asked.append((text, more)) or [path])
    words = ["--platform", "pynq-z2", "--config", str(tiny), "--no-synth", "--out", str(out)]
    assert build.main([*words, "--paths"]) == 0 and asked == [((out / "alloy.v").read_text(), ("alloy", "xc7"))]
    assert json.loads((out / "report.json").read_text())["paths"][0]["luts"] == 3
    assert "  3   0  0  a -> b" in (out / "report.txt").read_text()
    assert build.main(words) == 0 and json.loads((out / "report.json").read_text())["paths"] is None


@pytest.mark.slow
def test_tiny_synthesis(tiny, tmp_path):
    out = tmp_path / "out"
    assert build.main(["--platform", "pynq-z2", "--config", str(tiny), "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["fits"] is True and set(report["resources"]) == set(RESOURCES)
    assert report["pe"]["dsp_pe"]["dsp"] == 4 and report["resources"]["dsp"] >= 4
    for name in ("dsp_pe", "lut_pe"):
        assert 0 < report["pe"][name]["lut"] < report["pe"][name]["cells"]
        assert report["lut_per_mac"][name] > 0


@pytest.mark.slow
def test_zcu102_without_synthesis(tmp_path):
    board = boards.get("zcu102")
    report = build.build(board, board.config, tmp_path / "out", synth=False, say=lambda line: None)
    assert report["macs_per_cycle"] == {"dsp": 8192, "lut": 4096}


def test_synthesis_that_is_not_there(capsys, tiny, monkeypatch, tmp_path):
    """It is said before the engine is elaborated."""
    monkeypatch.setattr(synth, "find_spec", lambda name: None)
    monkeypatch.setattr(build, "generate", lambda config: pytest.fail("elaborated in vain"))
    text = refused(capsys, "--platform", "pynq-z2", "--config", tiny, "--out", tmp_path / "out")
    assert "install pyosys, or build with --no-synth" in text and not (tmp_path / "out").exists()
