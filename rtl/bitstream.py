"""Bitstreams for small boards with open tools alone: an engine with memory on the chip, and a host behind a UART."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
import json
from pathlib import Path
from typing import Any

from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.files import write_text
from spec.folders import check_generated, generating
from spec.progress import going, say as _say
from spec.uart import BAUD

from .platforms import platform
from .system import System, Top
from .tools import PROJECT, banner, bitstream, find_nextpnr, render

__all__ = ["FILES", "SMALL", "Small", "build_small", "small_text"]

REPORT = "report.json"
FILES = (*PROJECT, "alloy.bit", "config.json", "report.txt", REPORT)


@dataclass(frozen=True)
class Small:
    """What is built for a board if nothing else is said: the engine, bytes of memory in the place of DRAM, clock."""
    config: EngineConfig
    memory_bytes: int
    clock_hz: float


CONFIG = EngineConfig(name="small", ic=4, pixels=2, dsp_filters=2, lut_filters=1, dsp_device="mult18", act_depth=128,
                      weight_depth=32, param_depth=4, tap_depth=18, ports=1, port_bits=64, addr_bits=32, burst=8,
                      outstanding=2, queue_depth=2, tables=1)
SMALL = {name: Small(CONFIG, 1 << 17, 75e6) for name in ("ulx3s", "ecpix5")}


def _project(name, small, config, verilog):
    """(part, name -> text) of the project that Amaranth makes of the system."""
    board = platform(name)
    board.add_file("alloy.v", banner(config) + verilog)
    system = System(config, memory_bytes=small.memory_bytes, clock_hz=small.clock_hz, baud=BAUD)
    plan = board.build(Top(system), do_build=False)
    texts = {at: text if isinstance(text, str) else text.decode() for at, text in plan.files.items()}
    return f"{board.device}-{board.speed}{board.package}", {at: texts[at] for at in PROJECT}


def build_small(name: str, config: EngineConfig, generate: Callable[[EngineConfig], dict[str, str]], out: str | Path, *,
                synth: bool = True, say: Callable[[str], object] = _say) -> dict[str, Any]:
    """Build the system of board ``name`` around the engine that ``generate`` gives for ``config`` into directory
    ``out``; returns the report.

    Without ``synth`` the project is written, and no bitstream made. Raises :class:`AlloyError` if the tools are not
    there, if the design does not fit, or if its clock is too fast for it; ``out`` then stays as it was.
    """
    out, small = Path(out).resolve(), SMALL[name]
    check_generated(out, REPORT, FILES)
    if synth:
        find_nextpnr()          # before the long work
    with going(say, f"elaborating {config.name}", 10):
        part, files = _project(name, small, config, generate(config)["alloy.v"])
    report: dict[str, Any] = {
        "platform": name, "part": part, "clock_mhz": small.clock_hz / 1e6, "digest": config.digest, "baud": BAUD,
        "memory_bytes": small.memory_bytes, "macs_per_cycle": {"dsp": config.macs_dsp, "lut": config.macs_lut},
        "verilog_sha256": sha256(files["alloy.v"].encode()).hexdigest(), "fmax_mhz": None, "used": None,
        "available": None}
    found = bitstream(files, report=say) if synth else None
    if found:
        report |= {key: found[key] for key in ("fmax_mhz", "used", "available")}
        if found["fmax_mhz"] < report["clock_mhz"]:
            raise AlloyError(f"the engine reaches {found['fmax_mhz']} MHz on {name} and the system has a clock of "
                             f"{report['clock_mhz']:g} MHz: take a smaller engine")
    try:
        with generating(out, REPORT, report) as fresh:
            for at, text in files.items():
                write_text(fresh / at, text)
            if found:
                (fresh / "alloy.bit").write_bytes(found["bit"])
            write_text(fresh / "config.json",
                       json.dumps({**config.to_dict(), "digest": config.digest}, indent=2) + "\n")
            write_text(fresh / "report.txt", small_text(report))
    except OSError as error:
        raise AlloyError(f"cannot write {out}: {error}") from None
    return report


def small_text(report: dict[str, Any]) -> str:
    """Readable form of the report."""
    return render("small.txt", **report)
