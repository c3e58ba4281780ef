"""What a build reports: resources against the board's budget, by module and by MAC."""

from hashlib import sha256
from typing import Any

from boards import Board
from spec.config import EngineConfig
from spec.devices import RESOURCES

from .render import render

__all__ = ["report_of", "report_text"]

LARGEST = 10            # modules in the text


def report_of(board: Board, config: EngineConfig, files: dict[str, str], synthesis: dict | None,
              paths: list[dict] | None = None) -> dict:
    """The content of ``report.json``; ``synthesis`` is :func:`synthesize`'s result or None, ``paths`` are those of
    :func:`longest_paths`."""
    report: dict[str, Any] = {
        "platform": board.name, "clock_mhz": board.clock_mhz, "digest": config.digest, "part": board.part,
        "verilog_sha256": sha256("".join(files[n] for n in sorted(files)).encode()).hexdigest(),
        "resources": None, "budget": dict(board.budget), "fits": None,
        "macs_per_cycle": {"dsp": config.macs_dsp, "lut": config.macs_lut}, "lut_per_mac": None, "pe": None,
        "paths": paths}
    if synthesis is None:
        return report
    elements = {"dsp_pe": ("alloy_dsppe", 4 * config.ic), "lut_pe": ("alloy_lutpe", 2 * config.ic)}
    modules = synthesis["modules"]
    report["pe"] = {name: _element(modules[module], macs) for name, (module, macs) in elements.items()
                    if module in modules}
    report["lut_per_mac"] = dict.fromkeys(elements) | {
        name: round(element["lut"] / element["macs"], 2) for name, element in report["pe"].items()}
    report["resources"] = {r: synthesis["total"][r] for r in RESOURCES}
    report["fits"] = not board.over(synthesis["total"])
    report["modules"] = {n: {"count": m["count"], "cells": m["cells"], **m["own"]} for n, m in
                         sorted(modules.items(), key=lambda item: -item[1]["own"]["lut"] * item[1]["count"])}
    return report


def _element(module, macs):
    """A processing element with what is below it."""
    return {**{r: module["all"][r] for r in ("lut", "ff", "dsp")}, "cells": module["cells"], "macs": macs}


def report_text(report: dict) -> str:
    """Readable form of the report."""
    return render("report.txt", **report, largest=list(report.get("modules", {}).items())[:LARGEST])
