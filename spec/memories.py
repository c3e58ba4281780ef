"""Words and bits of every memory and queue of an engine that may be in RAM.

Blocks make them in these shapes; :mod:`boards.resources` counts them. ``config`` is an
:class:`spec.config.EngineConfig`, or a block with the values that matter under the same names.
"""

from dataclasses import dataclass, replace
from typing import Any

from .commands import COMMAND_BYTES, FETCH_AHEAD, PARAM_BYTES, POSTED, TABLE_RECORDS, used_width
from .kwords import word_bits
from .latency import PARTS, chain_rows, entry_rows, parts, tiles
from .rows import ROW_STEPS

__all__ = ["RAMS", "RECORD_BITS", "REQUESTS_AHEAD", "STORES_AHEAD", "TABLE_CODES", "TABLE_WORDS", "Shape", "bank",
           "commands", "fetched", "params", "previous", "read", "row_parts", "rows", "stored", "table", "taps",
           "weights", "written"]

RAMS = ("any", "block", "ultra")
RECORD_BITS = 8 * PARAM_BYTES           # of every record that is loaded: parameters, a tap, 16 codes of a table
TABLE_CODES = PARAM_BYTES // PARTS      # of a table that are written at once: as wide as a block RAM of 18 kbit is
TABLE_WORDS = TABLE_RECORDS * PARAM_BYTES // TABLE_CODES        # so many of a table
REQUESTS_AHEAD = 8      # of a port that two share: their data is still to come
STORES_AHEAD = 16       # channel groups that are asked for, waiting or being sent


@dataclass(frozen=True)
class Shape:
    """``depth`` words of ``width`` bits. ``ram`` is what they have to be in, "block" or "ultra" RAM, or "any": the
    synthesis chooses, and never ultra RAM."""
    depth: int
    width: int
    ram: str = "any"


def bank(config: Any) -> Shape:
    """One of the ``pixels`` banks of an activation memory: a word has a code of ``ic`` channels."""
    return Shape(config.act_depth, 8 * config.ic, "ultra" if config.act_ram == "ultra" else "any")


def weights(config: Any, slots: int) -> Shape:
    """The part of the weight buffer before a column of so many filter slots."""
    return Shape(config.weight_depth, word_bits(slots, config.ic))


def params(config: Any) -> Shape:
    """Parameters: a record of each filter slot."""
    return Shape(config.param_depth * config.slots, RECORD_BITS)


def taps(config: Any) -> Shape:
    """Taps, which feeder and pool unit read."""
    return Shape(config.tap_depth, RECORD_BITS)


def table(config: Any) -> Shape:
    """Tables of codes, behind each requantizer; without a table there is no such memory."""
    return Shape(config.tables * TABLE_WORDS, 8 * TABLE_CODES, "block")


def rows(config: Any) -> Shape:
    """FIFO of a chain behind the array: entries of some rows of two pixels. It is wide: LUTs are for one that is
    short."""
    together = entry_rows(config)
    return Shape(tiles(config) * chain_rows(config) // together, 2 * together * config.slots * config.acc_width,
                 "block" if config.out_pixels > 1 else "any")


def row_parts(config: Any) -> list[tuple[Shape, int]]:
    """Its memories, and how many cycles after the first part of an entry what belongs into each of them comes."""
    whole, lanes = rows(config), 2 * entry_rows(config)
    return [(replace(whole, width=lanes * len(slots) * config.acc_width), later) for slots, later in parts(config)]


def commands(config: Any) -> Shape:
    """Commands between array and post unit."""
    return Shape(config.queue_depth, used_width(POSTED))


def fetched(config: Any) -> Shape:
    """Beats of commands that were fetched."""
    return Shape(FETCH_AHEAD * 8 * COMMAND_BYTES // config.port_bits, config.port_bits)


def previous(config: Any) -> Shape:
    """Digits of the last two pixels of each k-step of a tile whose taps are in a row."""
    return Shape(ROW_STEPS, 2 * config.ic * config.act_digit_bits)


def read(config: Any) -> Shape:
    """Beats in a read port."""
    return Shape(config.read_beats, config.port_bits)


def written(config: Any) -> Shape:
    """Beats and their byte strobes in the write port: a burst is here before it starts, and the next one comes."""
    return Shape(2 * config.burst_beats, config.port_bits + config.port_bits // 8)


def stored(config: Any) -> Shape:
    """Channel groups in the store unit."""
    return Shape(STORES_AHEAD, 8 * config.ic)
