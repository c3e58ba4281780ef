"""The bits of a k-word: the weights that all filter slots meet in one step of the array, and how they lie in DRAM.

A k-word has one nibble for each slot and input channel: nibble ``slot * ic + channel``, at bit 4 times that. In DRAM
its bytes (the even nibble is the low half) fill wide beats, of which port p holds the bytes from ``p * port_bytes`` on;
each port has a stream of its own. Coded words (:mod:`spec.coding`) are the same nibbles by lanes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .coding import code_lengths, decode, encode, pack_lengths, unpack_lengths
from .config import EngineConfig
from .systems import DIGIT_BITS

__all__ = ["Stored", "gather", "spread", "number", "word_bits", "beats_of", "pack_words", "unpack_words"]


@dataclass(frozen=True)
class Stored:
    """k-words as they lie in DRAM: ``data`` holds the streams of all ports one after the other, ``beats`` wide beats in
    all; ``codes`` are the packed lengths of the code, 0 if the words are stored plainly."""
    data: bytes
    beats: int
    codes: int = 0

    @classmethod
    def plain(cls, count: int, config: EngineConfig) -> "Stored":
        """Of so many words, without their data."""
        return cls(b"", count * config.weight_beats)

    def fields(self, config: EngineConfig) -> dict[str, int]:
        """Of the command that loads them."""
        coded = {"beats": self.beats, "codes": self.codes} if self.codes else {}
        return {"stride": self.beats * config.port_bytes, **coded}


def word_bits(slots: int, ic: int) -> int:
    """Of one k-word on the chip."""
    return DIGIT_BITS * slots * ic


def gather(nibbles: np.ndarray) -> np.ndarray:
    """Nibbles by slot and channel (..., slots, ic) as they follow each other in a k-word (..., slots * ic)."""
    return nibbles.reshape(*nibbles.shape[:-2], -1)


def spread(words: np.ndarray, config: EngineConfig) -> np.ndarray:
    """Inverse of :func:`gather`; nibbles behind the last are left out."""
    return words[..., :config.slots * config.ic].reshape(*words.shape[:-1], config.slots, config.ic)


def number(nibbles: np.ndarray) -> int:
    """A k-word of nibbles (slots, ic) as the array's port has it."""
    return sum(int(n) << DIGIT_BITS * i for i, n in enumerate(gather(nibbles)))


def _padded(words, count):
    out = np.zeros((len(words), count), np.uint8)
    out[:, :words.shape[1]] = words
    return out


def pack_words(words: np.ndarray, config: EngineConfig) -> Stored:
    """k-words (count, slots * ic) of nibbles, coded where the engine decodes and that is shorter."""
    nibbles, codes = _padded(words, 2 * config.weight_beats * config.wide_bytes), 0
    beats = (nibbles[:, ::2] | nibbles[:, 1::2] << 4).reshape(-1, config.wide_bytes)
    if config.decode_lanes:
        symbols = _padded(words, config.decode_steps * config.decode_lanes).reshape(-1, config.decode_lanes)
        lengths = code_lengths(np.bincount(symbols.ravel(), minlength=16))
        shorter = encode(symbols, lengths, config.decode_width)
        if shorter is not None and len(shorter) < len(beats):
            beats, codes = shorter, pack_lengths(lengths)
    streams = beats.reshape(len(beats), config.ports, config.port_bytes).transpose(1, 0, 2)
    return Stored(streams.tobytes(), len(beats), codes)


def beats_of(command: Mapping[str, int], config: EngineConfig) -> int:
    """Wide beats that a LOAD_WEIGHTS reads."""
    return command["beats"] or command["count"] * config.weight_beats


def unpack_words(streams: np.ndarray, command: Mapping[str, int], config: EngineConfig) -> np.ndarray:
    """Nibbles (count, slots, ic) of a LOAD_WEIGHTS, which reads ``streams`` of bytes (ports, beats * port_bytes)."""
    beats = np.asarray(streams).reshape(config.ports, -1, config.port_bytes).transpose(1, 0, 2)
    wide = beats.reshape(-1, config.wide_bytes)
    if command["beats"]:
        words = decode(wide, unpack_lengths(command["codes"]), command["count"] * config.decode_steps,
                       config.decode_lanes, config.decode_width)
    else:
        words = np.stack([wide & 15, wide >> 4], 2)
    return spread(words.reshape(command["count"], -1), config)
