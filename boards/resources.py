"""What an engine takes of a part, from its configuration alone, in milliseconds.

Multipliers and memories are counted from the structure, as the synthesis maps them. LUTs and flip-flops are sums over
the blocks of the engine, each linear in what the block is made of (:func:`features`), with weights fitted to engines
that were synthesized: the rows of ``resources.json``, which ``python -m rtl.samples`` makes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from spec import latency, memories as shapes
from spec.commands import LOADS_AHEAD, QUEUES
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.files import read_json
from spec.memories import Shape
from spec.packing import columns, solve
from spec.systems import EXPONENT_MAX

__all__ = ["FITTED", "ROWS", "Fit", "Memory", "blocks_in_ram", "features", "left_out", "memories", "multipliers",
           "rams", "resources"]

ROWS = Path(__file__).with_name("resources.json")
FITTED = ("lut", "ff")
REQUANTIZER = 2         # multipliers of each
ULTRA = (4096, 72)      # words and bits of an ultra RAM
# Bits of a word -> words of a block RAM of 36 kbit with a read and a write port; half of the words, and not the widest
# one, for one of 18 kbit. Cost of either as the synthesis weighs them.
WIDEST = 72
SHAPES = {WIDEST: 512, 36: 1024, 18: 2048, 9: 4096, 4: 8192, 2: 16384, 1: 32768}
WHOLE, HALF = 257, 129
MUX = 0.5           # of each bit that one more memory behind another makes
QUEUED, LOADING = 500, 350      # bits of a command that waits, on average, and of a load that is under way
# Family -> LUTs of a LUT RAM, bits that it has at 32 and at 64 words, and its cost.
LUT_RAMS = {"xc7": (4, {32: 6, 64: 3}, 8), "xcup": (8, {32: 14, 64: 7}, 16)}


@dataclass(frozen=True)
class Memory:
    """``count`` equal memories of a block; whether bytes are written one by one, and read ports."""
    block: str
    count: int
    shape: Shape
    bytes: bool = False
    readers: int = 1


def memories(config: EngineConfig) -> list[Memory]:
    """Every memory that is read a cycle after its address: those that can be in block RAM."""
    c = config
    found = [
        Memory("bank", 2 * c.pixels, shapes.bank(c), bytes=True),
        *(Memory("weightcolumn", count, shapes.weights(c, slots)) for slots, count in Counter(columns(c)).items()),
        Memory("compute", 1, shapes.params(c)), Memory("compute", 1, shapes.taps(c), readers=2),
        Memory("compute", 1, shapes.commands(c)),
        *(Memory("core", latency.chains(c) * count, part)
          for part, count in Counter(part for part, _ in shapes.row_parts(c)).items()),
        Memory("control", 1, shapes.fetched(c)), Memory("readport", c.ports, shapes.read(c)),
        Memory("writeport", 1, shapes.written(c))]
    if c.tables:
        found.append(Memory("codetable", c.out_pixels * c.slots, shapes.table(c)))
    return found


def _mux(memory, words):
    """Cost of the choice among memories of so many words, one behind the other."""
    return MUX * memory.shape.width * (ceil(memory.shape.depth / words) - 1) * memory.readers


@cache
def _block_rams(memory):
    """(cost, number of 36 kbit) of the cheapest way to make a memory of block RAM."""
    found = []
    for width, depth in SHAPES.items():
        # Of a byte that is written alone there are nine bits, of which eight are used.
        bits = width // 9 * 8 if memory.bytes else width
        for cost, size, words in ((WHOLE, 1.0, depth), (HALF, 0.5, depth // 2)):
            if bits and (width < WIDEST or size == 1.0):
                number = ceil(memory.shape.width / bits) * ceil(memory.shape.depth / words) * memory.readers
                found.append((number * cost + _mux(memory, words), number * size))
    return min(found)


@cache
def _lut_rams(memory, family):
    """(cost, LUTs) of a memory of LUT RAM."""
    if family not in LUT_RAMS:
        raise AlloyError(f"there is no resource model for the family {family!r}: choose {', '.join(LUT_RAMS)}")
    luts, bits, cost = LUT_RAMS[family]
    found = []
    for words, width in bits.items():
        number = ceil(memory.shape.width / width) * ceil(memory.shape.depth / words) * memory.readers
        found.append((number * cost + _mux(memory, words), number * luts))
    return min(found)


def blocks_in_ram(memory: Memory, family: str) -> bool:
    """Whether the synthesis makes a memory of block RAM."""
    cheaper = _block_rams(memory)[0] < _lut_rams(memory, family)[0]
    return memory.shape.ram == "block" or memory.shape.ram == "any" and cheaper


def rams(config: EngineConfig, family: str) -> dict[str, float]:
    """Block RAMs of 36 kbit and ultra RAMs."""
    found: dict[str, float] = {"bram36": 0, "uram": 0}
    for memory in memories(config):
        if memory.shape.ram == "ultra":
            found["uram"] += memory.count * ceil(memory.shape.depth / ULTRA[0]) * ceil(memory.shape.width / ULTRA[1])
        elif blocks_in_ram(memory, family):
            found["bram36"] += memory.count * _block_rams(memory)[1]
    return found


def multipliers(config: EngineConfig) -> int:
    """Hard multipliers: of the array, and of the requantizers."""
    packing = solve(config.dsp_device, config.act_digit_bits)
    return config.macs_dsp // packing.products + REQUANTIZER * config.out_pixels * config.slots


def _queues(config, family):
    """LUTs of the LUT RAMs of each block."""
    c, found = config, dict[str, float]()
    small = [Memory("control", len({*QUEUES.values()}), Shape(c.queue_depth, QUEUED)),
             Memory("load", 1, Shape(LOADS_AHEAD - 1, LOADING)),
             Memory("readarbiter", 1, Shape(shapes.REQUESTS_AHEAD, c.beat_bits + 1)),
             Memory("store", 1, shapes.stored(c)), Memory("writeport", 1, Shape(c.outstanding, 1))]
    if c.row_taps > 1:
        small.append(Memory("feeder", 1, shapes.previous(c)))
    for memory in (*memories(config), *small):
        if memory in small or memory.shape.ram == "any" and not blocks_in_ram(memory, family):
            found[memory.block] = found.get(memory.block, 0) + memory.count * _lut_rams(memory, family)[1]
    return found


def _tree(count, width):
    """(bits of the three-input adders, bits of the others) of a registered tree over ``count`` values."""
    threes, twos, widths = 0, 0, [width] * count
    while len(widths) > 1:
        groups, widths = [widths[at:at + 3] for at in range(0, len(widths), 3)], []
        for group in groups:
            threes += (max(group) + 1) * (len(group) == 3)
            twos += (max(group) + 1) * (len(group) == 2)
            widths.append(max(group) + len(group) - 1)
    return threes, twos


def _choice(count):
    """LUTs of six inputs for one bit of a choice among ``count``."""
    return (count - 1) / 3


def _elements(c):
    """Processing elements, their adders, and the grid around them."""
    rows, packing = c.pixels // 2, solve(c.dsp_device, c.act_digit_bits)
    dsp, lut = rows * c.dsp_filters // 2, rows * c.lut_filters
    chains, digit = ceil(c.ic / packing.chain), c.act_digit_bits
    own, other = _tree(chains, packing.field), _tree(c.ic, digit + EXPONENT_MAX + 1)
    wait = latency.totals(c)
    waits = [wait - latency.dsp_totals(c), wait - latency.lut_totals(c)]
    wide, form = digit + EXPONENT_MAX + 1, c.lut_form
    deep = sum(max(0, row - 2) for row in range(rows))
    more = (c.row_taps - 1) * 2 * digit       # of each slot: digits that come from two places
    before = 2 * digit * c.slots * (c.row_taps > 1)
    skew = sum(max(0, len(columns(c)) - 3 - at) * slots for at, slots in enumerate(columns(c)))
    return {
        "adder3": {"bits": 4 * dsp * own[0] + 2 * lut * other[0],
                   "number": dsp * chains + lut * c.ic},
        "dsppe": {"number": dsp, "channels": dsp * c.ic, "digits": dsp * c.ic * digit, "pairs": 4 * dsp * own[1],
                  "accumulators": 4 * dsp * c.acc_width, "waits": 4 * dsp * packing.field * (waits[0] > 0),
                  "chains": dsp * chains * packing.field, "row": 2 * dsp * more},
        "lutpe": {"number": lut, f"channels {form}": lut * c.ic, f"terms {form}": lut * c.ic * wide,
                  "digits": lut * c.ic * digit, "pairs": 2 * lut * other[1], "accumulators": 2 * lut * c.acc_width,
                  "waits": 2 * lut * wide * (waits[1] > 0), "row": lut * more},
        "pearray": {"rows": rows, "delays": 2 * c.ic * digit * deep, "first": 2 * c.ic * digit * min(rows, 3),
                    "skew": 2 * latency.chains(c) * c.acc_width * skew,
                    "results": 2 * latency.chains(c) * c.acc_width * c.slots, "before": rows * before},
    }


def _memories(c):
    """Core, banks, weight buffer, tables."""
    lanes, row, address = latency.lanes(c), c.slots * c.acc_width, (c.act_depth - 1).bit_length()
    word, out = 8 * c.ic, c.out_pixels
    return {
        "core": {"one": 1, "rows": lanes * row * (out > 1), "turns": lanes * row * _choice(c.pixels // lanes),
                 "weights": 4 * c.slots * c.ic},
        "weightcolumn": {"bits": 4 * c.slots * c.ic, "columns": len(columns(c)),
                         "addresses": len(columns(c)) * (c.weight_depth - 1).bit_length()},
        "bank": {"bits": 2 * c.pixels * word, "number": 2 * c.pixels},
        "banks": {"one": 1, "feed": c.pixels * word, "rows": 2 * out * word * _choice(c.pixels // out),
                  "turns": out * word * _choice(out), "lanes": out * word,
                  "addresses": 2 * c.pixels * address, "enables": 2 * c.pixels * c.ic},
        "codetable": {"number": out * c.slots * bool(c.tables)},
        "feeder": {"one": 1, "turned": c.pixels * word * latency.rotator(c),
                   "digits": c.pixels * c.ic * c.act_digit_bits, "addresses": c.pixels * address, "pixels": c.pixels,
                   "before": 2 * c.ic * c.act_digit_bits * (c.row_taps > 1)},
    }


def _behind(c):
    """Post and pool unit."""
    out, slots, word = c.out_pixels, c.slots, 8 * c.ic
    which, address = (slots - 1).bit_length() * c.ic, (c.act_depth * c.pixels - 1).bit_length()
    return {
        "post": {"one": 1, "slots": slots, "all slots": out * slots, "residuals": 8 * out * slots * _choice(c.ic),
                 "words": out * word, "crossbar": out * word * _choice(slots), "sources": which,
                 "joined": out * slots * c.joined_width, "places": out * address},
        "requant": {f"whole {c.dsp_device}": out * c.lut_filters, f"pairs {c.dsp_device}": out * c.dsp_filters},
        "pool": {"one": 1, "words": out * word, "places": out * address, "several": address * (out > 1) * out},
    }


def _buses(c):
    """What moves data from and to the DRAM, and control."""
    wide, word = c.ports * c.port_bits, 8 * c.ic
    return {
        "load": {"one": 1, "wide": wide, "ports": c.ports, "kword": 4 * c.slots * c.ic, "lanes": c.act_lanes,
                 "words": c.act_lanes * word, "addresses": c.ports * c.addr_bits},
        "store": {"one": 1, "word": word, "port": c.port_bits},
        "readport": {"ports": c.ports, "wide": wide, "addresses": c.ports * c.addr_bits},
        "readarbiter": {"one": 1, "port": c.port_bits}, "writeport": {"one": 1, "port": c.port_bits},
        "control": {"one": 1, "port": c.port_bits, "address": c.addr_bits, "places": (c.act_depth - 1).bit_length()},
        "compute": {"one": 1, "word": word * c.out_pixels}, "registers": {"one": 1}, "engine": {"one": 1},
        "pins": {"one": 1, "port": c.port_bits},
        "weightdecoder": {"lanes": c.decode_lanes, "number": int(c.decode_lanes > 0)},
        "decodelane": {"lanes": c.decode_lanes, "bits": c.decode_lanes * c.decode_width},
    }


def features(config: EngineConfig, family: str) -> dict[str, dict[str, float]]:
    """What each block is made of, ``{block: {what: number}}``: its LUTs and its flip-flops are linear in it."""
    found = {**_elements(config), **_memories(config), **_behind(config), **_buses(config)}
    for block, luts in _queues(config, family).items():
        found[block]["memory"] = luts
    return found


@dataclass(frozen=True)
class Fit:
    """Weights of the features by resource of :data:`FITTED`, ``{resource: {block: {what: weight}}}``."""
    weights: Mapping[str, Mapping[str, Mapping[str, float]]]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> "Fit":
        """Fitted to rows (:func:`rtl.tools.sample`), block by block: the least squares of errors relative to the whole
        engine, or to the ``part`` of one that was measured, with no weight below 0."""
        configs = [(EngineConfig.from_dict(row["config"]), row["family"]) for row in rows]
        found = [features(*one) for one in configs]
        weights: dict[str, dict[str, dict[str, float]]] = {resource: {} for resource in FITTED}
        for resource in FITTED:
            whole = np.array([sum(block[resource] for block in row["blocks"].values()) for row in rows], float)
            for block in {name: None for row in rows for name in row["blocks"]}:
                if not all(block in one for one in found):
                    raise AlloyError(f"the rows of the resource model have a block {block} that it does not know: "
                                     "describe it in boards.resources.features")
                names = sorted({what for one in found for what in one[block]})
                kept = [at for at, row in enumerate(rows) if block in row["blocks"] or not row.get("part")]
                matrix = np.array([[found[at][block].get(name, 0.0) for name in names] for at in kept])
                values = np.array([rows[at]["blocks"].get(block, {}).get(resource, 0) for at in kept], float)
                solved = _least_squares(matrix / whole[kept, None], values / whole[kept])
                weights[resource][block] = dict(zip(names, solved.tolist(), strict=True))
        return cls(weights)

    def __call__(self, config: EngineConfig, family: str) -> dict[str, float]:
        """LUTs and flip-flops of an engine."""
        found = features(config, family)
        return {resource: sum(weight * found[block].get(name, 0.0) for block, own in blocks.items()
                              for name, weight in own.items()) for resource, blocks in self.weights.items()}


def _least_squares(matrix, values):
    """Weights of at least 0 (an active set: the one that is most below is left out, until none is)."""
    scale = np.abs(matrix).max(0)
    kept = [at for at in range(matrix.shape[1]) if scale[at]]
    out = np.zeros(matrix.shape[1])
    while kept:
        solved = np.linalg.lstsq(matrix[:, kept] / scale[kept], values, rcond=None)[0]
        if solved.min() >= 0:
            out[kept] = solved / scale[kept]
            break
        kept.pop(int(solved.argmin()))
    return out


@cache
def _fitted():
    return Fit.of(read_json(ROWS, "table of engines", list))


def resources(config: EngineConfig, family: str) -> dict[str, float]:
    """Number of each of :data:`spec.devices.RESOURCES` that an engine takes: DSPs, block and ultra RAMs counted, LUTs
    and flip-flops estimated."""
    return {**_fitted()(config, family), "dsp": multipliers(config), **rams(config, family)}


def left_out(rows: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, dict[str, float]]]:
    """(name, relative error of each of :data:`FITTED`) of every whole engine by a fit to all others."""
    for at, row in enumerate(rows):
        if row.get("part"):
            continue
        config = EngineConfig.from_dict(row["config"])
        found = Fit.of([*rows[:at], *rows[at + 1:]])(config, row["family"])
        yield config.name, {resource: found[resource] / sum(block[resource] for block in row["blocks"].values()) - 1
                            for resource in FITTED}
