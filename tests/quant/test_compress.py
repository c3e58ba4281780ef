"""Huffman coding of weights: lossless, close to the entropy, damage is seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant.compress import code_lengths, decode, encode, entropy
from spec.errors import AlloyError


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 15), min_size=1, max_size=300))
def test_lossless_and_near_the_entropy(symbols):
    symbols = np.array(symbols)
    lengths = code_lengths(np.bincount(symbols, minlength=16))
    data = encode(symbols, lengths)
    assert (decode(data, lengths, len(symbols)) == symbols).all()
    assert entropy(symbols) * len(symbols) <= lengths[symbols].sum() + 1e-6 <= (entropy(symbols) + 1) * len(symbols) + 1e-6
    assert len(data) == -(-lengths[symbols].sum() // 8)


def test_lengths_are_bounded():
    counts = np.array([1 << i for i in range(30)])
    lengths = code_lengths(counts)
    assert lengths.max() <= 15 and (2.0 ** -lengths).sum() <= 1
    symbols = np.arange(30)
    assert (decode(encode(symbols, lengths), lengths, 30) == symbols).all()


def test_damage_is_seen():
    symbols = np.arange(16).repeat(4)
    lengths = code_lengths(np.bincount(symbols))
    data = encode(symbols, lengths)
    with pytest.raises(AlloyError, match="damaged at symbol"):
        decode(data[:-4], lengths, 64)
    with pytest.raises(AlloyError, match="has no code"):
        encode(np.array([3]), code_lengths(np.array([5, 5, 1, 0])))
