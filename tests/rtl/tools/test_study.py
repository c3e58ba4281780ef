"""The page of blocks: every row is of what it says, and its words are those of the page in docs/results."""

from pathlib import Path

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
import pytest

from rtl.array import DspPE, LutPE
from rtl.memory import CodeTable
from rtl.move import WeightDecoder
from rtl.tools import study

PAGE = Path(__file__).parents[3] / "docs" / "results" / "blocks.md"


def test_page(monkeypatch):
    asked, said = [], []

    def measure(block, family):
        block._MustUse__silence = True
        asked.append((type(block), family, getattr(block, "lut_form", None), getattr(block, "decode_lanes", None)))
        return {"lut": 1000 + len(asked), "ff": 7, "dsp": 3}, 5

    monkeypatch.setattr(study, "measure", measure)
    text = study.page(said.append)
    assert [kind for kind, *_ in asked] == 2 * [LutPE, LutPE, DspPE, *3 * [WeightDecoder], CodeTable]
    assert [family for _, family, *_ in asked] == 7 * ["xcup"] + 7 * ["xc7"]
    assert [form for *_, form, _ in asked[:2]] == ["shift_add", "product_lookup"]
    assert [lanes for *_, lanes in asked[3:6]] == [192, 96, 48] and said[3] == "zcu102: decoder of 192 lanes"
    for row in ("| zcu102 | LUT, shift_add | 1001 | 7 | 3 | 5 | 64 | 15.64 |",
                "| pynq-z2 | DSP | 1010 | 7 | 3 | 5 | 64 | 15.78 |",
                "| zcu102 | 96 | 8 | 1005 | 7 | 10 | 0.4% |", "| pynq-z2 | 1014 | 7 | 16 | 16224 | 30.5% |"):
        assert row in text.splitlines()

    def words(page):
        return [line for line in page.splitlines() if not line.startswith(("| zcu102", "| pynq-z2"))]
    assert words(text) == words(PAGE.read_text())


class Gates(wiring.Component):
    """Two inputs and a register."""
    a: In(4)
    b: In(4)
    y: Out(4)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.y.eq(self.a & self.b)
        return m


def test_measure():
    pytest.importorskip("pyosys")
    used, depth = study.measure(Gates(), "xc7")
    assert (used["lut"], used["ff"], depth) == (4, 4, 1)
