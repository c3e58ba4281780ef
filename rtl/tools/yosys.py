"""What is done with Yosys as a library, each in a process of its own: ``python yosys.py WHAT ARGUMENTS``.

An error of Yosys ends the process. Nothing of Alloy is imported here, so a process starts at once.
"""

from collections.abc import Callable
import json
from pathlib import Path
import sys

from pyosys import libyosys as ys

__all__ = ["flat", "mapped", "modules", "netlist"]


def modules(out: str, source: str) -> None:
    """Write the modules of the Verilog file ``source`` as JSON: where they are, their ports and what they instantiate.

    ``lines``: first and last. ``ports``: (direction, bits, name) in order. ``cells``: types, with repetitions.
    """
    design = ys.Design()
    ys.run_pass(f"tee -q -o {out}.log read_verilog {source}", design)
    found = {}
    for name, module in dict(design.modules_).items():
        lines = [int(line.split(".")[0]) for line in module.get_src_attribute().rsplit(":", 1)[1].split("-")]
        wires = [module.wire(port) for port in list(module.ports)]
        found[name.str()] = {
            "lines": lines, "cells": [cell.type.str() for cell in dict(module.cells_).values()],
            "ports": [("input" if wire.port_input else "output", wire.width, wire.name.str()) for wire in wires]}
    Path(out).write_text(json.dumps(found))


def netlist(out: str, ends: str, *steps: str) -> None:
    """Run the ``steps``; write ``stat`` of ``top_module`` as JSON, and ``ltp`` without ``ends`` to ``out.depth``."""
    design = ys.Design()
    for step in steps:
        ys.run_pass(f"tee -q -o {out}.log {step}", design)
    ys.run_pass(f"tee -q -o {out} stat -json -top top_module", design)
    ys.run_pass(f"delete {ends}", design)
    ys.run_pass(f"tee -q -o {out}.depth ltp top_module", design)


def flat(out: str, *steps: str) -> None:
    """Run the ``steps``; write the netlist of ``top_module`` as JSON."""
    design = ys.Design()
    for step in (*steps, "select top_module"):
        ys.run_pass(f"tee -q -o {out}.log {step}", design)
    ys.run_pass(f"write_json -selected {out}", design)


def mapped(out: str, *steps: str) -> None:
    """Run the ``steps``; write the design as JSON."""
    design = ys.Design()
    for step in (*steps, f"write_json {out}"):
        ys.run_pass(f"tee -q -o {out}.log {step}", design)


if __name__ == "__main__":
    tasks: dict[str, Callable[..., None]] = {"flat": flat, "mapped": mapped, "modules": modules, "netlist": netlist}
    tasks[sys.argv[1]](*sys.argv[2:])
