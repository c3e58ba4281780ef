"""Resources by synthesis: every distinct module of the generated Verilog on its own, summed over the instances.

The hierarchy is kept, so this is what one run over the whole design gives, in parallel and in little memory. Yosys runs
as ``pyosys``, the native library (the WebAssembly build runs out of memory on the largest modules).
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.util import find_spec
import json
import os
from pathlib import Path
import re
import sys
import tempfile

from spec.children import Children
from spec.devices import RESOURCES
from spec.devices import family as family_of
from spec.errors import AlloyError
from spec.progress import going

__all__ = ["find_yosys", "prepare", "read_parts", "run_yosys", "split_modules", "synthesize"]

# Each adder becomes a carry chain of one LUT per bit, as vendor tools map it. Left alone, Yosys merges adder trees into
# carry-save form, which takes two LUTs per bit and level.
ADDERS = """(* techmap_celltype = "$add" *)
module alloy_add (A, B, Y);
    parameter A_SIGNED = 0, B_SIGNED = 0, A_WIDTH = 1, B_WIDTH = 1, Y_WIDTH = 1;
    input [A_WIDTH-1:0] A;
    input [B_WIDTH-1:0] B;
    output [Y_WIDTH-1:0] Y;
    wire [Y_WIDTH-1:0] X, CO;
    \\$alu #(.A_SIGNED(A_SIGNED), .B_SIGNED(B_SIGNED), .A_WIDTH(A_WIDTH), .B_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH))
        _TECHMAP_REPLACE_ (.A(A), .B(B), .BI(1'b0), .CI(1'b0), .X(X), .Y(Y), .CO(CO));
