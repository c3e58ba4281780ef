"""A system in Verilator, as a wire that :class:`driver.on_uart.Uart` talks over."""

import os
import select
import subprocess

from amaranth.back import verilog

from rtl.generate import generate
from rtl.system import System
from sim.verilator import CXXFLAGS, tool
from tests.rtl.system import HERE

__all__ = ["CYCLES", "Board"]

CYCLES = 5                 # cycles


class Board:
    """The wires of a system of ``memory_bytes`` around the engine of ``config``."""

    def __init__(self, config, memory_bytes, folder, optimize="-O0"):
        binary, root = tool()
        system = System(config, memory_bytes=memory_bytes, clock_hz=1e6 * CYCLES, baud=1_000_000)
        text = verilog.convert(system, name="system", ports=[system.rx, system.tx, system.busy], emit_src=False)
        for name, content in {**generate(config), "system.v": text}.items():
            (folder / name).write_text(content)

        def call(*command):
            done = subprocess.run(command, cwd=folder, env={**os.environ, "VERILATOR_ROOT": str(root)},
                                  capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        call(binary, "--cc", "-O3", "--top-module", "system", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--x-assign",
             "fast", "--Mdir", "obj", "system.v", "alloy.v")
        sources = [*(folder / "obj").glob("*.cpp"), HERE / "wire.cpp",
                   *(root / "include" / f"verilated{part}.cpp" for part in ("", "_threads"))]
        call("g++", *CXXFLAGS, "-DVM_TRACE=0", "-DVM_TRACE_FST=0", f"-DCYCLES={CYCLES}", optimize, "-I",
             root / "include", "-I", root / "include" / "vltstd", "-I", "obj", *sources, "-latomic", "-o", "run")
        self._process = subprocess.Popen([folder / "run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def write(self, data):
        self._process.stdin.write(data)

    def read(self, size, seconds=60.0):
        found = b""
        while len(found) < size and select.select([self._process.stdout], [], [], seconds)[0]:
            found += os.read(self._process.stdout.fileno(), size - len(found))
        return found

    def close(self):
        self._process.stdin.close()
        self._process.wait()
