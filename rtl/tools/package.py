"""What others need to take the Verilog into a system of their own: descriptions of registers and ports for their tools,
the drivers, and a page about the build."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
import re
from textwrap import wrap

from boards import Board
import driver
from spec import commands, devices, registers
from spec.config import EngineConfig
from spec.devices import MemoryPort, Processor
from spec.errors import AlloyError
from spec.files import write_text
from spec.registers import REGISTERS, SPACE

from ..prim import models_of
from .render import render

__all__ = ["DRIVERS", "PACKAGE", "Port", "banner", "memory_groups", "ports_of", "write_package"]

C = Path(driver.__file__).parent / "c"
DRIVERS = {path.name: path for path in (C / "alloy.h", C / "alloy.c", *(
    C / "ports" / f"{name}.{suffix}" for name in ("bare_metal", "linux") for suffix in "hc"))}
TEMPLATES = ("alloy_regs.py", "alloy.svd", "alloy.rdl", "component.xml", "alloy.f", "alloy_sim.f", "alloy_cells.v",
             "alloy.core", "alloy_inst.vh", "build.md")
PACKAGE = (*TEMPLATES, *DRIVERS)
SVD_ACCESS = {"r": "read-only", "rw": "read-write", "w1": "write-only", "w1c": "read-write"}
PORT = re.compile(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);$", re.M)
MAP_BYTES = 4096        # that the slave answers in: one page


@dataclass(frozen=True)
class Port:
    """A port of the Verilog; ``bus`` is what its name begins with if it is one of AXI, ``signal`` the rest."""
    name: str
    width: int
    output: bool

    @property
    def bus(self) -> str:
        return self.name.rpartition("_")[0] if self.name.startswith(("s_axil_", "m_axi_")) else ""

    @property
    def signal(self) -> str:
        """In AXI's words."""
        return self.name.rpartition("_")[2]


def ports_of(verilog: str, top: str) -> list[Port]:
    """The ports of module ``top``, in the order of its Verilog."""
    found = re.search(rf"^module {top}\(([^)]*)\).*?^endmodule", verilog, re.M | re.S)
    if found is None:
        raise AlloyError(f"there is no module {top} in this Verilog: generate it again")
    ports = {name: Port(name, 1 + int(high or 0), kind == "output") for kind, high, name in PORT.findall(found[0])}
    return [ports[name.strip()] for name in found[1].split(",")]


def banner(config: EngineConfig) -> str:
    """What stands above the Verilog: version, digest, configuration, licence."""
    values = ", ".join(f"{name} {value}" for name, value in config.to_dict().items())
    lines = [f"Alloy {_version()}, version {registers.VERSION} of the tables, configuration {config.digest}",
             *wrap(values, 110),
             "Generated; SPDX-License-Identifier: BSD-2-Clause"]
    return "".join(f"// {line}\n" for line in lines)


def _version():
    try:
        return metadata.version("alloy")
    except metadata.PackageNotFoundError:
        return "of a checkout"


def _fields(register):
    """Named bits of a register, or all of them as one."""
    return register.bits or (registers.Bits("value", 0, 32, register.text),)


def memory_groups(processor: Processor, masters: Sequence[str]) -> dict[MemoryPort, list[str]]:
    """The ports of a processor that an engine's ``masters`` take, each with those of them that it serves."""
    groups: dict[MemoryPort, list[str]] = {}
    for index, master in enumerate(masters):
        groups.setdefault(processor.memory[index % len(processor.memory)], []).append(master)
    return groups


def write_package(folder: str | Path, board: Board, config: EngineConfig, verilog: str, top: str) -> None:
    """Write the files :data:`PACKAGE` for the engine of ``config``, module ``top`` of ``verilog``, and the script for
    the vendor's tools."""
    ports = ports_of(verilog, top)
    buses: dict[str, list[Port]] = {}
    for port in ports:
        if port.bus:
            buses.setdefault(port.bus, []).append(port)
    values = {"config": config, "ports": ports, "buses": buses, "models": models_of(verilog), "version": _version(),
              "ID": registers.ID, "TABLES": registers.VERSION, "REGISTERS": REGISTERS, "SPACE": SPACE,
              "MAP_BYTES": MAP_BYTES, "Error": commands.Error, "ERROR_TEXT": commands.ERROR_TEXT, "fields": _fields,
              "SVD_ACCESS": SVD_ACCESS}
    processor = devices.PROCESSORS[board.processor] if board.processor else None
    values |= {"board": board, "processor": processor}
    if processor:
        values |= {"groups": memory_groups(processor, [bus for bus in buses if bus != "s_axil"]),
                   "width": min(config.port_bits, processor.widest)}
    for name in (*TEMPLATES, devices.family(board.family).script):
        write_text(Path(folder, name), render(name, **values))
    for name, path in DRIVERS.items():
        write_text(Path(folder, name), path.read_text())
