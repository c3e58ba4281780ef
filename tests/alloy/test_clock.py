"""``python -m alloy.clock``: rows of engines' paths, and the page of them."""

import json

import pytest

from alloy import clock
from rtl.tools import ecp5

PATHS = [{"luts": 5, "carries": 2, "chains": 1, "start": "begin", "end": "far", "modules": ["a"]},
         {"luts": 4, "carries": 9, "chains": 2, "start": "begin", "end": "near", "modules": ["b"]}]
PLACED = {"fmax_mhz": 123.4, "used": {"FF": 7}, "available": {"FF": 70}, "path": {"net": 3.5}, "ends": {"end": 8.1}}


def test_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(clock, "longest_paths", lambda *words, **options: PATHS)
    monkeypatch.setattr(clock, "placed", lambda *words, **options: PLACED)
    where = ["--out", str(tmp_path)]
    assert clock.main(["--engine", "pynq-z2", "--engine", "ecp5", *where]) == 0
    page = (tmp_path / "clock.md").read_text()
    assert "| pynq-z2 | " in page and "| xc7 | 5 | 9 | 2 | begin | far |" in page
    assert "**123.4 MHz.**" in page and "7 of 70 FF.\n" in page and "| net | 3.5 |" in page and "| end | 8.1 |" in page
    # Rows stay when others are made, in the order of the engines; what an engine was is stale.
    rows = json.loads((tmp_path / "clock.json").read_text())
    (tmp_path / "clock.json").write_text(json.dumps([row | {"digest": "0123"} for row in rows]))
    assert clock.main(["--engine", "small", *where]) == 0
    page = (tmp_path / "clock.md").read_text()
    assert "| pynq-z2 | 0123 *stale* |" in page and page.index("| small |") < page.index("| pynq-z2 |")
    capsys.readouterr()
    assert clock.main(["--engine", "tiny", *where]) == 2
    assert "no engine tiny is looked at: give small, ecp5, zcu102" in capsys.readouterr().err


@pytest.mark.slow
def test_place_and_route(tmp_path):
    """Of a whole engine for ECP5, half an hour: it fits, and is no slower than it was."""
    assert clock.main(["--engine", "ecp5", "--out", str(tmp_path)]) == 0
    (row,) = json.loads((tmp_path / "clock.json").read_text())
    assert row["fmax_mhz"] > 70 and len(row["ends"]) == 5 and row["used"]["MULT18X18D"] == 84
    assert all(count <= row["available"][cell] for cell, count in row["used"].items())


def test_the_slowest():
    """Of several clocks' paths the longest; bits of a register are one."""
    def step(kind, ns, net=None):
        return {"type": kind, "delay": ns, "net": net}

    def net(name, ns):
        return {"endpoints": [{"cell": name, "delay": [0.1, ns]}]}
    found = ecp5._slowest({
        "critical_paths": [{"path": [step("clk-to-q", 9.0)]},
                           {"path": [step("clk-to-q", 0.5), step("routing", 6.0, "a.b[3]"), step("logic", 1.25),
                                     step("routing", 2.0, "sum_CCU2C_S1"), step("setup", 0.1)]}],
        "detailed_net_timings": [net("x_TRELLIS_FF_Q_2", 3.0), net("x_TRELLIS_FF_Q_1", 9.5), net("y_TRELLIS_FF_Q", 4.0),
                                 *(net(f"z{n}", n / 10) for n in range(5))]})
    assert found["path"] == {"a.b": 6.5, "sum": 9.75}
    assert list(found["ends"].items()) == [("x", 9.5), ("y", 4.0), ("z4", 0.4), ("z3", 0.3), ("z2", 0.2)]
