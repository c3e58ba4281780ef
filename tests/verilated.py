"""Verilator in tests: the Verilog of one component, for comparison with Amaranth's simulator, and where built engines
are kept."""

import os
from pathlib import Path
import subprocess

from amaranth.back import rtlil

from rtl.prim import Library
from rtl.tools import to_verilog
from sim.verilator import CXXFLAGS, tool

__all__ = ["run_component", "shared_cache"]


def shared_cache(tmp_path_factory):
    """A folder of built simulators for all tests of a session: a minute of a core for each engine. The variable
    ``ALLOY_TEST_CACHE`` names one that stays."""
    if "ALLOY_TEST_CACHE" in os.environ:
        return Path(os.environ["ALLOY_TEST_CACHE"])
    root = tmp_path_factory.getbasetemp()
    return (root.parent if root.name.startswith("popen-") else root) / "verilator"


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
    (binary, root), library = tool(), Library()
    top = rtlil.convert(component, name="dut", platform=library, emit_src=False)
    rows = ", ".join("{" + ", ".join(map(str, row)) + "}" for row in values)
    (folder / "dut.v").write_text(to_verilog(library.rtlil() + "\n" + top))
    (folder / "driver.cpp").write_text(DRIVER % {
        "cycles": len(values), "count": len(inputs), "rows": rows,
        "set": " ".join(f"t.{n} = row[at++];" for n in inputs),
        "print": " ".join(f'std::printf("%u ", (unsigned)t.{n});' for n in outputs)})

    def call(*command):
        done = subprocess.run(command, cwd=folder, env={**os.environ, "VERILATOR_ROOT": str(root)}, capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout
    call(binary, "--cc", "--top-module", "dut", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--Mdir", "obj", "dut.v")
    sources = [*(folder / "obj").glob("*.cpp"),
               *(root / "include" / f"verilated{part}.cpp" for part in ("", "_threads")), "driver.cpp"]
    call("g++", *CXXFLAGS, "-DVM_TRACE=0", "-DVM_TRACE_FST=0", "-O0", "-I", root / "include", "-I",
         root / "include" / "vltstd", "-I", "obj", *sources, "-latomic", "-o", "run")
    return [tuple(map(int, line.split())) for line in call("./run").splitlines()]
