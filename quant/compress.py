"""Lossless compression of weight codes: canonical Huffman codes of at most 15 bits, one table for each layer.

A table is the code length of each symbol (4 bits each, 0: absent); codes of one length are in the order of the symbols (RFC 1951, section
3.2.2). A coded stream is its bits, the first bit of a code first, filling bytes from the least significant bit.
"""

import heapq

import numpy as np

from spec.errors import AlloyError

__all__ = ["code_lengths", "encode", "decode", "entropy"]

LONGEST = 15


def entropy(codes):
    """Bits per symbol below which no code can go that treats symbols independently."""
    share = np.unique(codes, return_counts=True)[1] / np.size(codes)
    return float(-(share * np.log2(share)).sum())


def code_lengths(counts):
    """Length of the code of each symbol for its frequency; 0 for those that do not occur."""
    heap = [(int(count), index, (index,)) for index, count in enumerate(counts) if count]
    lengths = np.zeros(len(counts), int)
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
        return lengths
    heapq.heapify(heap)
    while len(heap) > 1:
        a, b = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in (*a[2], *b[2]):
            lengths[symbol] += 1
        heapq.heappush(heap, (a[0] + b[0], min(a[1], b[1]), (*a[2], *b[2])))
    return code_lengths(np.ceil(np.asarray(counts) / 2)) if lengths.max() > LONGEST else lengths


def _codes(lengths):
    """Canonical code of each symbol, its first bit the most significant."""
    codes, code, before = np.zeros(len(lengths), int), 0, 0
    for symbol in sorted(np.flatnonzero(lengths), key=lambda s: (lengths[s], s)):
        code <<= int(lengths[symbol]) - before
        codes[symbol], before = code, int(lengths[symbol])
        code += 1
    return codes


def encode(symbols, lengths):
    """The coded bytes of an array of symbols."""
    symbols = np.ravel(symbols)
    codes, sizes = _codes(lengths)[symbols], np.asarray(lengths)[symbols]
    if (sizes == 0).any():
        raise AlloyError(f"symbol {symbols[sizes == 0][0]} has no code: make the table from the same data")
    ends = np.cumsum(sizes)
    bits = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    for bit in range(int(sizes.max(initial=0))):
        has = sizes > bit
        bits[(ends - sizes)[has] + bit] = codes[has] >> (sizes[has] - 1 - bit) & 1
    return np.packbits(bits, bitorder="little").tobytes()


def decode(data, lengths, count):
    """The ``count`` symbols of coded bytes. Raises :class:`AlloyError` if they end early or hold what is no code."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    table = {(int(size), int(code)): symbol for symbol, (size, code) in enumerate(zip(lengths, _codes(lengths))) if size}
    out, at = np.empty(count, np.int64), 0
    for index in range(count):
        code = size = 0
        while (size, code) not in table:
            if at == len(bits) or size == LONGEST:
                raise AlloyError(f"the compressed weights are damaged at symbol {index} of {count}: compile the network again")
            code, size, at = code << 1 | int(bits[at]), size + 1, at + 1
        out[index] = table[size, code]
    return out
