"""What a vendor's family of parts is, as data: its multiplier, its cells and how it is synthesized."""

from dataclasses import dataclass, field

__all__ = ["Family", "MemoryPort", "Multiplier", "Processor", "RESOURCES"]

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
    cell : the primitive that :mod:`rtl.prim.dsp` instantiates.
    ternary : LUTs and carry chains beside it add three numbers at once (:class:`rtl.prim.Adder3`).
    slow : memories and LUTs beside it are slow: ways that others take in a cycle have a register more.
    """
    name: str
    wide: int
    narrow: int
    total: int
    joined: int
    cell: str
    ternary: bool = False
    slow: bool = False


@dataclass(frozen=True, kw_only=True)
class Family:
    """Parts that are built of the same cells.

    Attributes
    ----------
    name : as the boards call it (:attr:`boards.board.Board.family`).
    multiplier : the one that its parts have.
    steps : passes of Yosys from the Verilog ``{source}``, whose top is ``top_module``, to the family's cells, with LUTs
        by ``{mapper}``; ``times.v`` and ``adders.v`` are the maps of :mod:`rtl.tools.synth`.
    area, delay : mappers of LUTs: as few as possible, and as few as possible on a path.
    cells : first match counts: pattern of a cell's name (as :mod:`fnmatch` has it) -> (resource, number of it); a
        resource of None costs nothing.
    state : patterns of the cells in which paths begin and end.
    script : name of the script for the vendor's tools, which :mod:`rtl.tools` has a template of.
    """
    name: str
    multiplier: Multiplier
    steps: tuple[str, ...]
    area: str
    delay: str
    cells: dict[str, tuple[str | None, float]] = field(hash=False)
    state: tuple[str, ...]
    script: str


@dataclass(frozen=True, kw_only=True)
class MemoryPort:
    """A port of a processor through which the fabric reaches DRAM; names as in the vendor's block designs.

    Attributes
    ----------
    interface, clock : its pins. use, width : its settings: whether it is there, and its bits.
    segments : address segments of DRAM behind it, of which each is there if the board has the memory. others : what
        else may be behind it, which an engine shall not reach.
    """
    interface: str
    clock: str
    use: str
    width: str
    segments: tuple[str, ...]
    others: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Processor:
    """The processor beside the fabric of a part, as a block design of the vendor's tools has it.

    Attributes
    ----------
    core : the vendor's name of it. automation : how its board's preset is applied, {preset} is 1 or 0.
    clock, reset, interrupt : pins: a clock for the fabric, its reset (active low), an interrupt from there.
    control, control_clock : the master that writes registers, and its clock. base : its addresses for the fabric.
    settings : what makes these pins be there. mhz : the setting of the clock.
    widest : bits of a memory port at most. memory : the ports, those without a cache first.
    """
    core: str
    automation: str
    clock: str
    reset: str
    interrupt: str
    control: str
    control_clock: str
    base: int
    settings: dict[str, int] = field(hash=False)
    mhz: str
    widest: int
    memory: tuple[MemoryPort, ...]
