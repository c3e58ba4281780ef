"""Models of the vendors' cells that blocks instantiate, for simulators: a Verilog file in ``vendor/`` for each."""

from pathlib import Path
import re

__all__ = ["MODELS", "models_of"]

MODELS = {path.name: path for path in sorted(Path(__file__).with_name("vendor").glob("*.v"))}


def models_of(verilog: str) -> dict[str, str]:
    """Cell -> the text of its model, for the cells that ``verilog`` instantiates."""
    texts = {path.stem.upper(): path.read_text() for path in MODELS.values()}
    return {cell: text for cell, text in texts.items() if re.search(rf"^\s*{cell} (#\(|\w+ \()", verilog, re.M)}
