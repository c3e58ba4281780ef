"""The processor's program: the C driver, a port, a main program and the files that they are about."""

import os
from pathlib import Path
import struct

import numpy as np

import driver
from rtl.tools import write_software
from spec.children import Children
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.program import FORMS, Program

from .system import ENGINE, MEMORY, MEMORY_BYTES, UART, package

__all__ = ["firmware"]

HERE, DRIVER = Path(__file__).parent / "software", Path(driver.__file__).parent / "c"
SOURCES = [*(HERE / name for name in ("start.S", "files.S", "string.c", "main.c")), DRIVER / "alloy.c",
           DRIVER / "ports" / "bare_metal.c"]
# Any C compiler for RISC-V will do; this one comes with pip.
COMPILER, TARGET = "ziglang", ["-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+zicsr"]
FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Werror",
         "-ffreestanding", "-fno-builtin", "-nostdlib", "-ffunction-sections", "-Wl,--gc-sections",
         f"-Wl,-T,{HERE / 'memory.ld'}", f"-DENGINE={ENGINE}u", f"-DUART={UART}u"]
LOAD = 1                # type of a part of an ELF file that is loaded


def firmware(program: Program, config: EngineConfig, images: np.ndarray, folder: str | Path, *, irq: int) -> bytes:
    """What the processor's memory holds at first, from its first byte on.

    Parameters
    ----------
    images : codes (N, C, H, W) to classify. folder : for the files in between. irq : number of the engine's interrupt.
    """
    zig, folder = package(COMPILER) / "zig", Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    write_software(folder, config)
    (folder / "program.bin").write_bytes(FORMS["bin"](program, "program"))
    (folder / "images.bin").write_bytes(images.astype(np.uint8).transpose(0, 2, 3, 1).tobytes())
    with Children() as children:
        status, out, error = children.run(
            [zig, "cc", *TARGET, *FLAGS, f"-DENGINE_IRQ={irq}", "-I", HERE, "-I", DRIVER, "-I", folder, *SOURCES, "-o",
             "firmware.elf"], cwd=folder, env=os.environ | {f"ZIG_{kind}_CACHE_DIR": str(folder / "zig")
                                                            for kind in ("LOCAL", "GLOBAL")})
    if status:
        raise AlloyError("the software does not compile: " + " / ".join((error or out).strip().splitlines()[:8]))
    return _loaded((folder / "firmware.elf").read_bytes())


def _loaded(elf):
    """The parts of an ELF file (32 bits, little-endian) in memory."""
    first, = struct.unpack_from("<I", elf, 28)
    size, count = struct.unpack_from("<HH", elf, 42)
    memory = bytearray(MEMORY_BYTES)
    end = 0
    for at in range(first, first + size * count, size):
        kind, offset, _, address, held, _ = struct.unpack_from("<6I", elf, at)
        if kind == LOAD:
            start = address - MEMORY
            memory[start:start + held] = elf[offset:offset + held]
            end = max(end, start + held)
    return bytes(memory[:end + -end % 4])
