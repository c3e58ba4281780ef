"""Software's view of the tables in :mod:`spec`: C header, JSON and the pages ``docs/registers.md``, ``docs/commands.md``."""

import json
from pathlib import Path

from spec.check import RULES
from spec.commands import (COMMAND_BYTES, FIELDS, MAGIC, PARAM_BYTES, PARAM_FIELDS, QUEUES, SEMAPHORE_MAX, SEMAPHORES, TAP_BYTES,
                           TAP_FIELDS, VIEW_FIELDS, Error, Opcode)
from spec.files import write_text
from spec.registers import ID, REGISTERS, SPACE, VERSION

__all__ = ["c_header", "register_json", "registers_page", "commands_page", "write_pages", "write_software", "PAGES",
           "SOFTWARE"]

HEADER, JSON = "alloy_regs.h", "alloy_regs.json"
PAGES, SOFTWARE = ("registers.md", "commands.md"), (HEADER, JSON)
ACCESS = {"r": "read", "rw": "read, write", "w1": "write 1 to act", "w1c": "read, write 1 to clear"}
OPCODE_TEXT = {
    Opcode.START: "begins the program: names the configuration and the tables that it is for",
    Opcode.END: "ends the program when everything before it is done",
    Opcode.LOAD_WEIGHTS: "k-words from DRAM to the weight buffer",
    Opcode.LOAD_PARAMS: "requantizer parameters from DRAM",
    Opcode.LOAD_TAPS: "tap entries from DRAM",
    Opcode.LOAD_TABLES: "tables of codes from DRAM",
    Opcode.LOAD_ACT: "a region of a tensor from DRAM to an activation memory",
    Opcode.CONV: "convolution or fully connected layer, with optional residual",
    Opcode.POOL: "maximum pooling; with one tap a copy into another layout",
    Opcode.STORE_ACT: "a region of a tensor from an activation memory to DRAM",
}
ERROR_TEXT = {
    Error.NONE: "no error",
    Error.OPCODE: "unknown opcode, wrong magic byte, a second START, or no END among the commands",
    Error.FIELD: "a field outside what this configuration has",
    Error.WINDOW: "the program or a command's DRAM region leaves the window, or the window the address space",
    Error.READ: "AXI read response was not OKAY",
    Error.WRITE: "AXI write response was not OKAY",
    Error.SEMAPHORE: f"a semaphore beyond {SEMAPHORE_MAX}, or a command waits for one that nothing gives",
    Error.TIMEOUT: "the watchdog saw no progress",
    Error.ABORT: "stopped by the host",
    Error.PROGRAM: "the first command is not the START of a program for this configuration and version; nothing was run",
}


def c_header():
    """Offsets, bit fields and codes as C macros; needs nothing else."""
    lines = ["/* Generated from spec/registers.py and spec/commands.py by rtl.regmap. */", "#ifndef ALLOY_REGS_H", "#define ALLOY_REGS_H",
             "", f"#define ALLOY_ID_VALUE 0x{ID:08x}u", f"#define ALLOY_VERSION_VALUE {VERSION}u", f"#define ALLOY_SPACE {SPACE}u",
             f"#define ALLOY_COMMAND_BYTES {COMMAND_BYTES}u", "",
             "/* Byte offsets in the first command of a program: what must be in the registers DIGEST and VERSION. */",
             *(f"#define ALLOY_START_{n.upper()} {FIELDS[n].lo // 8}u" for n in ("digest", "version")), ""]
    for r in REGISTERS:
        lines.append(f"#define ALLOY_{r.name} 0x{r.offset:02x}u /* {r.access}: {r.text} */")
        if r.access == "rw":
            lines.append(f"#define ALLOY_{r.name}_RESET 0x{r.init:x}u /* written while busy: {r.busy} */")
        for b in r.bits:
            mask = (1 << b.width) - 1 << b.lo
            lines += [f"#define ALLOY_{r.name}_{b.name.upper()} 0x{mask:08x}u /* {b.text} */",
                      f"#define ALLOY_{r.name}_{b.name.upper()}_SHIFT {b.lo}u"]
    lines.append("")
    lines += [f"#define ALLOY_ERROR_{e.name} {e.value}u /* {ERROR_TEXT[e]} */" for e in Error]
    lines.append("")
    lines += [f"#define ALLOY_OP_{o.name} {o.value}u /* {OPCODE_TEXT[o]} */" for o in Opcode]
    return "\n".join(lines + ["", "#endif", ""])


def register_json():
    """The register table, error codes and opcodes as JSON text."""
    registers = [{"name": r.name, "offset": r.offset, "access": r.access, "text": r.text, "busy": r.busy,
                  "init": r.init,
                  "bits": [{"name": b.name, "lo": b.lo, "width": b.width, "text": b.text} for b in r.bits]} for r in REGISTERS]
    return json.dumps({"id": ID, "version": VERSION, "space": SPACE, "registers": registers,
                       "errors": {e.name: e.value for e in Error}, "opcodes": {o.name: o.value for o in Opcode}}, indent=1) + "\n"


def _table(head, rows):
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return out + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def _bits(lo, width):
    return f"{lo + width - 1}..{lo}" if width > 1 else f"{lo}"


