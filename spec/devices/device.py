"""What a vendor's family of parts is, as data: its multiplier, its cells and how it is synthesized."""

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Family", "Multiplier", "RESOURCES"]

RESOURCES = ("lut", "ff", "dsp", "bram36", "uram")      # what boards have budgets of


@dataclass(frozen=True, kw_only=True)
class Multiplier:
    """A hard multiplier with its adder; all ports are signed.

    Attributes
    ----------
    name : as in :attr:`spec.config.EngineConfig.dsp_device`.
    wide, narrow, total : bits of the two factors and of the sum.
    joined : bits of the sum of two pixel digits, which a requantizer multiplies: those of the wide port, or of what two
        multipliers take side by side.
    cell : the primitive that :mod:`rtl.prim.dsp` instantiates; None: plain operators, mapped by the synthesis.
    """
    name: str
    wide: int
    narrow: int
    total: int
    joined: int
    cell: str | None = None


@dataclass(frozen=True, kw_only=True)
class Family:
    """Parts that are built of the same cells.

    Attributes
    ----------
    name : as the boards call it (:attr:`boards.board.Board.family`).
    multiplier : the one that its parts have.
    steps : passes of Yosys from the Verilog ``{source}``, whose top is ``top_module``, to the family's cells;
        ``times.v`` and ``adders.v`` are the maps of :mod:`rtl.tools.synth`.
    cells : first match counts: pattern of a cell's name (as :mod:`fnmatch` has it) -> (resource, number of it); a
        resource of None costs nothing.
    state : patterns of the cells in which paths begin and end.
    script, project : name of the script that makes a project of the generated sources with the vendor's tools, and its
        text for a part, a clock in MHz, the sources' names and the top module.
    """
    name: str
    multiplier: Multiplier
    steps: tuple[str, ...]
    cells: dict[str, tuple[str | None, float]] = field(hash=False)
    state: tuple[str, ...]
    script: str
    project: Callable[[str, float, list[str], str], str]
