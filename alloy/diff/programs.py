"""A program file against what the compiler makes of the network: what is other in it, and where it is used."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from spec.commands import PARAM_BYTES, PARAM_FIELDS, TAP_FIELDS, Opcode, unpack, unpack_record
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.kwords import beats_of, unpack_words
from spec.network import Network
from spec.program import Program

__all__ = ["differences", "with_all_tensors"]

RECORDS = {Opcode.LOAD_PARAMS: PARAM_FIELDS, Opcode.LOAD_TAPS: TAP_FIELDS, Opcode.LOAD_TABLES: {}}


def differences(given: Program, made: Program, network: Network, config: EngineConfig) -> list[str]:
    """A sentence for every command of ``given``, and for every load of other data, that is not as in ``made``."""
    if given.command_count != made.command_count:
        return [f"it has {given.command_count} commands, the compiler makes {made.command_count}"]
    found = [text for index, pair in enumerate(zip(given.commands, made.commands, strict=True)) if pair[0] != pair[1]
             for text in _command(index, *pair, network)]
    if found:
        return found
    if len(given.image) != len(made.image):
        return [f"its image has {len(given.image)} bytes, the compiler makes {len(made.image)}"]
    bad = set(np.flatnonzero(_bytes(given) != _bytes(made)).tolist())
    for index, c in enumerate(map(unpack, made.commands)):
        covered = {at for one in _ranges(c, config) for at in bad if at in one}
        if covered:
            bad -= covered
            found.append(f"command {index} {c['opcode'].name} of {_layer(c, network)} loads other data "
                         f"({len(covered)} bytes, the first at {min(covered)}): {_what(c, given, made, config)}")
    return found + ([f"{len(bad)} bytes that no command loads, the first at {min(bad)}"] if bad else [])


def with_all_tensors(given: Program, made: Program, whole: Program) -> Program | None:
    """``given`` as a program that writes every tensor: ``whole``, as ``made`` without that, with the data of ``given``.
    None if its commands are not those of ``made``, or the data lie otherwise."""
    starts = [min(c["dram"] for c in map(unpack, one.commands) if c["opcode"] in {*RECORDS, Opcode.LOAD_WEIGHTS})
              for one in (made, whole)]
    if given.commands != made.commands or made.image[starts[0]:] != whole.image[starts[1]:]:
        return None
    return replace(whole, image=whole.image[:starts[1]] + given.image[starts[0]:])


def _bytes(program):
    return np.frombuffer(program.image, np.uint8)


def _layer(c, network):
    return f"layer {network.nodes[c['tag']].name}" if c["tag"] < len(network.nodes) else f"layer number {c['tag']}"


def _command(index: int, found: bytes, right: bytes, network: Network) -> Iterator[str]:
    wanted = unpack(right)
    what = f"command {index} {wanted['opcode'].name} of {_layer(wanted, network)}"
    try:
        got = unpack(found)
    except AlloyError as error:
        yield f"{what}: {error}"
        return
    names = [name for name in wanted if got.get(name) != wanted[name]]
    values = ", ".join(f"{name} is {got.get(name, 'not there')}, the compiler makes {wanted[name]}" for name in names)
    yield f"{what}: {values or 'bits that mean nothing'}"


def _ranges(c: dict, config: EngineConfig) -> list[range]:
    """Bytes of the window that a load of weights or records reads."""
    if c["opcode"] == Opcode.LOAD_WEIGHTS:
        size = beats_of(c, config) * config.port_bytes
        return [range(c["dram"] + port * c["stride"], c["dram"] + port * c["stride"] + size)
                for port in range(config.ports)]
    return [range(c["dram"], c["dram"] + c["count"] * PARAM_BYTES)] if c["opcode"] in RECORDS else []


def _what(c: dict, given: Program, made: Program, config: EngineConfig) -> str:
    """The first thing that a load brings otherwise."""
    if c["opcode"] == Opcode.LOAD_WEIGHTS:
        words = [unpack_words(np.stack([_bytes(one)[part.start:part.stop] for part in _ranges(c, config)]), c, config)
                 for one in (given, made)]
        wrong_at = np.argwhere(words[0] != words[1])
        if not len(wrong_at):
            return "bits that mean nothing"
        at = tuple(map(int, wrong_at[0]))
        return (f"word {c['dst'] + at[0]}, slot {at[1]}, input channel {at[2]} is {words[0][at]}, the compiler makes "
                f"{words[1][at]}")
    fields = RECORDS[c["opcode"]]
    for number in range(c["count"]):
        at = c["dram"] + number * PARAM_BYTES
        data = [one.image[at:at + PARAM_BYTES] for one in (given, made)]
        if data[0] == data[1]:
            continue
        if not fields:
            at_byte = next(i for i in range(PARAM_BYTES) if data[0][i] != data[1][i])
            code = (c["dst"] + number) * PARAM_BYTES + at_byte
            return (f"code {code % 256} of table {code // 256} is {data[0][at_byte]}, the compiler makes "
                    f"{data[1][at_byte]}")
        records = [unpack_record(fields, part) for part in data]
        name = next((name for name in fields if records[0][name] != records[1][name]), "")
        where = f"slot {(c['dst'] + number) % config.slots}" if fields is PARAM_FIELDS else f"tap {c['dst'] + number}"
        return f"{name} of {where} is {records[0][name]}, the compiler makes {records[1][name]}"
    return "bits that mean nothing"
