"""Ports of the on-chip memories, as signatures of the unit that asks; the memory has the flipped one."""

from dataclasses import replace

from amaranth.hdl import Module
from amaranth.lib import data, stream
from amaranth.lib.wiring import FlippedInterface, In, Out, Signature

from spec import memories
from spec.config import EngineConfig
from spec.memories import TABLE_WORDS, Shape

from .block import Block
from .layouts import PARAM, TAP, bank_addrs_layout, bank_data_layout, codes_layout, place_layout, write_layout

__all__ = ["activations", "act_write_port", "feed_port", "gather_port", "join_streams", "loaded", "param_port",
           "store_port", "table_port", "tap_port", "write_port"]


def write_port(shape: Shape) -> Signature:
    """One word into a memory: readable in the next cycle."""
    return Signature({"en": Out(1), "addr": Out(range(shape.depth)), "data": Out(shape.width)})


def table_port(config: EngineConfig | Block) -> Signature:
    """A :func:`write_port` of tables of codes; without a table there are the ports alone."""
    shape = memories.table(config)
    return write_port(replace(shape, depth=max(shape.depth, TABLE_WORDS)))


def loaded(config: EngineConfig | Block) -> Signature:
    """Weights (one k-word), parameters and taps (one record), and tables of codes, as the load unit writes them."""
    return Signature({"weights": Out(write_port(memories.weights(config, config.slots))),
                      "params": Out(write_port(memories.params(config))),
                      "taps": Out(write_port(memories.taps(config))), "tables": Out(table_port(config))})


def _record_port(shape, layout):
    """One record, :func:`spec.latency.record` cycles later."""
    return Signature({"en": Out(1), "addr": Out(range(shape.depth)), "data": In(layout)})


def param_port(config: EngineConfig | Block) -> Signature:
    """Parameters: one record, :func:`spec.latency.record` cycles later."""
    return _record_port(memories.params(config), PARAM)


def tap_port(config: EngineConfig | Block) -> Signature:
    """Taps: one entry, :func:`spec.latency.record` cycles later."""
    return _record_port(memories.taps(config), TAP)


def feed_port(config: EngineConfig | Block) -> Signature:
    """Activation memories: one word of every bank of memory ``mem``, :data:`spec.latency.READ` cycles later."""
    return Signature({"en": Out(1), "mem": Out(1), "addr": Out(bank_addrs_layout(config)),
                      "data": In(bank_data_layout(config))})


def gather_port(config: EngineConfig | Block) -> Signature:
    """Activation memories: the codes of one channel group of ``out_pixels`` pixels, :data:`spec.latency.GATHER` cycles
    later. Their banks have different remainders of a division by ``out_pixels``. All lie in one memory: ``mems`` has a
    bit for it, while something is read."""
    count = config.out_pixels
    return Signature({"en": Out(count), "mems": Out(2), "place": Out(data.ArrayLayout(place_layout(config), count)),
                      "codes": In(data.ArrayLayout(codes_layout(config), count))})


def store_port(config: EngineConfig | Block) -> Signature:
    """Activation memories: a gather that waits until it is served; ``valid`` comes with its codes."""
    return Signature({"place": Out(stream.Signature(place_layout(config))), "valid": In(1),
                      "codes": In(codes_layout(config))})


def act_write_port(config: EngineConfig | Block) -> Signature:
    """Activation memories: codes of one channel group of ``out_pixels`` pixels, whose banks have different remainders
    of a division by that; readable in the next cycle. All lie in one memory: ``mems`` has a bit for it, while there is
    something to write. ``mask``: the channels that are written."""
    count = config.out_pixels
    return Signature({"en": Out(count), "mems": Out(2), "mask": Out(config.ic),
                      "word": Out(data.ArrayLayout(write_layout(config), count))})


def activations(config: EngineConfig | Block) -> Signature:
    """Activation memories, as the compute side uses them: it never waits. ``stores``: a store has something to read,
    which waits for a cycle without gathers."""
    return Signature({"feed": Out(feed_port(config)), "gather": Out(gather_port(config)),
                      "write": Out(act_write_port(config)), "stores": In(1)})


def join_streams(m: Module, source: stream.Interface | FlippedInterface,
                 target: stream.Interface | FlippedInterface) -> None:
    """Connect two streams, whose payloads must be alike: Amaranth's ``connect`` looks at their width only."""
    given, taken = source.payload.shape(), target.payload.shape()
    if given != taken:
        raise TypeError(f"a stream of {given!r} does not go into one of {taken!r}")
    m.d.comb += [target.payload.eq(source.payload), target.valid.eq(source.valid), source.ready.eq(target.ready)]
