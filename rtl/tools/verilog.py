"""RTLIL to Verilog, with the Yosys that Amaranth itself uses, such that every tool reads the same from it.

All logic is continuous assignments, which start by themselves: an ``always @*`` waits for a change of its inputs, and
IEEE 1800 (6.8) gives variables the values of their declarations before anything waits.
"""

import re
import sys

from spec.children import Children
from spec.errors import AlloyError

__all__ = ["to_verilog"]

ATTRIBUTES = ("generator", "top", "src", "amaranth.hierarchy", "amaranth.decoding", "full_case", "unused_bits")
# Names that tools take for others: Yosys keeps a leading dollar for itself, an index in brackets is a bit of a vector.
DOLLAR, INDEX = re.compile(r"\\\$(?=\w)"), re.compile(r"(?<=\S)\[(\d+)\]")
DECLARED = re.compile(r"^( +)reg (\[[0-9:]+\] )?(\\\S+ |[A-Za-z_][\w$]*) = ([^;]+);", re.M)
# Runs in a process of its own, which can be stopped in the middle.
RUN = ("import sys; from amaranth._toolchain.yosys import find_yosys; "
       "yosys = find_yosys(lambda version: version >= (0, 40)); "
       "sys.stdout.write(yosys.run(['-q', '-'], sys.stdin.read(), ignore_warnings=True))")


def to_verilog(rtlil: str) -> str:
    """Verilog of all modules in ``rtlil`` (text); one Yosys start whatever their number."""
    rtlil = INDEX.sub(r".\1", DOLLAR.sub(r"\\unnamed_", rtlil))
    remove = " ".join(f"-remove {name}" for name in ATTRIBUTES)
    # ``opt_clean`` drops wires that only repeat a part of another (a field of a struct) and those without a bit.
    script = [f"read_rtlil <<rtlil\n{rtlil}\nrtlil", "proc -norom", "memory_collect", "opt_clean -purge",
              f"attrmap {remove}", f"attrmap -modattr {remove}", "write_verilog"]
    with Children() as children:
        status, verilog, errors = children.run([sys.executable, "-c", RUN], input="\n".join(script))
    if status:
        raise AlloyError(f"Yosys cannot write the Verilog: "
                         f"{(errors.strip().splitlines() or [f'exit status {status}'])[-1]}")
    # A value in the declaration of what a process assigns looks like two drivers to linters.
    return DECLARED.sub(r"\1reg \2\3;\n\1initial \3 = \4;", verilog)
