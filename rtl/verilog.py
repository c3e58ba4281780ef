"""RTLIL to Verilog, with the Yosys that Amaranth itself uses."""

import sys

from spec.children import Children
from spec.errors import AlloyError

__all__ = ["to_verilog"]

# Runs in a process of its own, which can be stopped in the middle.
RUN = ("import sys; from amaranth._toolchain.yosys import find_yosys; "
       "yosys = find_yosys(lambda version: version >= (0, 40)); "
       "sys.stdout.write(yosys.run(['-q', '-'], sys.stdin.read(), ignore_warnings=True))")
ATTRIBUTES = ("generator", "top", "src", "amaranth.hierarchy", "amaranth.decoding")


def to_verilog(rtlil):
    """Verilog of all modules in ``rtlil`` (text); one Yosys start whatever their number."""
    remove = " ".join(f"-remove {name}" for name in ATTRIBUTES)
    script = [f"read_rtlil <<rtlil\n{rtlil}\nrtlil", "proc -nomux -norom", "memory_collect",
              f"attrmap {remove}", f"attrmap -modattr {remove}", "write_verilog -norename"]
    with Children() as children:
        status, verilog, errors = children.run([sys.executable, "-c", RUN], input="\n".join(script))
    if status:
        raise AlloyError(f"Yosys cannot write the Verilog: "
                         f"{(errors.strip().splitlines() or [f'exit status {status}'])[-1]}")
    return verilog
