"""Software's view of the tables in :mod:`spec`: C header, JSON and the pages ``registers.md`` and ``commands.md``."""

from dataclasses import replace
import json
from pathlib import Path

from spec import commands, registers
from spec.check import RULES
from spec.commands import FIELDS, VIEW_FIELDS, Error, Field, Opcode
from spec.config import EngineConfig
from spec.files import write_text
from spec.registers import ID, REGISTERS, SPACE, VERSION

from .render import render

__all__ = ["PAGES", "SOFTWARE", "write_pages", "write_software"]

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


def _bits(lo, width):
    return f"{lo + width - 1}..{lo}" if width > 1 else f"{lo}"


def _opcodes(field):
    if set(field.opcodes) == set(Opcode):
        return "all"
    return ", ".join(o.name for o in Opcode if o in field.opcodes)


def _fields():
    """The fields of a command, each view as one of them."""
    names, width = {name for name, *_ in VIEW_FIELDS}, sum(bits for _, bits, _ in VIEW_FIELDS)
    for f in FIELDS.values():
        prefix, _, rest = f.name.partition("_")
        if prefix not in ("out", "res") or rest not in names:
            yield f
        elif rest == VIEW_FIELDS[0][0]:
            yield replace(f, name=f"{prefix}_*", width=width, text="a view, see below")


def _view():
    """The fields of a view by name, counted from its first bit."""
    out, lo = {}, 0
    for name, width, text in VIEW_FIELDS:
        out[name], lo = Field(name, lo, width, text), lo + width
    return out


def _render(name, config=None):
    """The text of the template ``name``, which sees the tables under the names that they have in :mod:`spec`, and the
    ``config`` of a build."""
    while_busy = {busy: [r for r in REGISTERS if r.busy == busy] for busy in dict.fromkeys(r.busy for r in REGISTERS)}
    tables = {key: value for home in (commands, registers) for key, value in vars(home).items() if key in home.__all__}
    return render(
        name, **tables, config=config, ACCESS=ACCESS, OPCODE_TEXT=OPCODE_TEXT, RULES=RULES,
        bits=_bits, fields=list(_fields()), opcodes=_opcodes, view=_view(),
        view_width=sum(width for _, width, _ in VIEW_FIELDS), while_busy=while_busy)


def _json(config):
    """The register table, error codes and opcodes as JSON text, and the engine of a build."""
    table = [{"name": r.name, "offset": r.offset, "access": r.access, "text": r.text, "busy": r.busy, "init": r.init,
              "bits": [{"name": b.name, "lo": b.lo, "width": b.width, "text": b.text} for b in r.bits]}
             for r in REGISTERS]
    build = {} if config is None else {"build": {**config.to_dict(), "digest": config.digest}}
    return json.dumps({**build, "id": ID, "version": VERSION, "space": SPACE, "registers": table,
                       "errors": {e.name: e.value for e in Error}, "opcodes": {o.name: o.value for o in Opcode}},
                      indent=1) + "\n"


def write_pages(folder: str | Path) -> None:
    """Write the two Markdown pages."""
    for name in PAGES:
        write_text(Path(folder, name), _render(name))


def write_software(folder: str | Path, config: EngineConfig | None = None) -> None:
    """Write the C header, which needs nothing else, and the JSON; with constants of the engine of ``config``."""
    write_text(Path(folder, HEADER), _render(HEADER, config))
    write_text(Path(folder, JSON), _json(config))