endmodule
"""
# A product with a constant of at most two ones is one adder, not a DSP slice.
TIMES = """(* techmap_celltype = "$mul" *)
module alloy_times (A, B, Y);
    parameter A_SIGNED = 0, B_SIGNED = 0, A_WIDTH = 1, B_WIDTH = 1, Y_WIDTH = 1;
    parameter _TECHMAP_CONSTMSK_B_ = 0, _TECHMAP_CONSTVAL_B_ = 0;
    input [A_WIDTH-1:0] A;
    input [B_WIDTH-1:0] B;
    output [Y_WIDTH-1:0] Y;
    localparam [B_WIDTH-1:0] ALL = _TECHMAP_CONSTVAL_B_;
    localparam [B_WIDTH-1:0] LOW = ALL & (~ALL + 1);
    localparam [B_WIDTH-1:0] HIGH = ALL ^ LOW;
    localparam KNOWN = !A_SIGNED && _TECHMAP_CONSTMSK_B_ == {B_WIDTH{1'b1}};
    wire _TECHMAP_FAIL_ = !KNOWN || LOW == 0 || HIGH == 0 || (HIGH & (HIGH - 1)) != 0;
    assign Y = (A << $clog2(LOW)) + (A << $clog2(HIGH));
endmodule
"""
YOSYS = Path(__file__).with_name("yosys.py")
DEPTH = re.compile(r"Longest topological path in \S+ \(length=(\d+)\)")      # what ``ltp`` says


@dataclass(frozen=True)
class Part:
    """A module: its Verilog under the name ``top_module``, a black box with its ports, the modules it instantiates."""
    source: str
    stub: str
    children: tuple

    def alone(self, parts: Mapping[str, "Part"]) -> str:
        """Verilog of the module with black boxes for what it instantiates."""
        return self.source + "\n" + "\n".join(parts[child].stub for child in sorted(set(self.children)))


def _name(name):
    """A name of Yosys in Verilog."""
    return name[1:] if name[1:].isidentifier() else name


def run_yosys(children: Children, what: str, out: str, *arguments: str, folder: Path) -> str | None:
    """Run ``what`` of :mod:`rtl.tools.yosys` in ``folder``, to the file ``out``; the message if it fails, or None."""
    # Names without a folder and a TMPDIR of its own: Yosys and abc take no path with a space, the shell between them
    # none with a dollar sign.
    status, said, errors = children.run([sys.executable, "-P", YOSYS, what, out, *arguments], cwd=folder,
                                        env=os.environ | {"TMPDIR": "."})
    if not status:
        return None
    log = folder / f"{out}.log"
    lines = (errors + said + (log.read_text() if log.exists() else "")).strip().splitlines()
    last = f"exit status {status} after {lines[-1] if lines else 'nothing'}"
    return next((line for line in lines if "ERROR" in line), last)


def _part(name, found, lines, modules):
    """The :class:`Part` of one entry of what ``modules`` of :mod:`rtl.tools.yosys` writes."""
    first, last = found["lines"]
    own = "\n".join(lines[first - 1:last])
    ports = [(direction, f"[{width - 1}:0] " if width > 1 else "", port + " ")       # escaped: it may be a keyword
             for direction, width, port in found["ports"]]
    stub = "\n".join([f"(* blackbox *)\nmodule {_name(name)} ({', '.join(port for *_, port in ports)});",
                      *(f"{direction} {bits}{port};" for direction, bits, port in ports), "endmodule\n"])
    return Part("module top_module" + own[own.index("("):], stub,
                tuple(_name(c) for c in found["cells"] if c in modules))


def read_parts(children: Children, text: str, folder: Path) -> dict[str, Part]:
    """Name -> :class:`Part` of every module of the Verilog ``text``."""
    (folder / "all.v").write_text(text)
    wrong = run_yosys(children, "modules", "all.json", "all.v", folder=folder)
    if wrong:
        raise AlloyError(f"Yosys cannot read the Verilog: {wrong}")
    modules = json.loads((folder / "all.json").read_text())
    lines, order = text.split("\n"), sorted(modules, key=lambda name: modules[name]["lines"])
    return {_name(name): _part(name, modules[name], lines, modules) for name in order}


def split_modules(text: str) -> dict[str, Part]:
    """The modules of the Verilog ``text`` by name."""
    with tempfile.TemporaryDirectory() as folder, Children() as children:
        return read_parts(children, text, Path(folder))


def _count(cells, family):
    """Resources of one module's own cells."""
    out = dict.fromkeys(RESOURCES, 0)
    for cell, count in cells.items():
        known = next((what for pattern, what in family.cells.items() if fnmatchcase(cell, pattern)), None)
        if known is None:
            raise AlloyError(f"synthesis left a cell {cell}, whose size is not known: "
                             f"add it to the cells of {family.name} in spec/devices")
        resource, each = known
        if resource is not None:
            out[resource] += each * count
    return out


def _synthesize(children, source, known, family):
    """Synthesize the Verilog file ``source``.

    Returns cell type -> count and the cells on the longest path between registers, without the instances of the modules
    ``known``; a message if Yosys fails.
    """
    out, known = source.with_suffix(".json"), {c.lstrip("\\") for c in known}
    ends = " ".join(f"t:{name}" for name in (*family.state, *sorted(known)))
    steps = [step.format(source=source.name, mapper=family.area) for step in family.steps]
    wrong = run_yosys(children, "netlist", out.name, ends, *steps, folder=source.parent)
    if wrong:
        return wrong
    text = out.read_text()
    data = json.loads(text[text.index("{"):])
    cells = next(v for k, v in data["modules"].items() if k.strip("\\") == "top_module")["num_cells_by_type"]
    depth = DEPTH.search(Path(f"{out}.depth").read_text())
    own = {k: v for k, v in cells.items() if k.lstrip("\\") not in known and k != "$scopeinfo"}
    return own, int(depth[1]) if depth else 0


def _total(top, parts, results):
    """Module -> resources and cells with everything below it, and the number of its instances in ``top``."""
    totals, counts = {}, dict.fromkeys(parts, 0)

    def total(name):
        if name not in totals:
            below = [total(child) for child in parts[name].children]
            own = {**results[name]["own"], "cells": results[name]["cells"]}
            totals[name] = {key: value + sum(p[key] for p in below) for key, value in own.items()}
        return totals[name]

    def walk(name):
        counts[name] += 1
        for child in parts[name].children:
            walk(child)
    walk(top)
    return {name: total(name) for name in parts}, counts


def find_yosys() -> Path:
    """The folder of Yosys as a Python library."""
    found = find_spec("pyosys")
    if found is None or found.origin is None:
        raise AlloyError("synthesis needs Yosys as a Python library: install pyosys, or build with --no-synth")
    return Path(found.origin).parent


def prepare(folder: Path) -> None:
    """Put what the ``steps`` of a family use into ``folder``."""
    (folder / "yosys-abc").symlink_to(find_yosys() / "yosys-abc")
    (folder / "adders.v").write_text(ADDERS)
    (folder / "times.v").write_text(TIMES)


def synthesize(text: str, top: str, family: str, *, report: Callable[[str], object] = print) -> dict:
    """Synthesize the Verilog ``text`` for ``family``; ``report`` is called with a line of text after each module.

    Returns
    -------
    dict with ``total`` (resources of ``top`` with everything below) and ``modules``: name -> ``own`` resources, the
    same with what is below (``all``), ``cells`` of its netlist with what is below, ``depth`` (cells on its longest path
    between registers or ports, carry chains included, without what is below) and ``count`` (instances in the design).
    """
    known = family_of(family)
    find_yosys()
    results: dict[str, dict] = {}
    jobs: dict[str, Future] = {}
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(os.cpu_count()) as pool, Children() as children:
        folder = Path(temporary)
        parts = read_parts(children, text, folder)
        if top not in parts:
            raise AlloyError(f"the Verilog has no module {top}: synthesis needs the text that rtl.generate gives")
        order = sorted(parts, key=lambda n: -len(parts[n].source))
        prepare(folder)
        for name in order:
            source = parts[name].alone(parts)
            if source not in jobs:      # modules with the same body are synthesized once
                path = folder / f"{len(jobs)}.v"
                path.write_text(source)
                jobs[source] = pool.submit(_synthesize, children, path, parts[name].children, known)
        for index, name in enumerate(order):
            with going(report, f"synthesis {index} of {len(order)} done", 20):
                result = jobs[parts[name].alone(parts)].result()
            if isinstance(result, str):
                raise AlloyError(f"synthesis of module {name} failed: {result}")
            cells, depth = result
            results[name] = {"own": _count(cells, known), "cells": sum(cells.values()), "depth": depth}
            report(f"synthesis {index + 1} of {len(order)}: {name} {results[name]['own']['lut']} LUT")
    totals, counts = _total(top, parts, results)
    every = {n: {r: totals[n][r] for r in RESOURCES} for n in parts}
    return {"total": every[top],
            "modules": {n: {"own": results[n]["own"], "cells": totals[n]["cells"], "all": every[n],
                            "depth": results[n]["depth"], "count": counts[n]} for n in parts}}
