"""What loads do: each function empties the destination and returns what happens when the data has landed."""

from collections.abc import Callable, Mapping

import numpy as np

from spec.commands import PARAM_BYTES, PARAM_FIELDS, TAP_BYTES, TAP_FIELDS, Field, Opcode, unpack_record
from spec.kwords import beats_of, unpack_words

from .memories import EMPTY, Command, Memories

__all__ = ["LOADS", "Land"]

Land = Callable[[], None]


def _weights(m: Memories, cmd: Command) -> Land:
    c, where = m.config, slice(cmd["dst"], cmd["dst"] + cmd["count"])
    size = beats_of(cmd, c) * c.port_bytes
    streams = np.stack([m.words(cmd["dram"] + i * cmd["stride"], size) for i in range(c.ports)])
    nibbles = unpack_words(streams, cmd, c)
    m.weights[where] = EMPTY

    def land():
        m.weights[where] = nibbles
    return land


def _records(m: Memories, cmd: Command, fields: Mapping[str, Field], table: list, size: int) -> Land:
    where = slice(cmd["dst"], cmd["dst"] + cmd["count"])
    data = m.words(cmd["dram"], cmd["count"] * size).astype(np.uint8).tobytes()
    table[where] = [None] * cmd["count"]

    def land():
        table[where] = [unpack_record(fields, data[i * size:(i + 1) * size]) for i in range(cmd["count"])]
    return land


def _params(m: Memories, cmd: Command) -> Land:
    return _records(m, cmd, PARAM_FIELDS, m.params, PARAM_BYTES)


def _taps(m: Memories, cmd: Command) -> Land:
    return _records(m, cmd, TAP_FIELDS, m.taps, TAP_BYTES)


def _tables(m: Memories, cmd: Command) -> Land:
    where = slice(cmd["dst"], cmd["dst"] + cmd["count"])
    data = m.words(cmd["dram"], cmd["count"] * PARAM_BYTES).reshape(-1, PARAM_BYTES).copy()
    m.tables[where] = EMPTY

    def land():
        m.tables[where] = data
    return land


def _act(m: Memories, cmd: Command) -> Land:
    if cmd["image"]:
        writes = list(m.windows(cmd))
    else:
        writes = [(place, m.channels(at, cmd["out_groups"]).copy()) for place, at in m.pixels(cmd)]
    for place, _ in writes:
        m.act[place] = EMPTY
    m.apart(cmd, [place for place, _ in writes])

    def land():
        for place, codes in writes:
            m.act[place] = codes
    return land


LOADS: dict[Opcode, Callable[[Memories, Command], Land]] = {
    Opcode.LOAD_WEIGHTS: _weights, Opcode.LOAD_PARAMS: _params, Opcode.LOAD_TAPS: _taps, Opcode.LOAD_TABLES: _tables,
    Opcode.LOAD_ACT: _act}
