"""The pins of the generated Verilog: names, reset, and that no output answers an input within a cycle."""

import json
import subprocess
import sys

from amaranth.back import rtlil
import pytest

from rtl.generate import generate, port_names
from rtl.prim import Library
from rtl.tools import to_verilog
from rtl.top import Engine, Pins

from .axi_models import small_config

CONFIGS = {
    "one port": small_config(portable_dsp=True, ports=1, port_bits=32, pixels=2, ic=3, dsp_filters=2, lut_filters=0),
    "all options": small_config(portable_dsp=True, ports=2, tables=1, decode_lanes=32, outstanding=1, burst=1),
}
REGISTERS = {"$dff", "$dffe", "$sdff", "$sdffe", "$sdffce"}
FLATTEN = (
    "from pyosys import libyosys as ys; import sys; d = ys.Design(); "
    "[ys.run_pass(step, d) for step in ('read_verilog ' + sys.argv[1], 'hierarchy -check -top alloy', "
    "'proc', 'flatten', 'memory_dff', "
    "'opt_clean', 'write_json ' + sys.argv[2])]"
)


def flat(text, folder):
    """The design with module ``alloy`` on top as one module, in Yosys' JSON."""
    pytest.importorskip("pyosys")
    (folder / "alloy.v").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", FLATTEN, folder / "alloy.v", folder / "alloy.json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "alloy.json").read_text())["modules"]["alloy"]


def drivers(module):
    """Bit -> (kind of its driver, bits that it depends on within the cycle)."""
    out = {}
    for cell in module["cells"].values():
        pins, cell_type, direction = cell["connections"], cell["type"], cell["port_directions"]
        if cell_type == "$mem_v2":
            width, bits = int(cell["parameters"]["WIDTH"], 2), int(cell["parameters"]["ABITS"], 2)
            for n, clocked in enumerate(cell["parameters"]["RD_CLK_ENABLE"][::-1]):
                address = [] if clocked == "1" else pins["RD_ADDR"][n * bits : (n + 1) * bits]
                out |= dict.fromkeys(pins["RD_DATA"][n * width:(n + 1) * width], ("memory", address))
            continue
        into = [b for name, bits in pins.items() if direction[name] == "input" for b in bits]
        driver = ("register", []) if cell_type in REGISTERS else (cell_type, into)
        out |= {b: driver for name, bits in pins.items() if direction[name] == "output" for b in bits}
    return out


def paths(module):
    """Pairs (output, input) with logic and no register between them."""
    driven, inputs, out = drivers(module), {}, set()
    for name, port in module["ports"].items():
        if port["direction"] == "input":
            inputs |= dict.fromkeys(port["bits"], name)
    for name, port in module["ports"].items():
        todo, seen = [b for b in port["bits"] if port["direction"] == "output"], {"0", "1", "x"}
        while todo:
            bit = todo.pop()
            if bit in inputs:
                out.add((name, inputs[bit]))
            elif bit not in seen:
                seen.add(bit)
                todo += driven[bit][1]
    return out


@pytest.fixture(scope="module", params=["one port", pytest.param("all options", marks=pytest.mark.slow)])
def netlist(request, tmp_path_factory):
    return flat(generate(CONFIGS[request.param])["alloy.v"], tmp_path_factory.mktemp("pins"))


def test_no_output_answers_an_input_within_a_cycle(netlist):
    """Kind: a path from an input to an output within a cycle, as ``arready`` from ``rready`` (IHI 0022, A3.2.1)."""
    assert paths(netlist) == set()


def test_axi_outputs_are_registers(netlist):
    """Kind: logic between the last register and the pin. Outputs that are no register never change."""
    driven, registers = drivers(netlist), set()
    for name, port in netlist["ports"].items():
        if port["direction"] == "output" and name.startswith(("s_axil_", "m_axi_")):
            cell_types = {driven[b][0] for b in port["bits"] if isinstance(b, int)}
            assert cell_types <= {"register"}, (name, cell_types)
            registers |= {name.split("_")[-1]} if cell_types else set()
    assert registers == {
        "awready",
        "wready",
        "arready",
        "bvalid",
        "bresp",
        "rvalid",
        "rdata",
        "rresp",
        "arvalid",
        "araddr",
        "arlen",
        "awvalid",
        "awaddr",
        "awlen",
        "wvalid",
        "wdata",
        "wstrb",
        "wlast",
    }


def test_the_engine_alone_has_a_path(tmp_path):
    """The check above finds what it is for: it is there without the register slices."""
    library = Library()
    text = rtlil.convert(Engine(CONFIGS["one port"]), name="alloy", platform=library, emit_src=False)
    found = paths(flat(to_verilog(library.rtlil() + "\n" + text), tmp_path))
    assert ("s_axi__arready", "s_axi__rready") in found


def test_clock_and_reset():
    """Kind: names that no document has. One clock, one reset, named as AXI names them."""
    pins = Pins(CONFIGS["one port"])
    pins._MustUse__silence = True
    names = set(port_names(pins))
    assert names >= {"aclk", "aresetn", "irq"} and not names & {"clk", "rst"}
    text = generate(CONFIGS["one port"])["alloy.v"]
    head = text[text.index("module alloy(") :].split(";")[0]
    assert {n.strip() for n in head[head.index("(") + 1 : head.index(")")].split(",")} == names
