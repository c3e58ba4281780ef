"""Synthesis by modules: what is counted, what is refused, and that the maps of adders and products change nothing."""

import subprocess
import sys
import tempfile

import pytest

from rtl.tools import split_modules, synth, synthesize
from rtl.tools.synth import ADDERS, TIMES
from spec import devices
from spec.errors import AlloyError

LEAF = """module leaf(clk, a, b, y);
  input clk;
  wire clk;
  input [7:0] a;
  wire [7:0] a;
  input [7:0] b;
  wire [7:0] b;
  output [7:0] y;
  reg [7:0] y;
  always @(posedge clk) y <= a & b;
endmodule
"""
PAIR = """module pair(clk, a, b, y);
  input clk;
  wire clk;
  input [7:0] a;
  wire [7:0] a;
  input [7:0] b;
  wire [7:0] b;
  output [7:0] y;
  wire [7:0] y;
  wire [7:0] t;
  leaf first (
    .clk(clk), .a(a), .b(b), .y(t)
  );
  leaf second (
    .clk(clk), .a(t), .b(b), .y(y)
  );
endmodule
"""


def test_hierarchy_is_counted(tmp_path, monkeypatch):
    """Also where temporary files lie in a folder with a space: Yosys and abc read paths word by word."""
    (tmp_path / "a b").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a b"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "a b"))
    parts = split_modules(LEAF + PAIR)
    assert {name: part.children for name, part in parts.items()} == {"leaf": (), "pair": ("leaf", "leaf")}
    assert parts["leaf"].source == LEAF.replace("module leaf", "module top_module").rstrip()
    lines = []
    result = synthesize(LEAF + PAIR, "pair", "xc7", report=lines.append)
    assert result["total"] == {"lut": 16, "ff": 16, "dsp": 0, "bram36": 0, "uram": 0}
    assert result["modules"]["leaf"] == {"own": {"lut": 8, "ff": 8, "dsp": 0, "bram36": 0, "uram": 0}, "cells": 16,
                                         "count": 2, "depth": 1,
                                         "all": {"lut": 8, "ff": 8, "dsp": 0, "bram36": 0, "uram": 0}}
    assert sum(": " in line for line in lines) == 2     # the others say only that it goes on


@pytest.mark.parametrize("text, message", [
    (LEAF, "the Verilog has no module pair: synthesis needs the text that rtl.generate gives"),
    (PAIR.replace(".y(t)", ".y(t"), "Yosys cannot read the Verilog: .*ERROR.* syntax error"),
    (LEAF + PAIR.replace(".y(t)", ".z(t)"), "synthesis of module pair failed: .*ERROR.* port .*z")])
def test_synthesis_failures(text, message):
    with pytest.raises(AlloyError, match=message):
        synthesize(text, "pair", "xc7", report=lambda line: None)


SUMS = """module gold(input [8:0] x, input signed [5:0] s, output [14:0] a,
  output [15:0] b, output [6:0] c, output signed [9:0] d);
  assign a = x * 6'h28;
  assign b = x * 3'h3;
  assign c = x * 8'h41;
  assign d = s + $signed(x[3:0]);
endmodule
"""


def test_adder_and_product_maps_are_equivalent(tmp_path):
    for name, text in (("sums", SUMS), ("times", TIMES), ("adders", ADDERS)):
        (tmp_path / f"{name}.v").write_text(text)
    steps = [f"read_verilog {tmp_path}/sums.v", "proc", "copy gold gate", "cd gate", f"techmap -map {tmp_path}/times.v",
             "select -assert-none t:$mul", f"techmap -map {tmp_path}/adders.v", "select -assert-none t:$add", "cd ..",
             "miter -equiv -flatten -make_assert gold gate miter", "sat -verify -prove-asserts miter"]
    script = ("from pyosys import libyosys as ys; import sys; d = ys.Design(); "
              "[ys.run_pass(step, d) for step in sys.argv[1:]]")
    done = subprocess.run([sys.executable, "-c", script, *steps], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_ports_called_as_keywords():
    """They are escaped in the black box of the module, too."""
    text = """
module child(\\begin , x); input \\begin ; output x; assign x = ~\\begin ; endmodule
module top(a, y); input a; output y; child c (.\\begin (a), .x(y)); endmodule
"""
    assert synthesize(text, "top", "xcup", report=lambda line: None)["total"]["lut"] >= 0


def test_a_cell_of_unknown_size():
    """Kind: a resource that is not counted. Known cells are counted by the table of the family."""
    xc7 = devices.family("xc7")
    cells = {"LUT6": 3, "RAM32M": 1, "FDRE": 5, "DSP48E1": 1, "RAMB18E1": 3, "RAMB36E1": 1, "CARRY4": 9}
    assert synth._count(cells, xc7) == {"lut": 7, "ff": 5, "dsp": 1, "bram36": 2.5, "uram": 0}
    with pytest.raises(AlloyError, match="left a cell RAM7X1S, whose size is not known: add it to the cells of xc7 in"):
        synth._count({"RAM7X1S": 1}, xc7)


def test_without_yosys(monkeypatch):
    monkeypatch.setattr(synth, "find_spec", lambda name: None)
    with pytest.raises(AlloyError, match="needs Yosys as a Python library: install pyosys, or build with --no-synth"):
        synthesize(LEAF, "leaf", "xc7", report=lambda line: None)
