"""The longest paths: over module borders, through carry chains, from register to register."""

import pytest

from alloy.clock import SMALL
from rtl.generate import TOP, generate
from rtl.tools.paths import CARRY, longest, longest_paths
from spec.errors import AlloyError

# A register in one module, logic in two others, a register in a third: 9-input gates take two levels of LUTs each.
HALF = """module alloy_half(a, b, y);
  input [8:0] a;
  wire [8:0] a;
  input b;
  wire b;
  output y;
  wire y;
  assign y = (&a) ^ b;
endmodule
"""
WHOLE = """module alloy(clk, a, y, z);
  input clk;
  wire clk;
  input [8:0] a;
  wire [8:0] a;
  output y;
  reg y;
  output [15:0] z;
  reg [15:0] z;
  reg [8:0] first;
  reg [8:0] other;
  wire t;
  wire u;
  alloy_half one (
    .a(first), .b(first[0]), .y(t)
  );
  alloy_half two (
    .a({other[8:1], t}), .b(other[0]), .y(u)
  );
  always @(posedge clk) first <= a;
  always @(posedge clk) other <= ~first ^ {first[0], first[8:1]};
  always @(posedge clk) y <= u;
  always @(posedge clk) z <= z + {7'h0, first};
endmodule
"""


def test_over_module_borders():
    """The gates of two modules are one path; a sum is a chain of carry cells."""
    found = longest_paths(HALF + WHOLE, "alloy", "xc7", report=lambda line: None)
    by_end = {path["end"]: path for path in found}
    assert by_end["y"]["start"] == "first" and 2 <= by_end["y"]["luts"] <= 3 and not by_end["y"]["carries"]
    assert by_end["z"]["carries"] == 4 and by_end["z"]["chains"] == 1 and by_end["z"]["luts"] == 1
    lengths = [path["luts"] + CARRY * path["carries"] for path in found]
    assert lengths == sorted(lengths, reverse=True)
    assert len({(path["start"], path["end"]) for path in found}) == len(found)
    assert len(longest_paths(HALF + WHOLE, "alloy", "xc7", count=1, report=lambda line: None)) == 1


def cell(kind, inputs, outputs):
    return {"type": kind, "connections": inputs | outputs,
            "port_directions": dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output")}


def module(cells, **names):
    return {"cells": cells, "ports": {}, "netnames": {name: {"bits": bits, "hide_name": 0}
                                                      for name, bits in names.items()}}


def flop(d, q):
    return cell("FDRE", {"C": [1], "D": [d]}, {"Q": [q]})


def test_a_chain_behind_a_chain():
    """By hand: the second carry cell of a chain is no new chain, the one behind a LUT is; memories begin and end
    paths."""
    found, = longest(module({
        "begin": flop("0", 10), "end": flop(40, 41),
        "low": cell("CARRY4", {"CI": ["0"], "CYINIT": ["0"], "S": [10, "0", "0", "0"], "DI": ["0"] * 4},
                    {"CO": [21, 22, 23, 24]}),
        "high": cell("CARRY4", {"CI": [24], "S": ["0"] * 4, "DI": ["0"] * 4}, {"O": [30, 31, 32, 33]}),
        "lut": cell("LUT2", {"I0": [33], "I1": ["0"]}, {"O": [34]}),
        "more": cell("CARRY8", {"CI": ["0"], "CI_TOP": ["0"], "S": [34] + ["0"] * 7, "DI": ["0"] * 8},
                     {"O": [35, 36, 37, 38, 39, 40, 42, 43]})},
        **{"unit.a": [10], "other.b": [41], "other.mid": [34]}))
    assert (found.luts, found.carries, found.chains) == (1, 3, 2) and found.length == pytest.approx(1 + 3 * CARRY)
    assert (found.start, found.end, found.modules) == ("unit.a", "other.b", ("unit", "other"))
    ram = module({"ram": cell("RAMB36E1", {"CLKARDCLK": [1], "ADDR": [7]}, {"DO": [5]}),
                  "not": cell("INV", {"I": [5]}, {"O": [6]}), "lut": cell("LUT1", {"I0": [6]}, {"O": [7]})})
    found, = longest(ram)
    assert (found.start, found.end, found.luts) == ("ram (RAMB36E1)", "ram (RAMB36E1) ADDR", 2)


def test_loops_and_failures():
    ring = module({"one": cell("LUT1", {"I0": [5]}, {"O": [6]}), "two": cell("LUT1", {"I0": [6]}, {"O": [5]}),
                   "end": flop(5, 9)}, ring=[5, 6])
    with pytest.raises(AlloyError, match="the netlist has a loop without a register at ring"):
        longest(ring)
    with pytest.raises(AlloyError, match="has no module other: the paths need the text that rtl.generate gives"):
        longest_paths(HALF + WHOLE, "other", "xc7", report=lambda line: None)
    with pytest.raises(AlloyError, match="Yosys cannot read the Verilog: .*ERROR"):
        longest_paths(HALF + WHOLE.replace("endmodule", ""), "alloy", "xc7", report=lambda line: None)


def test_an_engine():
    """A small engine: paths go through several modules; none begins or ends inside of an array or a memory, and none
    has more than six levels of LUTs or a chain of carries behind another."""
    found = longest_paths("\n".join(generate(SMALL).values()), TOP, "xc7", count=10_000)
    assert max(path["luts"] for path in found) <= 6 and any(len(path["modules"]) > 1 for path in found)
    assert max(path["chains"] for path in found) <= 1
    assert not any("pe0_0" in path["start"] + path["end"] for path in found)
