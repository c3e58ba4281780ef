"""Resources by synthesis: every distinct module of the generated Verilog on its own, summed over the instances.

The hierarchy is kept, so this is what one run over the whole design gives, in parallel and in little memory. Yosys runs as ``pyosys``, the
native library (the WebAssembly build runs out of memory on the largest modules).
"""

from concurrent.futures import ThreadPoolExecutor
import json
import os
from pathlib import Path
import re
import subprocess
import sys
import tempfile

from spec.errors import AlloyError

__all__ = ["synthesize", "split_modules", "RESOURCES"]

RESOURCES = ("lut", "ff", "dsp", "bram36", "uram")
MODULE = re.compile(r"^module (\\\S+ |[A-Za-z_]\w*)\((.*?)^endmodule", re.S | re.M)
INSTANCE = re.compile(r"^  (\\\S+ |[A-Za-z_]\w*)(?: #\(.*?\))? (\\\S+ |[A-Za-z_]\w*) \(", re.S | re.M)
# LUTs of one cell; other LUTRAM cells are refused rather than guessed.
LUTS = {**{f"LUT{n}": 1 for n in range(1, 7)}, "LUT6_2": 1, "INV": 0, "SRL16E": 1, "SRLC32E": 1, "SRLC16E": 1,
        "RAM32X1S": 1, "RAM64X1S": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8,
        "RAM64M8": 8, "RAM32X16DR8": 8, "RAM64X8SW": 8, "RAM128X1S": 2, "RAM256X1S": 4, "RAM512X1S": 8}
NOTHING = ("CARRY4", "CARRY8", "MUXF7", "MUXF8", "MUXF9", "BUFG", "IBUF", "OBUF", "VCC", "GND")
# The LUT step of ``synth_xilinx`` with the classic mapper: abc9 of Yosys 0.70 stops with a name clash on the feeder.
STEPS = ("read_verilog {source}", "synth_xilinx -family {family} -top top_module -noiopad -noclkbuf -run begin:map_luts",
         "opt_expr -mux_undef -noclkinv", "abc -luts 2:2,3,6:5,10,20", "clean", "xilinx_srl -fixed -minlen 3",
         "techmap -map +/xilinx/lut_map.v -map +/xilinx/cells_map.v -D LUT_WIDTH=6", "xilinx_dffopt", "opt_lut_ins -tech xilinx", "clean")
SCRIPT = ("from pyosys import libyosys as ys; import sys; d = ys.Design(); out = sys.argv[1]; "
          "[ys.run_pass(f'tee -q -o {out}.log ' + step, d) for step in sys.argv[2:]]; "
          "ys.run_pass(f'tee -q -o {out} stat -json -top top_module', d)")


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


def _count(cells):
    """Resources of one module's own cells."""
    out = dict.fromkeys(RESOURCES, 0)
    for cell, count in cells.items():
        if cell in LUTS:
            out["lut"] += LUTS[cell] * count
        elif cell.startswith(("FD", "LD")):
            out["ff"] += count
        elif cell.startswith("DSP48"):
            out["dsp"] += count
        elif cell.startswith("RAMB"):
            out["bram36"] += count * (0.5 if cell.startswith("RAMB18") else 1)
        elif cell.startswith("URAM"):
            out["uram"] += count
        elif cell not in NOTHING:
            raise AlloyError(f"synthesis left a cell {cell}, whose size is not known: add it to rtl/synth.py")
    return out


def _synthesize(name, modules, children, family, folder):
    source = Path(folder) / f"{abs(hash(name))}.v"
    # A plain name keeps the tool's command line simple.
    own = modules[name].replace(f"module {name} (" if name.startswith("\\") else f"module {name}(", "module top_module(", 1)
    source.write_text(own + "\n" + "\n".join(_stub(modules[c]) for c in sorted(set(children[name]))))
    out = source.with_suffix(".json")
    steps = [step.format(source=source, family=family) for step in STEPS]
    done = subprocess.run([sys.executable, "-c", SCRIPT, out, *steps], capture_output=True, text=True)
    if done.returncode or not out.exists():
        raise AlloyError(f"synthesis of module {name} failed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")
    data = json.loads(out.read_text()[out.read_text().index("{"):])
    cells = next(v for k, v in data["modules"].items() if k.strip("\\") == "top_module")["num_cells_by_type"]
    known = {c.lstrip("\\") for c in children[name]} | set(children[name])
    cells = {k: v for k, v in cells.items() if k not in known and k.lstrip("\\") not in known and k != "$scopeinfo"}
    return {"own": _count(cells), "cells": int(sum(cells.values()))}


def synthesize(text, top, family, *, report=print):
    """Synthesize the Verilog ``text`` for ``family`` ("xcup", "xc7").

    Returns
    -------
    dict with ``total`` (resources of ``top`` with everything below) and ``modules``: name -> own resources, ``cells`` of its netlist, ``all``
    (with what is below) and ``count`` (instances in the design).
    """
    modules, children = split_modules(text)
    results = {}
    order = sorted(modules, key=lambda n: -len(modules[n]))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {name: pool.submit(_synthesize, name, modules, children, family, folder) for name in order}
        for index, name in enumerate(order):
            results[name] = jobs[name].result()
            report(f"synthesis {index + 1} of {len(order)}: {name} {results[name]['own']['lut']} LUT")
    totals = {}

    def total(name):
        if name not in totals:
            parts = [results[name]["own"]] + [total(c) for c in children[name]]
            totals[name] = {r: sum(p[r] for p in parts) for r in RESOURCES}
        return totals[name]
    counts = dict.fromkeys(modules, 0)

    def walk(name):
        counts[name] += 1
        for child in children[name]:
            walk(child)
    walk(top)
    return {"total": total(top), "modules": {n: {**results[n], "all": total(n), "count": counts[n]} for n in modules}}
