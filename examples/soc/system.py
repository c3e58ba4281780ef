"""The systems: what they have in common, their Verilog, and the programs that simulate them."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib import util
from importlib.metadata import version
import json
import os
from pathlib import Path

from filelock import FileLock

from sim.verilator import tool
from spec.children import Children
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.progress import going, say as _say

__all__ = ["CONFIG", "ENGINE", "HERE", "MEMORY", "MEMORY_BYTES", "SYSTEMS", "UART", "Run", "System", "build", "package",
           "processor", "run"]

HERE = Path(__file__).parent / "verilog"
MEMORY, MEMORY_BYTES, ENGINE, UART = 0x4000_0000, 1 << 20, 0x9000_0000, 0xF000_0000
# One port of the width of the processor's memory, and multipliers of plain operators.
CONFIG = EngineConfig(name="soc", ic=8, pixels=4, dsp_filters=4, lut_filters=2, dsp_device="mult18", portable_dsp=True,
                      act_depth=512, weight_depth=160, param_depth=8, tap_depth=36, tables=1, ports=1, port_bits=32,
                      addr_bits=32, outstanding=2, queue_depth=2)
FLAGS = ["--cc", "--exe", "--build", "-j", "2", "-O3", "--x-assign", "fast", "--x-initial", "fast", "-Wno-fatal",
         "-Wno-lint", "-Wno-style", "-Wno-COMBDLY", "-Wno-TIMESCALEMOD", "--top-module", "soc", "--Mdir", "made",
         "-o", "soc"]
# The wheel's rules name what the machine had that it was made on.
RULES = "CFG_CXXFLAGS_PCH_I=-include OPT_SLOW=-O0 OPT_FAST={0} OPT_GLOBAL={0}"


@dataclass(frozen=True)
class System:
    """What the software knows of a system.

    Attributes
    ----------
    irq : number of the engine's interrupt. memory : file that the memory is filled with, words for ``$readmemh``.
    verilog : name -> text of the files around engine and processor, from the engine's Verilog.
    """
    irq: int
    memory: str
    verilog: Callable[[str], dict[str, str]]


@dataclass(frozen=True)
class Run:
    """``status`` 0 if the software ended well; ``lines`` of its UART; ``note``: cycles, or why it did not end."""
    status: int
    lines: tuple[str, ...]
    note: str


def _by_hand(engine):
    return {path.name: path.read_text() for path in sorted(HERE.glob("*.v"))}


def _by_litex(engine):
    from .litex_soc import verilog      # not before: LiteX is needed by this system alone
    return {"soc.v": verilog(engine)}


SYSTEMS = {"verilog": System(0, "memory.hex", _by_hand), "litex": System(1, "soc_main_ram.init", _by_litex)}


def package(name: str) -> Path:
    """The folder of an installed Python package, whatever it holds."""
    found = util.find_spec(name)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"no {name}", name=name)
    return Path(found.origin).parent


def processor() -> Path:
    """VexRiscv's Verilog, in the package that LiteX takes it from."""
    return package("pythondata_cpu_vexriscv") / "verilog" / "VexRiscv.v"


def build(name: str, engine: str, cache: str | Path, *, optimize: str = "-O1",
          say: Callable[[str], object] = _say) -> Path:
    """The program that simulates system ``name`` around ``engine``, its Verilog; made once under ``cache``."""
    binary, root = tool()
    files = {"alloy.v": engine, "VexRiscv.v": processor().read_text(), **SYSTEMS[name].verilog(engine)}
    main = (HERE / "simulate.cpp").read_text()
    command = [str(binary), *FLAGS, "-CFLAGS", optimize, "-MAKEFLAGS", RULES.format(optimize), "simulate.cpp", *files]
    inputs = json.dumps([files, main, command, version("verilator")]).encode()
    target = Path(cache).resolve() / f"{name}-{sha256(inputs).hexdigest()[:16]}"
    target.mkdir(parents=True, exist_ok=True)
    with FileLock(target / "lock"), going(say, f"building the system {name}", 10):
        if not (target / "ready").exists():
            for path, text in {**files, "simulate.cpp": main}.items():
                (target / path).write_text(text)
            _call(command, target, {"VERILATOR_ROOT": str(root)})
            (target / "ready").touch()
    return target / "made" / "soc"


def _call(command, folder, environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    with Children() as children:
        status, out, error = children.run(command, cwd=folder, env=clean | environment)
    if status:
        raise AlloyError(f"{Path(command[0]).name} failed: " + " / ".join((error or out).strip().splitlines()[-8:]))


def run(name: str, simulator: Path, memory: bytes, folder: str | Path, *, limit: int = 100_000_000,
        show: Callable[[str], object] = lambda line: None) -> Run:
    """Simulate with ``memory`` in the processor's memory, at most ``limit`` cycles; ``show`` is called with each line
    of the UART as it comes."""
    words = [memory[at:at + 4] for at in range(0, len(memory), 4)]
    Path(folder).mkdir(parents=True, exist_ok=True)
    Path(folder, SYSTEMS[name].memory).write_text("".join(f"{int.from_bytes(word, 'little'):08x}\n" for word in words))
    with Children() as children:
        process = children.start([simulator, str(limit)], cwd=folder, stdout=-1, stderr=-1, encoding="utf-8",
                                 errors="replace")
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            show(lines[-1])
        note = process.stderr.read().strip()
        return Run(process.wait(), tuple(lines), note)