def registers_page():
    """Markdown page of the registers."""
    lines = ["# Registers", "", "Generated from `spec/registers.py` by `python -m rtl.regmap docs`.", "",
             "AXI4-Lite, 32-bit registers at byte offsets. An offset without a register answers SLVERR, and so does everything from "
             f"0x{SPACE:x} on. Writing a read-only register does nothing.", ""]
    lines += _table(("offset", "name", "access", "reset", "bits", "meaning"), [
        row for r in REGISTERS for row in
        [(f"0x{r.offset:02x}", r.name, ACCESS[r.access], f"0x{r.init:x}" if r.access == "rw" else "",
          "" if r.bits else "31..0", r.text)]
        + [("", "", "", "", _bits(b.lo, b.width), f"`{b.name}`: {b.text}") for b in r.bits]])
    lines += ["", "## Written while a program runs", ""] + _table(("register", "what a write does"), [
        (", ".join(r.name for r in REGISTERS if r.busy == busy), busy)
        for busy in dict.fromkeys(r.busy for r in REGISTERS)])
    lines += ["", "Reading CYCLES_LO keeps the high half for the next read of CYCLES_HI.",
              "An interrupt becomes pending when `done` or `error` of STATUS rises.", "",
              "## Running a program", "",
              "1. ID must be right. VERSION and DIGEST must be those in the program's first command, START: the engine "
              "compares them itself and stops with PROGRAM before it does anything else.",
              "2. Set BASE, SIZE, CMD_OFFSET and CMD_COUNT; clear IRQ_STATUS. The reset value of WATCHDOG is far above what "
              "any command needs; with 0 a bus that does not answer holds the engine until the host aborts.",
              "3. Write CTRL `start`; wait for the interrupt, or until STATUS is not `busy`.",
              "4. `done` means that all outputs are in DRAM. `error` comes with `code` and `tag`; the engine is idle again "
              "and can be started. If the bus itself does not answer, `error` rises after another WATCHDOG cycles and `busy` stays.", ""]
    return "\n".join(lines + ["## Error codes", ""] + _table(("code", "name", "meaning"), [
        (e.value, e.name, ERROR_TEXT[e]) for e in Error]) + [""])


def _opcodes(field):
    if set(field.opcodes) == set(Opcode):
        return "all"
    return ", ".join(o.name for o in Opcode if o in field.opcodes)


def _record(fields):
    return _table(("bits", "name", "meaning"), [
        (_bits(f.lo, f.width), f"`{f.name}`" + (" (signed)" if f.signed else ""), f.text) for f in fields.values()])


def commands_page():
    """Markdown page of the commands and of the records that they load."""
    views = {p: f"{p}_{VIEW_FIELDS[0][0]}" for p in ("out", "res")}
    width = sum(w for _, w, _ in VIEW_FIELDS)
    rows = []
    for f in FIELDS.values():
        prefix = f.name.split("_")[0]
        if f.name == views.get(prefix):
            rows.append((_bits(f.lo, width), f"`{prefix}_*`", _opcodes(f), "a view, see below"))
        elif prefix not in views or f.name.removeprefix(f"{prefix}_") not in {n for n, _, _ in VIEW_FIELDS}:
            rows.append((_bits(f.lo, f.width), f"`{f.name}`", _opcodes(f), f.text))
    view, lo = [], 0
    for name, bits, text in VIEW_FIELDS:
        view.append((_bits(lo, bits), f"`{name}`", text))
        lo += bits
    lines = ["# Commands", "", "Generated from `spec/commands.py` by `python -m rtl.regmap docs`. [architecture.md](architecture.md) says what "
             "the commands do.", "",
             "A program is START, commands, END. "
             f"A command is {COMMAND_BYTES} bytes, little endian, with 0x{MAGIC:02x} in the last byte of its header. DRAM addresses are byte "
             "offsets in the window; they and strides are multiples of the port width. There are "
             f"{SEMAPHORES} semaphores of 0 to {SEMAPHORE_MAX}, all 0 when a program starts.", "", "## Opcodes", ""]
    lines += _table(("code", "name", "queue", "what it does"), [
        (o.value, o.name, QUEUES.get(o, "-"), OPCODE_TEXT[o]) for o in Opcode])
    lines += ["", "## Fields", ""] + _table(("bits", "name", "opcodes", "meaning"), rows)
    lines += ["", "## View", "", f"{width} bits, counted here from the view's first bit.", ""]
    lines += _table(("bits", "name", "meaning"), view)
    lines += ["", f"## Tap entry, {TAP_BYTES} bytes", ""] + _record(TAP_FIELDS)
    lines += ["", f"## Parameter record, {PARAM_BYTES} bytes", ""] + _record(PARAM_FIELDS)
    lines += ["", "## What is checked", "",
              "Every command is checked before a unit sees it; `spec/check.py` is the rule. PROGRAM: the first command is "
              "not a START with this engine's digest and version. OPCODE: an unknown opcode, a wrong magic byte, or a START later on. FIELD:", "",
              *(f"* {text}" for text in RULES.values()), "",
              "WINDOW: any byte of the region outside the window. Addresses that a view reaches by its steps, `step_y`, "
              "`step_x`, and what loaded records and weights say are the compiler's business: they can give wrong codes, "
              "not stop the engine or leave the window.", ""]
    return "\n".join(lines)


def write_pages(folder):
    """Write the two Markdown pages."""
    write_text(Path(folder, "registers.md"), registers_page())
    write_text(Path(folder, "commands.md"), commands_page())


def write_software(folder):
    """Write the C header and the JSON."""
    write_text(Path(folder, HEADER), c_header())
    write_text(Path(folder, JSON), register_json())
