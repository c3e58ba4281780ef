"""Resources by synthesis: every distinct module of the generated Verilog on its own, summed over the instances.

The hierarchy is kept, so this is what one run over the whole design gives, in parallel and in little memory. Yosys runs as ``pyosys``, the
native library (the WebAssembly build runs out of memory on the largest modules).
"""

from concurrent.futures import ThreadPoolExecutor
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

__all__ = ["synthesize", "split_modules"]

MODULE = re.compile(r"^module (\\\S+ |[A-Za-z_]\w*)\((.*?)^endmodule", re.S | re.M)
INSTANCE = re.compile(r"^  (\\\S+ |[A-Za-z_]\w*)(?: #\(.*?\))? (\\\S+ |[A-Za-z_]\w*) \(", re.S | re.M)
# Each adder becomes a carry chain of one LUT per bit, as vendor tools map it. Left alone, Yosys merges adder trees into carry-save
# form, which takes two LUTs per bit and level.
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
    wire _TECHMAP_FAIL_ = A_SIGNED || _TECHMAP_CONSTMSK_B_ != {B_WIDTH{1'b1}} || LOW == 0 || HIGH == 0 || (HIGH & (HIGH - 1)) != 0;
    assign Y = (A << $clog2(LOW)) + (A << $clog2(HIGH));
endmodule
"""
SCRIPT = ("from pyosys import libyosys as ys; import sys; d = ys.Design(); out = sys.argv[1]; "
          "[ys.run_pass(f'tee -q -o {out}.log ' + step, d) for step in sys.argv[3:]]; "
          "ys.run_pass(f'tee -q -o {out} stat -json -top top_module', d); ys.run_pass('delete ' + sys.argv[2], d); "
          "ys.run_pass(f'tee -q -o {out}.depth ltp top_module', d)")
DEPTH = re.compile(r"Longest topological path in \S+ \(length=(\d+)\)")


def split_modules(text):
    """Module name -> its Verilog, and module name -> list of the modules it instantiates (with repetitions)."""
    modules = {m.group(1).strip(): m.group(0) for m in MODULE.finditer(text)}
    children = {}
    for name, body in modules.items():
        found = (m.group(1).strip() for m in INSTANCE.finditer(body))
        children[name] = [child for child in found if child in modules]
    return modules, children


def _stub(text):
    """A black box with the ports of a module."""
    head = text[:text.index(");") + 2]
    ports = re.findall(r"^  ((?:input|output) .*?;)", text, re.M)
    return "(* blackbox *)\n" + head + "\n" + "\n".join(ports) + "\nendmodule\n"


def _count(cells, family):
    """Resources of one module's own cells."""
    out = dict.fromkeys(RESOURCES, 0)
    for cell, count in cells.items():
        known = next((what for pattern, what in family.cells.items() if fnmatchcase(cell, pattern)), None)
        if known is None:
            raise AlloyError(f"synthesis left a cell {cell}, whose size is not known: add it to the cells of {family.name} in spec/devices")
        resource, each = known
        if resource is not None:
            out[resource] += each * count
    return out


def _source(name, modules, children):
    """Verilog of one module, called ``top_module``, with black boxes for what it instantiates."""
    own = modules[name].replace(f"module {name} (" if name.startswith("\\") else f"module {name}(", "module top_module(", 1)
    return own + "\n" + "\n".join(_stub(modules[c]) for c in sorted(set(children[name])))


def _synthesize(children, source, known, family):
    """(cell type -> count, cells on the longest path between registers) of the Verilog file ``source`` without the instances of the modules
    ``known``; a message if Yosys fails."""
    out, known = source.with_suffix(".json"), {c.lstrip("\\") for c in known}
    ends = " ".join(f"t:{name}" for name in (*family.state, *sorted(known)))
    steps = [step.format(source=source.name) for step in family.steps]
    # Names without a folder and a TMPDIR of its own: Yosys and abc take no path with a space, the shell between them
    # none with a dollar sign.
    status, said, errors = children.run([sys.executable, "-c", SCRIPT, out.name, ends, *steps], cwd=source.parent,
                                        env=os.environ | {"TMPDIR": "."})
    if status or not out.exists():
        lines = (errors + said).strip().splitlines()
        last = f"exit status {status} after {lines[-1] if lines else 'nothing'}"
        return next((line for line in lines if "ERROR" in line), last)
    text = out.read_text()
    data = json.loads(text[text.index("{"):])
    cells = next(v for k, v in data["modules"].items() if k.strip("\\") == "top_module")["num_cells_by_type"]
    depth = DEPTH.search(Path(f"{out}.depth").read_text())
    return {k: v for k, v in cells.items() if k.lstrip("\\") not in known and k != "$scopeinfo"}, int(depth[1]) if depth else 0


def synthesize(text, top, family, *, report=print):
    """Synthesize the Verilog ``text`` for ``family`` ("xcup", "xc7"); ``report`` is called with a line of text after each module.

    Returns
    -------
    dict with ``total`` (resources of ``top`` with everything below) and ``modules``: name -> ``own`` resources, the same with what is
    below (``all``), ``cells`` of its netlist with what is below, ``depth`` (cells on its longest path between registers or ports, carry
    chains included, without what is below) and ``count`` (instances in the design).
    """
    family = family_of(family)
    modules, parts = split_modules(text)
    if top not in modules:
        raise AlloyError(f"the Verilog has no module {top}: synthesis needs the text that rtl.generate gives")
    yosys = find_spec("pyosys")
    if yosys is None:
        raise AlloyError("synthesis needs Yosys as a Python library: install pyosys, or build with --no-synth")
    results, jobs = {}, {}
    order = sorted(modules, key=lambda n: -len(modules[n]))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool, Children() as children:
        folder = Path(folder)
        (folder / "yosys-abc").symlink_to(Path(yosys.origin).with_name("yosys-abc"))
        (folder / "adders.v").write_text(ADDERS)
        (folder / "times.v").write_text(TIMES)
        for name in order:
            source = _source(name, modules, parts)
            if source not in jobs:      # modules with the same body are synthesized once
                path = folder / f"{len(jobs)}.v"
                path.write_text(source)
                jobs[source] = pool.submit(_synthesize, children, path, parts[name], family)
        for index, name in enumerate(order):
            with going(report, lambda index=index: f"synthesis {index} of {len(order)} done", 20):
                result = jobs[_source(name, modules, parts)].result()
            if isinstance(result, str):
                raise AlloyError(f"synthesis of module {name} failed: {result}")
            cells, depth = result
            results[name] = {"own": _count(cells, family), "cells": sum(cells.values()), "depth": depth}
            report(f"synthesis {index + 1} of {len(order)}: {name} {results[name]['own']['lut']} LUT")
    totals, counts = {}, dict.fromkeys(modules, 0)

    def total(name):
        if name not in totals:
            below = [total(child) for child in parts[name]]
            own = {**results[name]["own"], "cells": results[name]["cells"]}
            totals[name] = {key: value + sum(p[key] for p in below) for key, value in own.items()}
        return totals[name]

    def walk(name):
        counts[name] += 1
        for child in parts[name]:
            walk(child)
    walk(top)
    every = {n: {r: total(n)[r] for r in RESOURCES} for n in modules}
    return {"total": every[top],
            "modules": {n: {"own": results[n]["own"], "cells": total(n)["cells"], "all": every[n], "depth": results[n]["depth"], "count": counts[n]}
                        for n in modules}}
