"""Bitstreams with open tools: a small design through all of them, the project of a board, what is refused."""

import json

from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib import io
import pytest

from rtl import bitstream, build
from rtl.platforms import platform
from rtl.tools import PROJECT, ecp5
from spec.config import EngineConfig
from spec.errors import AlloyError
from tests.rtl.test_build import generated


@pytest.fixture(autouse=True)
def _generate_once(monkeypatch):
    """Each configuration is elaborated once for all tests."""
    monkeypatch.setattr(build, "generate", generated)


class Blinker(Elaboratable):
    """A light."""

    def elaborate(self, platform):
        m, count = Module(), Signal(24)
        m.submodules.led = led = io.Buffer("o", platform.request("led", 0, dir="-"))
        m.d.sync += count.eq(count + 1)
        m.d.comb += led.o.eq(count[-1])
        return m


def project(name, top, verilog="module unused; endmodule\n"):
    """Files of a design for a board, beside an engine that it does not use."""
    board = platform(name)
    board.add_file("alloy.v", verilog)
    plan = board.build(top, do_build=False)
    return {at: text if isinstance(text, str) else text.decode() for at, text in plan.files.items() if at in PROJECT}


def test_a_small_design():
    said = []
    found = ecp5.bitstream(project("ulx3s", Blinker()), report=said.append)
    assert b"Part: LFE5U-85F" in found["bit"][:100] and len(found["bit"]) > 10_000
    assert found["fmax_mhz"] > 100 and 24 <= found["used"]["TRELLIS_FF"] < 30
    assert found["available"]["TRELLIS_FF"] == 83_640 and "synthesis done" in said


def test_a_module_by_itself():
    """Without pins; the slowest path goes through the multiplier into the sum."""
    found = ecp5.placed("""module sums(input clk, input [7:0] a, output reg [15:0] y);
      reg [7:0] r;
      reg [15:0] s;
      always @(posedge clk) begin
        r <= a;
        s <= s + r * r;
        y <= y ^ s;
      end
    endmodule""", "sums", 100, report=lambda line: None)
    assert found["fmax_mhz"] > 50 and found["used"]["MULT18X18D"] == 1 and "bit" not in found
    assert set(found["ends"]) == {"s", "y"} and next(iter(found["path"])) == "r"


@pytest.mark.parametrize("name, part", [("ulx3s", "LFE5U-85F-6BG381"), ("ecpix5", "LFE5UM5G-85F-8BG554")])
def test_a_project(tmp_path, capsys, name, part):
    out = tmp_path / "out"
    assert build.main(["--platform", name, "--no-synth", "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {*bitstream.FILES} - {"alloy.bit"}
    report = json.loads((out / "report.json").read_text())
    assert report["part"] == part and report["used"] is None and "no bitstream made" in capsys.readouterr().out
    assert EngineConfig.load(out / "config.json") == bitstream.SMALL[name].config
    assert build.main(["--platform", name, "--no-synth", "--out", str(out)]) == 0       # once more
    (out / "top.lpf").write_text("mine")
    assert build.main(["--platform", name, "--no-synth", "--out", str(out)]) == 2
    assert "top.lpf is not as an earlier build wrote it" in capsys.readouterr().err


def test_refusals(tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"

    def refused(*more):
        assert build.main(["--platform", "ulx3s", "--out", str(out), *more]) == 2 and not out.exists()
        return capsys.readouterr().err
    assert "place and route says how fast ulx3s is: leave out --paths" in refused("--paths")
    monkeypatch.setattr(bitstream, "_project", lambda *more: ("part", dict.fromkeys(PROJECT, "")))
    slow = {"bit": b"", "fmax_mhz": 12.5, "used": {}, "available": {}}
    with monkeypatch.context() as patch:
        patch.setattr(bitstream, "bitstream", lambda files, report: slow)
        assert "the engine reaches 12.5 MHz on ulx3s and the system has a clock of" in refused()
    with monkeypatch.context() as patch:
        def full(path, text):
            raise OSError(28, "No space left on device")
        patch.setattr(bitstream, "write_text", full)
        assert "cannot write" in refused("--no-synth")
    with monkeypatch.context() as patch:
        patch.setattr(ecp5, "find_spec", lambda name: None)
        assert "ECP5 needs nextpnr: pip install 'alloy[open]', or build with --no-synth" in refused()


def test_what_the_tools_refuse():
    with pytest.raises(AlloyError, match="^synthesis for ECP5 failed: .*ERROR"):
        ecp5.bitstream(project("ulx3s", Blinker(), "module ("), report=lambda line: None)
    files = project("ulx3s", Blinker())
    with pytest.raises(AlloyError, match="^nextpnr_ecp5 failed: "):
        ecp5.bitstream({**files, "top.lpf": 'LOCATE COMP "led_0__io" SITE "A0";\n'}, report=lambda line: None)


@pytest.mark.slow
@pytest.mark.parametrize("name", bitstream.SMALL)
def test_an_engine(tmp_path, name):
    """The system of a board, all the way."""
    assert build.main(["--platform", name, "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["fmax_mhz"] >= report["clock_mhz"] >= 60 and report["used"]["MULT18X18D"] > 4
    assert (tmp_path / "out" / "alloy.bit").stat().st_size > 100_000
