"""Depth of every pipeline between the memories of an engine, in cycles.

Blocks are built with these, publish them as ``latency`` and are tested against them; :mod:`sim.cycle_model` adds them up.
``config`` is an :class:`spec.config.EngineConfig`, or a block with the values that matter under the same names.
"""

from .packing import columns, solve

__all__ = ["READ", "GATHER", "RECORD", "TABLE", "CHAIN", "REQUANT", "RESIDUAL", "QUEUE", "BUFFERED", "DONE", "tree_levels",
           "rotator", "feed", "dsp_totals", "lut_totals", "totals", "element", "array", "rows", "post", "pool"]

READ = 2            # a memory and its output register: weights, and the words of all activation banks
GATHER = READ + 1   # activation memories: from the place of one channel group to its codes
RECORD = 1          # parameters and taps: a memory alone
TABLE = 2           # from a code to its entry in a table
CHAIN = 3           # packed multipliers: operands, products, sum
REQUANT = 7         # from an accumulator to its code
RESIDUAL = GATHER + 1       # from the place of a residual to its code, beside the accumulator that waits for it
QUEUE = 1           # from an entry that goes into an empty queue to its leaving
BUFFERED = 2        # of a queue that entries leave from a register
DONE = 3            # from the last write of post and pool unit to ``done``: it can be read by then


def tree_levels(count):
    """Registered levels of a tree of three-input adders over ``count`` values."""
    levels = 0
    while count > 1:
        count, levels = -(-count // 3), levels + 1
    return levels


def rotator(config):
    """Feeder: registers that turn the banks, two bits of the offset each."""
    return -(-(config.pixels - 1).bit_length() // 2)


def feed(config):
    """Feeder: from a k-step to its activations: tap, address, one address for each bank, banks, rotator, lanes.

    The array's ``step`` and the address of the weights are :data:`READ` cycles before.
    """
    return 3 + READ + rotator(config) + 1


def dsp_totals(config):
    """Element on multipliers: from its hop registers to its totals."""
    chains = -(-config.ic // solve(config.dsp_device, config.act_digit_bits).chain)
    return CHAIN + tree_levels(chains)


def lut_totals(config):
    """Element on LUTs: the same."""
    return 1 + tree_levels(config.ic)


def totals(config):
    """From the hop registers to the totals of all elements, which wait for those of the other kind."""
    return max(dsp_totals(config) if config.dsp_filters else 0, lut_totals(config) if config.lut_filters else 0)


def element(total_latency):
    """From the inputs of an element to its drain register: hop register, totals, accumulator, drain."""
    return 1 + total_latency + 2


def array(config):
    """Grid: from a tile's last step to its first row; the columns at the left wait for those at the right."""
    return element(totals(config)) + len(columns(config)) - 1


def rows(config):
    """From a tile's last ``step`` to its first row behind the FIFO, through the weight buffer and the grid."""
    return READ + array(config) + BUFFERED


def post(config):
    """Post unit: from the visit of a pixel to its write: residual, requantizer, table, crossbar."""
    return RESIDUAL + REQUANT + (TABLE if config.tables else 0) + 1


def pool():
    """Pool unit: from the visit of a pixel's last tap to its write: tap, place, gather, maximum."""
    return RECORD + 1 + GATHER + 1
