"""A board of the user's own as a file, from what the search has found."""

from dataclasses import fields, is_dataclass
from typing import Any

from boards import Board

__all__ = ["source"]

HEAD = '''"""{name}, with the engine that alloy explore proposes. Vivado wants the part with its package and speed."""

from boards import Board
from spec.config import EngineConfig

BOARD = '''


def source(board: Board) -> str:
    """Python that :func:`boards.get` reads: a field a line."""
    return HEAD.format(name=board.name) + _written(board, "    ") + "\n"


def _written(value: Any, indent: str) -> str:
    if not is_dataclass(value):
        return repr(value)
    values = {field.name: _written(getattr(value, field.name), indent + "    ") for field in fields(value)}
    lines = [f"{indent}{name}={text},\n" for name, text in values.items()]
    return f"{type(value).__name__}(\n{''.join(lines)}{indent[4:]})"
