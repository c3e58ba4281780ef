"""Ports of the on-chip memories, as members of the unit that asks (:func:`memory_side`: of the memory)."""

from amaranth.hdl import Module
from amaranth.lib import stream
from amaranth.lib.wiring import Component, FlippedInterface, In, Member, Out

from spec.commands import TABLE_RECORDS
from spec.config import EngineConfig
from spec.kwords import word_bits

from .block import Block
from .layouts import RECORD_BITS, bank_addrs_layout, bank_data_layout, codes_layout, place_layout, write_layout

__all__ = ["act_write_port", "feed_port", "gather_port", "join_ports", "join_streams", "loaded_ports", "memory_side",
           "table_port", "write_port"]


def write_port(name: str, depth: int, width: int) -> dict[str, Member]:
    """One word of ``width`` bits into a memory of ``depth``: readable in the next cycle."""
    return {f"{name}_en": Out(1), f"{name}_addr": Out(range(depth)), f"{name}_data": Out(width)}


def table_port(tables: int) -> dict[str, Member]:
    """A :func:`write_port` of ``tables`` tables, 16 codes at once; without a table there are the ports alone."""
    return write_port("table", max(tables, 1) * TABLE_RECORDS, RECORD_BITS)


def loaded_ports(config: EngineConfig | Block) -> dict[str, Member]:
    """Weights, parameters, taps and tables of codes, as the load unit writes them."""
    return {**write_port("w", config.weight_depth, word_bits(config.slots, config.ic)),
            **write_port("p", config.param_depth * config.slots, RECORD_BITS),
            **write_port("t", config.tap_depth, RECORD_BITS), **table_port(config.tables)}


def feed_port(config: EngineConfig | Block) -> dict[str, Member]:
    """Activation memories: one word of every bank of memory ``feed_mem``, :data:`spec.latency.READ` cycles later."""
    return {"feed_en": Out(1), "feed_mem": Out(1), "feed_addr": Out(bank_addrs_layout(config)),
            "feed_data": In(bank_data_layout(config))}


def gather_port(config: EngineConfig | Block) -> dict[str, Member]:
    """Activation memories: the codes of one channel group, :data:`spec.latency.GATHER` cycles later."""
    return {"gather_en": Out(1), "gather": Out(place_layout(config)), "gathered": In(codes_layout(config))}


def act_write_port(config: EngineConfig | Block) -> dict[str, Member]:
    """Activation memories: codes of one channel group; readable in the next cycle."""
    return {"write_en": Out(1), "write": Out(write_layout(config))}


def memory_side(ports: dict[str, Member]) -> dict[str, Member]:
    """The same ports of the memory."""
    return {name: member.flip() for name, member in ports.items()}


def join_ports(m: Module, ports: dict[str, Member], source: Component, target: Component) -> None:
    """Connect ``source``, which has ``ports``, to whatever carries them on or has the memory, under the same names."""
    for name, member in ports.items():
        given, taken = getattr(source, name), getattr(target, name)
        m.d.comb += taken.eq(given) if member.flow == Out else given.eq(taken)


def join_streams(m: Module, source: stream.Interface | FlippedInterface,
                 target: stream.Interface | FlippedInterface) -> None:
    """Connect two streams, whose payloads must be alike: Amaranth's ``connect`` looks at their width only."""
    given, taken = source.payload.shape(), target.payload.shape()
    if given != taken:
        raise TypeError(f"a stream of {given!r} does not go into one of {taken!r}")
    m.d.comb += [target.payload.eq(source.payload), target.valid.eq(source.valid), source.ready.eq(target.ready)]
