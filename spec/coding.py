"""Lossless coding of weights: Huffman codes of nibbles in parallel lanes, as the load unit decodes them
(docs/architecture.md).

Nibble n of a k-word belongs to lane ``n mod lanes``; every step takes one code from each lane. Codes are canonical, of
at most :data:`LONGEST` bits: a table is the length of each nibble's code (0: absent), and codes of one length are in
the order of the nibbles (RFC 1951, section 3.2.2). A lane's stream is its codes one after the other, first bit first,
and at least :data:`LONGEST` bits more. A beat holds the next ``width`` bits of every lane, from the least significant
bit; the streams end together.
"""

from collections.abc import Sequence

import numpy as np

from .errors import AlloyError

__all__ = ["LONGEST", "LANE_BITS", "entropy", "code_lengths", "pack_lengths", "unpack_lengths", "code_table",
           "encode", "decode"]

LONGEST = 7
LENGTH_BITS = 3         # of the length of one code in a command
LANE_BITS = 512         # that a lane holds while slower ones catch up
SYMBOLS = 16


def entropy(symbols: np.ndarray) -> float:
    """Bits per symbol below which no code can go that treats symbols independently."""
    share = np.unique(symbols, return_counts=True)[1] / np.size(symbols)
    return float(-(share * np.log2(share)).sum())


def code_lengths(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Lengths (16,) of the shortest code for these frequencies (16,), by package-merge (Larmore and Hirschberg,
    J. ACM 37, 1990)."""
    coins = sorted((int(count), (symbol,)) for symbol, count in enumerate(counts) if count)
    lengths = np.zeros(SYMBOLS, int)
    merged: list[tuple[int, tuple[int, ...]]] = []
    if len(coins) == 1:
        lengths[coins[0][1][0]] = 1
        return lengths
    for _ in range(LONGEST):
        pairs = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(merged[:-1:2], merged[1::2], strict=True)]
        merged = sorted(coins + pairs)
    for _, symbols in merged[:2 * len(coins) - 2]:
        np.add.at(lengths, list(symbols), 1)
    return lengths


def pack_lengths(lengths: Sequence[int] | np.ndarray) -> int:
    """Lengths of all nibbles' codes as the field ``codes`` of a command has them."""
    return sum(int(n) << LENGTH_BITS * i for i, n in enumerate(lengths))


def unpack_lengths(codes: int) -> list[int]:
    """Inverse of :func:`pack_lengths`."""
    return [codes >> LENGTH_BITS * i & (1 << LENGTH_BITS) - 1 for i in range(SYMBOLS)]


def code_table(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """(symbol, length) of the code at the start of each window of ``LONGEST`` bits, the first bit the most significant:
    two arrays.

    Windows that start no code have length 0.
    """
    table, at = np.zeros((2, 1 << LONGEST), np.int64), 0
    for size in range(1, LONGEST + 1):
        for symbol in np.flatnonzero(np.asarray(lengths) == size):
            table[:, at:at + (1 << LONGEST - size)] = np.array([[symbol], [size]])
            at += 1 << LONGEST - size
    return table


def encode(symbols: np.ndarray, lengths: Sequence[int] | np.ndarray, width: int) -> np.ndarray | None:
    """Beats of coded nibbles.

    Parameters
    ----------
    symbols : int array (steps, lanes). width : bits of each lane in a beat.

    Returns
    -------
    uint8 array (beats, lanes * width / 8), or None if the lanes drift further apart than ``LANE_BITS``.
    """
    sizes = np.asarray(lengths)[symbols]
    if (sizes == 0).any():
        raise AlloyError(f"nibble {symbols[sizes == 0][0]} has no code: make the table from the same weights")
    starts = np.zeros((len(symbols) + 1, symbols.shape[1]), np.int64)
    starts[1:] = np.cumsum(sizes, 0)
    needed = -(-(starts.max(1) + LONGEST) // width)         # beats that must have come before each step, and in the end
    if (needed - starts.min(1) // width).max() > LANE_BITS // width:
        return None
    first = np.zeros(SYMBOLS, np.int64)                     # window of each symbol's code
    table = code_table(lengths)
    for window in range((1 << LONGEST) - 1, -1, -1):
        if table[1, window]:
            first[table[0, window]] = window
    bits = np.zeros((symbols.shape[1], int(needed[-1]) * width), np.uint8)
    lane = np.broadcast_to(np.arange(symbols.shape[1]), symbols.shape)
    for bit in range(LONGEST):
        has = sizes > bit
        bits[lane[has], starts[:-1][has] + bit] = first[symbols[has]] >> (LONGEST - 1 - bit) & 1
    beats = bits.reshape(len(bits), -1, width).transpose(1, 0, 2)
    return np.packbits(beats.reshape(len(beats), -1), 1, bitorder="little")


def decode(beats: np.ndarray, lengths: Sequence[int] | np.ndarray, steps: int, lanes: int, width: int) -> np.ndarray:
    """Nibbles (steps, lanes) of :func:`encode`'s beats.

    Raises :class:`AlloyError` where the streams end early, hold what is no code or drift further apart than
    ``LANE_BITS``.
    """
    apart = np.unpackbits(np.asarray(beats, np.uint8), axis=1, bitorder="little").reshape(len(beats), lanes, width)
    bits = apart.transpose(1, 0, 2).reshape(lanes, -1).astype(np.int64)
    table, out = code_table(lengths), np.empty((steps, lanes), np.int64)
    lane, at = np.arange(lanes)[:, None], np.zeros((lanes, 1), np.int64)
    for step in range(steps):
        positions = at + np.arange(LONGEST)
        drift = -(-(at.max() + LONGEST) // width) - at.min() // width
        short = positions.max() >= bits.shape[1] or drift > LANE_BITS // width
        window = np.zeros(lanes, np.int64) if short else bits[lane, positions] @ (1 << np.arange(LONGEST)[::-1])
        symbol, size = table[:, window]
        if short or (size == 0).any():
            raise AlloyError(f"the coded weights are damaged at step {step} of {steps}: compile the network again")
        out[step], at = symbol, at + size[:, None]
    return out
