"""Depth of every pipeline of an engine, in cycles.

Blocks are built with these, publish them as ``latency`` and are tested against them; :mod:`sim.cycle_model` adds them
up. ``config`` is an :class:`spec.config.EngineConfig`, or a block with the values that matter under the same names.
"""

from typing import Any

from .devices import MULTIPLIERS
from .packing import columns, solve

__all__ = ["READ", "GATHER", "PARTS", "IMAGE_ROW", "TABLE", "CHAIN", "ADDED", "SCALE", "REQUANT", "RESIDUAL", "QUEUE",
           "BUFFERED", "DONE", "WALK", "START", "GATHERED", "ROOM", "CHECK", "TOKEN", "CODE_TABLE", "DECODER", "record",
           "tree_levels", "rotator", "feed", "fed", "dsp_totals", "lut_totals", "totals", "element", "array", "parts",
           "chains", "chain_rows", "apart", "lanes", "entry_rows", "wide_pixels", "tiles", "rows", "first_row",
           "last_row", "parameters", "post", "post_done", "pool", "pool_done"]

READ = 2            # a memory and its output register: weights, and the words of all activation banks
GATHER = READ + 1   # activation memories: from the place of one channel group to its codes
PARTS = 4           # in which a record of a table is written, one in each cycle
IMAGE_ROW = 4       # load: from the last window of an image's row to the first beat of the next, about
TABLE = 2           # from a code to its entry in a table
CHAIN = 3           # packed multipliers: operands, products, sum
ADDED = 2           # from an accumulator to its product, which a bias is added to
SCALE = 4           # from an accumulator to its sum with bias and residual: operands, product, bias, residual
REQUANT = SCALE + 3         # from an accumulator to its code: bytes, bits, clip
RESIDUAL = GATHER + 2       # from a visit to the code of its residual, beside the accumulator that waits for it
QUEUE = 1           # from an entry that goes into an empty queue to its leaving
BUFFERED = 2        # of a queue that entries leave from a register
DONE = 3            # from the last write of post and pool unit to ``done``: it can be read by then
WALK = 3            # post unit: from the first pixel of a command to its visit, which waits for its row
START = 2           # feeder: from a command to its first k-step, besides one cycle for each lane
GATHERED = 3        # feeder: from the last gather's ``done`` to the first k-step that reads the same memory
ROOM = 1            # from the last row of a tile that leaves the FIFO to the k-step that takes its place
CHECK = 6           # from a command to its passing, besides one cycle for each bit of what is multiplied
TOKEN = 3           # from a semaphore's giving to a command that waits for it, or from its passing if it waits for none
CODE_TABLE = 140    # decoder: at most, for the table of new codes
DECODER = 6         # from the beats of coded weights to the last nibbles


def record(config: Any) -> int:
    """Parameters and taps: a memory, and a register where its words come late."""
    return 2 if MULTIPLIERS[config.dsp_device].slow else 1


