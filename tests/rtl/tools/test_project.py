"""The script for Vivado, run over its commands as :mod:`tests.rtl.tools.vivado` knows them."""

from dataclasses import replace

import pytest

import boards
from rtl.generate import TOP, port_names
from rtl.tools import memory_groups, write_package
from rtl.top import Pins
from spec import devices

from .vivado import Refused, Vivado

NAMES = tuple(boards.BOARDS)
FOLDERS = ("with space", "it's", "$HOME", "a[pwd]b", 'quo"te', "br{ace", "\u00e9\u6f22", "semi;colon", "back\\slash")


def outline(config):
    """The ports of an engine in Verilog, without what is inside."""
    pins = Pins(config)
    pins._MustUse__silence = True
    ports = port_names(pins)
    into = {"aclk", "aresetn"} | {
        f"{bus}_{name}" for bus, side in (("s_axil", pins.s_axi), ("m_axi_0", pins.w_axi), *(
            (f"m_axi_{n}", axi) for n, axi in enumerate(pins.r_axi)))
        for name, member in side.signature.members.items() if (member.flow.name == "In") == (bus != "s_axil")}
    lines = [f"  {'input' if n in into else 'output'} [{len(signal) - 1}:0] {n};" for n, signal in ports.items()]
    return "\n".join([f"module {TOP}({', '.join(ports)});", *lines, "endmodule", ""])


def written(folder, board, config=None):
    folder.mkdir(parents=True)
    config = config or board.config
    (folder / "alloy.v").write_text(outline(config))
    write_package(folder, board, config, (folder / "alloy.v").read_text(), TOP)
    return folder / "vivado.tcl"


@pytest.fixture
def preset(tmp_path):
    path = tmp_path / "preset.tcl"
    path.write_text("set_property -dict {CONFIG.PSU__USE__M_AXI_GP1 1} $ps\n")
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_bitstream(tmp_path, preset, name):
    """From project to bitstream: everything is connected and has its address, and nothing else is known."""
    script, out = written(tmp_path / name, boards.get(name)), tmp_path / "out"
    before = {path: path.read_bytes() for path in script.parent.iterdir()}
    tool = Vivado(tmp_path)
    tool.source(script, str(out), *([str(preset)] if name == "zu15eg" else []))
    assert tool.valid and tool.part == boards.get(name).part and tool.runs == {"synth_1": "done", "impl_1": "done"}
    assert {path.name for path in out.iterdir()} == {"project", "alloy.bit", "alloy.hwh", "timing.rpt",
                                                     "utilization.rpt"}
    assert {path: path.read_bytes() for path in script.parent.iterdir()} == before
    config, processor = boards.get(name).config, devices.PROCESSORS[boards.get(name).processor]
    masters = [f"engine/m_axi_{n}" for n in range(config.ports)]
    assert {space for space, _ in tool.segments} == {"ps/Data", *masters}
    assert tool.segments["ps/Data", "engine/s_axil/registers"] == processor.base
    for space in masters:       # memory from 0 on, and nothing that is no memory
        reached = {segment: offset for (its, segment), offset in tool.segments.items() if its == space}
        assert 0 in reached.values() and all((offset is not None) == ("DDR" in s) for s, offset in reached.items())
    assert tool.nets["ps/" + processor.interrupt] == "engine/irq" and tool.nets["engine/aresetn"].startswith("reset/")
    assert tool.values["ps", processor.mhz] == str(boards.get(name).clock_mhz)


