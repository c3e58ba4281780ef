"""Ports of the on-chip memories, as signatures of the unit that asks; the memory has the flipped one."""

from amaranth.hdl import Module
from amaranth.lib import data, stream
from amaranth.lib.wiring import FlippedInterface, In, Out, Signature

from spec.commands import PARAM_BYTES, TABLE_RECORDS
from spec.config import EngineConfig
from spec.kwords import word_bits
from spec.latency import PARTS

from .block import Block
from .layouts import (
    PARAM, RECORD_BITS, TAP, bank_addrs_layout, bank_data_layout, codes_layout, place_layout, write_layout)

__all__ = ["TABLE_CODES", "TABLE_WORDS", "activations", "act_write_port", "feed_port", "gather_port", "join_streams",
           "loaded", "param_port", "store_port", "table_port", "tap_port", "write_port"]

TABLE_CODES = PARAM_BYTES // PARTS      # of a table that are written at once: as wide as a block RAM of 18 kbit is
TABLE_WORDS = TABLE_RECORDS * PARAM_BYTES // TABLE_CODES        # so many of a table


def write_port(depth: int, width: int) -> Signature:
    """One word of ``width`` bits into a memory of ``depth``: readable in the next cycle."""
    return Signature({"en": Out(1), "addr": Out(range(depth)), "data": Out(width)})


def table_port(tables: int) -> Signature:
    """A :func:`write_port` of ``tables`` tables, :data:`TABLE_CODES` codes at once; without a table there are the ports
    alone."""
    return write_port(max(tables, 1) * TABLE_WORDS, 8 * TABLE_CODES)


def loaded(config: EngineConfig | Block) -> Signature:
    """Weights (one k-word), parameters and taps (one record), and tables of codes, as the load unit writes them."""
    return Signature({"weights": Out(write_port(config.weight_depth, word_bits(config.slots, config.ic))),
                      "params": Out(write_port(config.param_depth * config.slots, RECORD_BITS)),
                      "taps": Out(write_port(config.tap_depth, RECORD_BITS)),
                      "tables": Out(table_port(config.tables))})


def _record_port(depth, layout):
    """One record, :data:`spec.latency.RECORD` cycles later."""
    return Signature({"en": Out(1), "addr": Out(range(depth)), "data": In(layout)})


def param_port(config: EngineConfig | Block) -> Signature:
    """Parameters: one record, :data:`spec.latency.RECORD` cycles later."""
    return _record_port(config.param_depth * config.slots, PARAM)


def tap_port(config: EngineConfig | Block) -> Signature:
    """Taps: one entry, :data:`spec.latency.RECORD` cycles later."""
    return _record_port(config.tap_depth, TAP)


def feed_port(config: EngineConfig | Block) -> Signature:
    """Activation memories: one word of every bank of memory ``mem``, :data:`spec.latency.READ` cycles later."""
    return Signature({"en": Out(1), "mem": Out(1), "addr": Out(bank_addrs_layout(config)),
                      "data": In(bank_data_layout(config))})


def gather_port(config: EngineConfig | Block) -> Signature:
    """Activation memories: the codes of one channel group of ``out_pixels`` pixels, :data:`spec.latency.GATHER` cycles
    later. Their banks have different remainders of a division by ``out_pixels``."""
    count = config.out_pixels
    return Signature({"en": Out(count), "place": Out(data.ArrayLayout(place_layout(config), count)),
                      "codes": In(data.ArrayLayout(codes_layout(config), count))})


def store_port(config: EngineConfig | Block) -> Signature:
    """Activation memories: a gather that waits until it is served; ``valid`` comes with its codes."""
    return Signature({"place": Out(stream.Signature(place_layout(config))), "valid": In(1),
                      "codes": In(codes_layout(config))})


def act_write_port(config: EngineConfig | Block) -> Signature:
    """Activation memories: codes of one channel group of ``out_pixels`` pixels, whose banks have different remainders
    of a division by that; readable in the next cycle."""
    count = config.out_pixels
    return Signature({"en": Out(count), "word": Out(data.ArrayLayout(write_layout(config), count))})


def activations(config: EngineConfig | Block) -> Signature:
    """Activation memories, as the compute side uses them: it never waits."""
    return Signature({"feed": Out(feed_port(config)), "gather": Out(gather_port(config)),
                      "write": Out(act_write_port(config))})


def join_streams(m: Module, source: stream.Interface | FlippedInterface,
                 target: stream.Interface | FlippedInterface) -> None:
    """Connect two streams, whose payloads must be alike: Amaranth's ``connect`` looks at their width only."""
    given, taken = source.payload.shape(), target.payload.shape()
    if given != taken:
        raise TypeError(f"a stream of {given!r} does not go into one of {taken!r}")
    m.d.comb += [target.payload.eq(source.payload), target.valid.eq(source.valid), source.ready.eq(target.ready)]
