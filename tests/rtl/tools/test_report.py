"""The report of a build: its numbers by hand, and the text of it."""

from dataclasses import replace

import boards
from rtl.tools import report_of, report_text
from spec.devices import RESOURCES

PYNQ = boards.get("pynq-z2")
BOARD = replace(PYNQ, config=replace(PYNQ.config, ic=32, dsp_filters=6, lut_filters=3))
NONE = dict.fromkeys(RESOURCES, 0)


def module(lut, count, cells, below=0):
    return {"own": NONE | {"lut": lut, "ff": 2}, "all": NONE | {"lut": lut + below, "ff": 2, "dsp": 4}, "cells": cells,
            "depth": 3, "count": count}


def synthesis(lut):
    modules = {"alloy": module(5, 1, 900, below=995), "alloy_dsppe": module(100, 2, 300, below=28),
               "alloy_lutpe": module(640, 1, 700)}
    return {"total": {"lut": lut, "ff": 50_000, "dsp": 110, "bram36": 70.5, "uram": 0}, "modules": modules}


def test_report():
    report = report_of(BOARD, BOARD.config, {"alloy.v": "text"}, synthesis(26_600))
    assert report["resources"] == synthesis(26_600)["total"] and report["fits"] is True
    assert report["macs_per_cycle"] == {"dsp": 4 * 6 * 32, "lut": 4 * 3 * 32}
    assert report["pe"] == {"dsp_pe": {"lut": 128, "ff": 2, "dsp": 4, "cells": 300, "macs": 128},
                            "lut_pe": {"lut": 640, "ff": 2, "dsp": 4, "cells": 700, "macs": 64}}
    assert report["lut_per_mac"] == {"dsp_pe": 1.0, "lut_pe": 10.0}
    assert list(report["modules"]) == ["alloy_lutpe", "alloy_dsppe", "alloy"]
    assert report["modules"]["alloy_dsppe"] == {"count": 2, "cells": 300, **NONE, "lut": 100, "ff": 2}
    assert report_of(BOARD, BOARD.config, {}, synthesis(50_000))["fits"] is False


def test_an_element_that_is_not_there():
    without = synthesis(100)
    del without["modules"]["alloy_lutpe"]
    report = report_of(BOARD, BOARD.config, {}, without)
    assert report["lut_per_mac"] == {"dsp_pe": 1.0, "lut_pe": None} and "lut_pe" not in report_text(report)


def test_text():
    text = report_text(report_of(BOARD, BOARD.config, {}, synthesis(26_600)))
    assert text.splitlines() == [
        f"pynq-z2 (xc7z020clg400-1), configuration {BOARD.config.digest}, 100 MHz",
        "MACs per cycle: 768 on DSPs, 384 on LUTs", "",
        "resource        used    budget   share",
        "lut            26600     53200   50.0%",
        "ff             50000    106400   47.0%",
        "dsp              110       220   50.0%",
        "bram36          70.5       140   50.4%",
        "uram               0         0    0.0%",
        "fits",
        "dsp_pe: 128 LUT for 128 MACs per cycle = 1.0 LUT/MAC, netlist of 300 cells",
        "lut_pe: 640 LUT for 64 MACs per cycle = 10.0 LUT/MAC, netlist of 700 cells", "",
        "largest modules (own cells of one)       count     lut      ff  dsp  all lut",
        "alloy_lutpe                                  1     640       2    0      640",
        "alloy_dsppe                                  2     100       2    0      200",
        "alloy                                        1       5       2    0        5"]
    assert text.endswith("\n") and "does not fit" in report_text(report_of(BOARD, BOARD.config, {}, synthesis(50_000)))
    assert report_text(report_of(BOARD, BOARD.config, {}, None)).splitlines()[2:] == ["not synthesized"]


def test_paths():
    paths = [{"luts": 13, "carries": 8, "chains": 4, "start": "engine.a", "end": "engine.b", "modules": ("engine",)}]
    report = report_of(BOARD, BOARD.config, {}, None, paths)
    assert report["paths"] == paths
    assert report_text(report).splitlines()[-2:] == [
        "longest paths over module borders: LUT levels, carry cells, chains of these",
        " 13   8  4  engine.a -> engine.b"]
