"""What is generated from the tables: the pages are up to date, header and JSON say the same as the tables."""

import json
from pathlib import Path
import re
import shutil
import subprocess

from rtl.tools import regmap
from spec.commands import ERROR_TEXT, FIELDS, Error, Opcode
from spec.registers import REGISTERS


def test_pages_are_up_to_date(tmp_path):
    docs = Path(__file__).parents[3] / "docs"
    regmap.write_pages(tmp_path)
    for name in ("registers.md", "commands.md"):
        same = (docs / name).read_text() == (tmp_path / name).read_text()
        assert same, f"run python -m rtl.regmap docs: {name} is old"


def test_header_and_json(tmp_path):
    regmap.write_software(tmp_path)
    text = (tmp_path / "alloy_regs.h").read_text()
    macros = {n: int(v, 0) for n, v in re.findall(r"#define ALLOY_(\w+) (\w+)u\b", text)}
    table = json.loads((tmp_path / "alloy_regs.json").read_text())
    assert [(r["name"], r["offset"]) for r in table["registers"]] == [(r.name, r.offset) for r in REGISTERS]
    for r in REGISTERS:
        assert macros[r.name] == r.offset
        for b in r.bits:
            assert macros[f"{r.name}_{b.name.upper()}"] == (1 << b.width) - 1 << b.lo
    assert all(macros[f"ERROR_{e.name}"] == e for e in Error) and all(macros[f"OP_{o.name}"] == o for o in Opcode)
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler:
        subprocess.run([compiler, "-std=c99", "-Wall", "-Werror", "-fsyntax-only", tmp_path / "alloy_regs.h"],
                       check=True)


def test_every_code_has_its_words():
    assert set(ERROR_TEXT) == set(Error) and set(regmap.OPCODE_TEXT) == set(Opcode)
    assert set(regmap.ACCESS) == {r.access for r in REGISTERS}


def test_fields_of_a_page():
    """Each bit of a command is told once for each opcode that has it: views are one row each."""
    rows = list(regmap._fields())
    for opcode in Opcode:
        told = sorted((f.lo, f.lo + f.width) for f in rows if opcode in f.opcodes)
        assert all(end <= start for (_, end), (start, _) in zip(told, told[1:], strict=False)), opcode
        assert sum(end - start for start, end in told) == sum(f.width for f in FIELDS.values() if opcode in f.opcodes)
