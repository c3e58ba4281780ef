"""Boards: part, budget, clock, memory ports and the default engine. One file for each.

A board of the user's own is a file like these anywhere else, which gives a :class:`Board` the name ``BOARD``.
"""

from pathlib import Path
import runpy

from spec.errors import AlloyError

from .board import Board
from .kv260 import KV260
from .parts import PARTS, of_part
from .pynq_z2 import PYNQ_Z2
from .zc706 import ZC706
from .zcu102 import ZCU102
from .zu15eg import ZU15EG

__all__ = ["BOARDS", "CHOICES", "PARTS", "Board", "get", "of_part"]

BOARDS = {board.name: board for board in (ZCU102, PYNQ_Z2, KV260, ZC706, ZU15EG)}
CHOICES = f"{', '.join(BOARDS)}, or a file (.py) of a board of your own"


def get(name: str) -> Board:
    """The board called ``name``, or that of a Python file, which is executed; :class:`AlloyError` lists the choices."""
    if name.endswith(".py"):
        return _read(Path(name))
    if name not in BOARDS:
        raise AlloyError(f"there is no platform {name!r}: choose {CHOICES}")
    return BOARDS[name]


def _read(path):
    if not path.is_file():
        raise AlloyError(f"there is no file {path} of a board: give one, or choose {', '.join(BOARDS)}")
    try:
        found = runpy.run_path(str(path)).get("BOARD")
    except AlloyError as error:
        raise AlloyError(f"{path}: {error}") from None
    except Exception as error:
        raise AlloyError(f"{path} cannot be read as a board ({type(error).__name__}: {error}): docs/boards.md has one"
                         ) from None
    if not isinstance(found, Board):
        raise AlloyError(f"{path} has no board: give a boards.Board the name BOARD in it")
    return found
