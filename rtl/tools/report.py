"""What a build reports: resources against the board's budget, by module and by MAC."""

from hashlib import sha256

from spec.devices import RESOURCES

__all__ = ["report_of", "report_text"]

LARGEST = 10            # modules in the text


def report_of(board, config, files, synthesis):
    """The content of ``report.json``; ``synthesis`` is :func:`synthesize`'s result or None."""
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


def report_text(report):
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
