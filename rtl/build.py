"""``python -m rtl.build``: the engine's Verilog with everything a user needs around it.

Writes into the output directory: Verilog, register and command map (C header, JSON, Markdown), configuration, Vivado script,
``report.json`` and ``report.txt``. They appear only when all of them are there. A later build into the same directory
replaces the files that this one wrote and leaves everything else.
"""

import argparse
from hashlib import sha256
import json
from pathlib import Path
import sys

import boards
from spec.config import EngineConfig
from spec.errors import AlloyError, command_line
from spec.files import check_outputs, write_text
from spec.folders import check_generated, generating
from spec.progress import going, say as _say

from .regmap import write_pages, write_software
from .synth import RESOURCES, synthesize
from .top import TOP, generate

__all__ = ["build", "report_of", "main"]

LARGEST = 10            # modules in report.txt
REPORT = "report.json"
FILES = (f"{TOP}.v", "alloy_regs.h", "alloy_regs.json", "registers.md", "commands.md", "config.json", "vivado.tcl",
         "report.txt", REPORT)


def report_of(board, config, files, synthesis):
    """The content of ``report.json``; ``synthesis`` is :func:`rtl.synth.synthesize`'s result or None."""
    macs = {"dsp": config.macs_dsp, "lut": config.macs_lut}
    report = {"platform": board.name, "clock_mhz": board.clock_mhz, "digest": config.digest, "part": board.part,
              "verilog_sha256": sha256("".join(files[n] for n in sorted(files)).encode()).hexdigest(),
              "resources": None, "budget": dict(board.budget), "fits": None, "macs_per_cycle": macs, "lut_per_mac": None, "pe": None}
    if synthesis is None:
        return report
    elements = {"dsp_pe": ("alloy_dsppe", 4 * config.ic), "lut_pe": ("alloy_lutpe", 2 * config.ic)}
    modules = synthesis["modules"]
    report["pe"] = {}
    for name, (module, macs_each) in elements.items():
        if module in modules:
            used = modules[module]["all"]
            report["pe"][name] = {"lut": used["lut"], "ff": used["ff"], "dsp": used["dsp"], "cells": modules[module]["cells"],
                                  "macs": macs_each}
    report["lut_per_mac"] = {name: round(report["pe"][name]["lut"] / report["pe"][name]["macs"], 2) if name in report["pe"] else None
                             for name in elements}
    report["resources"] = {r: synthesis["total"][r] for r in RESOURCES}
    report["fits"] = not board.over(synthesis["total"])
    report["modules"] = {n: {"count": m["count"], "cells": m["cells"], **m["own"]} for n, m in
                         sorted(modules.items(), key=lambda item: -item[1]["own"]["lut"] * item[1]["count"])}
    return report


def _text(report):
    """Readable form of the report."""
    lines = [f"{report['platform']} ({report['part']}), configuration {report['digest']}, {report['clock_mhz']} MHz",
             f"MACs per cycle: {report['macs_per_cycle']['dsp']} on DSPs, {report['macs_per_cycle']['lut']} on LUTs"]
    if report["resources"] is None:
        return "\n".join([*lines, "not synthesized"]) + "\n"
    lines += ["", f"{'resource':10}{'used':>10}{'budget':>10}{'share':>8}"]
    for name, used in report["resources"].items():
        budget = report["budget"][name]
        lines.append(f"{name:10}{used:>10g}{budget:>10}{used / budget if budget else 0:>8.1%}")
    lines.append("fits" if report["fits"] else "does not fit")
    for name, pe in report["pe"].items():
        lines.append(f"{name}: {pe['lut']} LUT for {pe['macs']} MACs per cycle = {report['lut_per_mac'][name]} LUT/MAC, "
                     f"netlist of {pe['cells']} cells")
    lines += ["", f"{'largest modules (own cells of one)':40}{'count':>6}{'lut':>8}{'ff':>8}{'dsp':>5}{'all lut':>9}"]
    lines += [f"{n:40}{m['count']:>6}{m['lut']:>8}{m['ff']:>8}{m['dsp']:>5}{m['lut'] * m['count']:>9}"
              for n, m in list(report["modules"].items())[:LARGEST]]
    return "\n".join(lines) + "\n"


def build(board, config, out, *, synth=True, say=_say):
    """Generate into directory ``out``; returns the report.

    Raises :class:`AlloyError` if the configuration does not fit the board, or if ``out`` holds files of the same names
    that no earlier build wrote or that were edited since; ``out`` then stays as it was.
    """
    out = Path(out).resolve()
    check_generated(out, REPORT, FILES)
    board.check(config)
    say(f"elaborating {config.name}, digest {config.digest}")
    with going(say, f"elaborating {config.name}", 10):
        files = generate(config)
    say(f"{sum(map(len, files.values())) // 1024} KiB of Verilog")
    synthesis = synthesize("\n".join(files.values()), TOP, board.family, report=say) if synth else None
    if synthesis:
        board.refuse(synthesis["total"])
    report = report_of(board, config, files, synthesis)
    try:
        with generating(out, REPORT, report) as fresh:
            for name, text in files.items():
                write_text(fresh / name, text)
            write_software(fresh)
            write_pages(fresh)
            write_text(fresh / "config.json",
                       json.dumps({**config.to_dict(), "digest": config.digest}, indent=2) + "\n")
            write_text(fresh / "vivado.tcl", board.project(sorted(files), TOP))
            write_text(fresh / "report.txt", _text(report))
    except OSError as error:
        raise AlloyError(f"cannot write {out}: {error}") from None
    return report


@command_line
def main(arguments=None):
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m rtl.build", description=__doc__)
    parser.add_argument("--platform", required=True, help=f"one of {', '.join(boards.BOARDS)}")
    parser.add_argument("--out", help="output directory (default build/PLATFORM)")
    parser.add_argument("--config", help="engine configuration (JSON) instead of the board's own")
    parser.add_argument("--no-synth", action="store_true", help="skip synthesis: no resources in the report")
    args = parser.parse_args(arguments)
    board = boards.get(args.platform)
    config = EngineConfig.load(args.config) if args.config else board.config
    out = Path(args.out or Path("build") / board.name)
    check_generated(out, REPORT, FILES)
    check_outputs(*(out / name for name in FILES), inputs=(args.config,))
    report = build(board, config, out, synth=not args.no_synth)
    print(_text(report), end="")
    print(f"written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
