"""Boards: lookup, arithmetic check, limits and project script."""

from dataclasses import replace
import os
import shutil
import subprocess

import pytest

import boards
from spec.config import EngineConfig
from spec.errors import AlloyError

NAMES = ("zcu102", "pynq-z2", "kv260", "zc706", "zu15eg")


def test_all_boards_are_listed():
    assert tuple(boards.BOARDS) == NAMES


def test_unknown_board_lists_the_choices():
    with pytest.raises(AlloyError, match=f"no platform 'zcu103': choose {', '.join(NAMES)}"):
        boards.get("zcu103")


@pytest.mark.parametrize("name", NAMES)
def test_default_configuration(name):
    board = boards.get(name)
    assert board.name == board.config.name == name
    assert EngineConfig.from_dict(board.config.to_dict()) == board.config
    board.check(board.config)
    assert set(board.budget) == {"lut", "ff", "dsp", "bram36", "uram"}
    assert 0 < board.bytes_per_cycle(board.config) <= board.config.port_bytes


def test_bytes_per_cycle():
    zcu102, pynq = boards.get("zcu102"), boards.get("pynq-z2")
    assert zcu102.bytes_per_cycle(zcu102.config) == 16      # the port's width, and three quarters of 19.2 GB/s
    assert pynq.bytes_per_cycle(pynq.config) == pytest.approx(3.94, abs=0.01)     # of 2.1 GB/s at 100 MHz over four


@pytest.mark.parametrize("change, text", [
    ({"dsp_filters": 32}, r"needs 4416 dsp and zcu102 gives at most 2444 \(97% of 2520\): reduce dsp_filters"),
    ({"act_depth": 16384}, r"bram36 and zcu102 gives at most 820 \(90% of 912\): reduce act_depth"),
    ({"act_ram": "ultra"}, "of ultra RAM and zcu102 has none: set act_ram to block"),
    ({"dsp_device": "dsp48e1"}, "zcu102 has dsp48e2: set dsp_device to dsp48e2"),
])
def test_check_names_the_way_out(change, text):
    board = boards.get("zcu102")
    with pytest.raises(AlloyError, match=text):
        board.check(replace(board.config, **change))


@pytest.mark.parametrize("resource, share", [("lut", 0.80), ("ff", 0.90), ("dsp", 0.97), ("bram36", 0.90)])
def test_limits(resource, share):
    board = boards.get("zcu102")
    limit = int(share * board.budget[resource])
    assert not board.over({resource: limit})
    assert board.over({resource: limit + 1}) == [(resource, limit + 1, limit)]
    with pytest.raises(AlloyError, match=f"needs {limit + 1} {resource}"):
        board.refuse({resource: limit + 1})


def test_ultra_ram_is_no_block_ram():
    board = boards.get("kv260")
    board.check(board.config)
    with pytest.raises(AlloyError, match="bram36 and kv260 gives at most 129"):
        board.check(replace(board.config, act_ram="block"))


def test_uram_of_a_board_without():
    board = boards.get("zcu102")
    assert not board.over({"uram": 0})
    assert board.over({"uram": 1})


def test_project_script():
    text = boards.get("kv260").project(["alloy.v"], "alloy")
    assert "-part {xck26-sfvc784-2lv-c}" in text
    assert "-period 6.667" in text


# Vivado's commands, as far as the script uses them: each says what it was given, file lists taken apart as Vivado does.
VIVADO = """
proc create_project {force name folder part number} { puts "project $name $folder $number" }
proc add_files {args} { foreach file [lindex $args end] { puts "file [file exists $file] $file" } }
foreach name {set_property current_fileset synth_design} { proc $name {args} {} }
proc report_utilization {flag file} { puts "report $file" }
source [lindex $argv 0]
"""


@pytest.mark.skipif(shutil.which("tclsh") is None, reason="needs tclsh")
@pytest.mark.parametrize("name", ["plain", "with space", "it's", "$HOME", "a[pwd]b", 'quo"te', "br{ace", "\u00e9\u6f22",
                                  "semi;colon", "back\\slash"])
@pytest.mark.parametrize("relative", [True, False])
def test_project_script_from_anywhere(tmp_path, name, relative):
    """The kind: a script that works in its own folder only, or only if the folder's name has no character that Tcl
    reads."""
    here, there = tmp_path / name, tmp_path / "elsewhere"
    for folder in (here, there):
        folder.mkdir()
    (here / "vivado.tcl").write_text(boards.get("kv260").project(["alloy.v"], "alloy"))
    (here / "alloy.v").write_text("")
    (tmp_path / "main.tcl").write_text(VIVADO)
    script = os.path.relpath(here / "vivado.tcl", there) if relative else here / "vivado.tcl"
    done = subprocess.run(["tclsh", tmp_path / "main.tcl", script], cwd=there, capture_output=True, encoding="utf-8",
                          env=os.environ | {"LC_ALL": "C.UTF-8"})
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.splitlines() == [f"project alloy {here}/vivado xck26-sfvc784-2lv-c", f"file 1 {here}/alloy.v",
                                        f"file 1 {here}/clock.xdc", f"report {here}/utilization.rpt"]
    assert "create_clock -period 6.667" in (here / "clock.xdc").read_text() and not any(there.iterdir())