@pytest.mark.parametrize("right, wrong, text", [
    ("xc7z020clg400-1", "xc7z020clg400-9", "part could not be found"),
    ("ps/FCLK_CLK0", "ps/FCLK_CLK_0", "no pin ps/FCLK_CLK_0"),
    ("engine/aresetn", "engine/reset", "no pin engine/reset"),
    ("engine/m_axi_1]", "engine/m1_axi]", "no interface pin engine/m1_axi"),
    ("ps/S_AXI_HP2]", "ps/S_AXI_HP4]", "no interface pin ps/S_AXI_HP4"),
    ("PCW_USE_S_AXI_HP3 {1}", "PCW_USE_S_AXI_HP3 {0}", "no pin ps/S_AXI_HP3_ACLK"),
    ("PCW_IRQ_F2P_INTR", "PCW_IRQ_F2P_INTERRUPT", "no setting PCW_IRQ_F2P_INTERRUPT"),
    ("PCW_S_AXI_HP0_DATA_WIDTH {64}", "PCW_S_AXI_HP0_DATA_WIDTH {128}", "cannot be 128"),
    ("HP1_DDR_LOWOCM", "HP1_DDR_LOW", "ps/S_AXI_HP1/HP1_DDR_LOWOCM is not assigned into engine/m_axi_1"),
    ("s_axil/registers", "s_axil/reg0", "no segment"),
    (" [get_bd_pins ps/S_AXI_HP2_ACLK]", "", "ps/S_AXI_HP2_ACLK is not connected"),
    ("reset/peripheral_aresetn] [get_bd_pins engine/aresetn]", "reset/peripheral_aresetn]", "engine/aresetn is not"),
    ("xilinx.com:ip:smartconnect ", "xilinx.com:ip:smart_connect ", "No IP matching"),
    ("alloy:accelerators:alloy ", "alloy:accelerators:engine ", "No IP matching"),
    ('make_external "FIXED_IO, DDR" ', "", "no pins outside"),
    ("report_timing_summary -file", "report_timing_summary -into", "unknown option -into")])
def test_a_wrong_name_is_seen(tmp_path, right, wrong, text):
    """The kind: a script that fails on the user's machine, hours later."""
    script = written(tmp_path / "build", boards.get("pynq-z2"))
    assert right in script.read_text()
    script.write_text(script.read_text().replace(right, wrong))
    with pytest.raises(Refused, match=text):
        Vivado(tmp_path).source(script, str(tmp_path / "out"))


@pytest.mark.parametrize("name", FOLDERS)
def test_from_any_folder(tmp_path, name):
    """The kind: a script that works in its own folder only, or only if the folder's name has no character that Tcl
    reads. What it writes goes beside the build unless a folder is given."""
    board = boards.get("kv260")
    script = written(tmp_path / name / "build", board)
    (tmp_path / "elsewhere").mkdir()
    tool = Vivado(tmp_path / "elsewhere")
    tool.source(script)
    assert tool.valid and (tmp_path / name / "kv260-vivado" / "alloy.hwh").exists()
    assert not any((tmp_path / "elsewhere").iterdir())


def test_refusals(tmp_path):
    script = written(tmp_path / "build", boards.get("zu15eg"))
    for words, text in (((), "there are no board files for zu15eg: give a FOLDER and a PRESET.tcl"),
                        ((str(script.parent / "out"),), "lies in the folder of the build: give another"),
                        ((str(tmp_path / "out"), "none.tcl"), "there is no .*none.tcl")):
        with pytest.raises(Exception, match=text):
            Vivado(tmp_path / "build").source(script, *words)
    script = written(tmp_path / "other", replace(boards.get("kv260"), preset="xilinx.com:kv999:part0"))
    with pytest.raises(Exception, match="Vivado has no board files xilinx.com:kv999:part0: install them"):
        Vivado(tmp_path).source(script)


def test_more_ports_than_the_processor_has(tmp_path):
    """They share its ports; and a width that those have not is theirs at most."""
    board = boards.get("pynq-z2")
    config = replace(board.config, ports=6, port_bits=128)
    groups = memory_groups(devices.PROCESSORS[board.processor], [f"m_axi_{n}" for n in range(6)])
    assert [len(masters) for masters in groups.values()] == [2, 2, 1, 1]
    tool = Vivado(tmp_path)
    tool.source(written(tmp_path / "build", board, config), str(tmp_path / "out"))
    assert tool.valid and tool.links["engine/m_axi_4"] == "memory_0/S01_AXI"
    assert tool.values["ps", "PCW_S_AXI_HP0_DATA_WIDTH"] == "64"


def test_a_part_without_a_processor(tmp_path):
    """The engine alone, with a clock: resources and speed, no bitstream."""
    board = replace(boards.get("pynq-z2"), name="bare", part="xc7a100tcsg324-1", processor=None, preset=None)
    script = written(tmp_path / "bare", board)
    tool = Vivado(tmp_path)
    tool.source(script)
    assert tool.top == "alloy" and {path.name for path in (tmp_path / "bare-vivado").iterdir()} == {
        "project", "clock.xdc", "timing.rpt", "utilization.rpt"}
    assert any("create_clock -period 10.000 -name aclk" in line for *_, line in tool.files)