def tree_levels(count: int) -> int:
    """Registered levels of a tree of three-input adders over ``count`` values."""
    levels = 0
    while count > 1:
        count, levels = -(-count // 3), levels + 1
    return levels


def rotator(config: Any) -> int:
    """Feeder: registers that turn the banks, two bits of the offset each."""
    return -(-(config.pixels - 1).bit_length() // 2)


def feed(config: Any) -> int:
    """Feeder: from a k-step to its activations: tap, address, one address for each bank, banks, rotator, lanes.

    The array's ``step`` and the address of the weights are :data:`READ` cycles before.
    """
    return record(config) + 2 + READ + rotator(config) + 1


def fed(config: Any) -> int:
    """From a command's last k-step to its ``feed``: the last element has taken weights and activations."""
    return feed(config) + len(columns(config)) + config.pixels // 2 + 3


def dsp_totals(config: Any) -> int:
    """Element on multipliers: from its hop registers to its totals."""
    chains = -(-config.ic // solve(config.dsp_device, config.act_digit_bits).chain)
    return CHAIN + tree_levels(chains)


def lut_totals(config: Any) -> int:
    """Element on LUTs: the same."""
    return 1 + tree_levels(config.ic)


def totals(config: Any) -> int:
    """From the hop registers to the totals of all elements, which wait for those of the other kind."""
    return max(dsp_totals(config) if config.dsp_filters else 0, lut_totals(config) if config.lut_filters else 0)


def element(total_latency: int) -> int:
    """From the inputs of an element to its drain register: hop register, totals, accumulator, drain."""
    return 1 + total_latency + 2


def array(config: Any) -> int:
    """Grid: from a tile's last step to the last part of its first row; the columns at the left are sooner done."""
    return element(totals(config)) + len(columns(config)) - 1


def parts(config: Any) -> list[tuple[range, int]]:
    """Slots of a row that leave the array together, and how many cycles after the first ones: so the FIFO behind it
    takes them, and its block RAMs align them, two columns in each. Of ``out_pixels`` 1 it takes whole rows."""
    widths, found = columns(config), []
    many = 2 if config.out_pixels > 1 else len(widths)
    for low in range(0, len(widths), many):
        held = widths[low:low + many]
        first = sum(widths[:low])
        found.append((range(first, first + sum(held)), low + len(held) - min(many, len(widths))))
    return found


def chains(config: Any) -> int:
    """In which the rows of the array leave it, neighbours in each: as many as there are ``lanes``, if the rows can be
    shared out evenly, or half of them."""
    return next(n for n in (lanes(config), config.out_pixels) if config.pixels // 2 % n == 0)


def chain_rows(config: Any) -> int:
    """Rows of a chain."""
    return config.pixels // 2 // chains(config)


def apart(config: Any) -> int:
    """Cycles from a tile to the next, at least: the rows of a chain leave it two cycles apart."""
    return 1 if chain_rows(config) == 1 else 2 * chain_rows(config)


def lanes(config: Any) -> int:
    """Lanes that leave the FIFO behind the array together: one for each pixel that is visited at once, or two, so that
    codes of two digits leave as fast as others. Of two pixels only one: on kv260 the registers for more would take 3 %
    of the LUTs, and ResNet-18 1 % fewer cycles."""
    return config.out_pixels * (1 if config.out_pixels == 2 else 2)


def entry_rows(config: Any) -> int:
    """Rows of a chain that are one entry of its FIFO and leave it together."""
    return min(lanes(config) // 2, chain_rows(config))


def wide_pixels(config: Any) -> int:
    """Pixels of codes of two digits that are visited at once."""
    return min(config.out_pixels, lanes(config) // 2)


def tiles(config: Any) -> int:
    """Tiles whose rows the FIFOs behind the array hold: as many as the post unit takes while a tile is on its way, if
    its codes have two digits, and two more; in block RAMs, which hold more anyway, a power of two, and four
    for each lane at least."""
    wanted = 2 + -(-first_row(config) // (config.pixels // 2 // wide_pixels(config)))
    return wanted if config.out_pixels == 1 else max(4 * lanes(config), 1 << (wanted - 1).bit_length())


def _arrives(config, row):
    """Cycles from a tile's first row to another: each is a cycle behind the one above, and one more for each hop to the
    first row of its chain."""
    return row + row % chain_rows(config)


def _entry(config, first):
    """From a tile's first row to the last of those, from ``first`` on, that leave the FIFO together."""
    return max(_arrives(config, first + row) for row in range(lanes(config) // 2))


def rows(config: Any) -> int:
    """From a tile's last ``step`` to its first lanes behind the FIFO, through the weight buffer and the grid."""
    return READ + array(config) + _entry(config, 0) + BUFFERED


def first_row(config: Any) -> int:
    """From the k-step that ends a tile to its first lanes."""
    return feed(config) - READ + rows(config)


def last_row(config: Any) -> int:
    """From a tile's first lanes to its last ones."""
    return _entry(config, config.pixels // 2 - lanes(config) // 2) - _entry(config, 0)


def parameters(config: Any) -> int:
    """Post unit: from a command to its first visit, if none is before it."""
    return config.dsp_filters + config.lut_filters + record(config) + WALK


def post(config: Any) -> int:
    """Post unit: from the visit of a pixel to its write: residual, requantizer, table, crossbar."""
    return RESIDUAL + REQUANT + (TABLE if config.tables else 0) + 1


def post_done(config: Any) -> int:
    """Post unit: from its last visit to ``done``."""
    return post(config) + DONE


def pool(config: Any) -> int:
    """Pool unit: from the visit of a pixel's last tap to its write: tap, position, inside, gather, maximum."""
    return record(config) + 2 + GATHER + 1


def pool_done(config: Any) -> int:
    """Pool unit: from its last visit to ``done``."""
    return pool(config) + DONE
