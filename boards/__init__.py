"""Boards: part, budget, clock, memory ports and the default engine. One file for each."""

from spec.errors import AlloyError

from .board import Board
from .kv260 import KV260
from .pynq_z2 import PYNQ_Z2
from .zc706 import ZC706
from .zcu102 import ZCU102
from .zu15eg import ZU15EG

__all__ = ["Board", "BOARDS", "get"]

BOARDS = {board.name: board for board in (ZCU102, PYNQ_Z2, KV260, ZC706, ZU15EG)}


def get(name: str) -> Board:
    """The board called ``name``; :class:`AlloyError` lists the choices."""
    if name not in BOARDS:
        raise AlloyError(f"there is no platform {name!r}: choose {', '.join(BOARDS)}")
    return BOARDS[name]
