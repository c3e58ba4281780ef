"""Huffman coding of weights: lossless, close to the entropy, damage is seen."""

from itertools import product

from hypothesis import given, settings, strategies as st
import numpy as np
import pytest

from spec.coding import LANE_BITS, LONGEST, code_lengths, code_table, decode, encode, entropy
from spec.errors import AlloyError


def lengths_of(symbols):
    return code_lengths(np.bincount(np.ravel(symbols), minlength=16))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 2, 4, 8]), st.sampled_from([2, 4, 8, 16]), st.integers(1, 60),
       st.integers(1, 16))
def test_lossless_and_near_the_entropy(seed, lanes, width, steps, kinds):
    if lanes * width % 8:
        lanes = 4
    rng = np.random.default_rng(seed)
    symbols = rng.choice(16, (steps, lanes), p=rng.dirichlet(np.r_[np.full(kinds, 0.5), np.full(16 - kinds, 1e-3)]))
    lengths = lengths_of(symbols)
    beats = encode(symbols, lengths, width)
    if beats is not None:
        assert (decode(beats, lengths, steps, lanes, width) == symbols).all()
        longest = lengths[symbols].sum(0).max() + LONGEST
        assert beats.shape == (-(-longest // width), lanes * width // 8)
    assert entropy(symbols) <= lengths[symbols].mean() + 1e-9 and lengths[symbols].mean() <= entropy(symbols) + 1 + 1e-9


@pytest.mark.parametrize("counts", [
    [5, 3, 1, 1], [100, 1, 1, 1, 1], [1] * 16, [1 << i for i in range(16)], [7], [4, 4]])
def test_no_shorter_code(counts):
    """Exhaustive over all complete codes of few symbols; bounded and decodable for many."""
    counts = np.array(counts + [0] * (16 - len(counts)))
    lengths, used = code_lengths(counts), np.flatnonzero(counts)
    assert (lengths[counts == 0] == 0).all() and lengths.max() <= LONGEST and (2.0 ** -lengths[used]).sum() <= 1
    if 1 < len(used) <= 5:
        best = min(np.dot(counts[used], sizes) for sizes in product(range(1, LONGEST + 1), repeat=len(used))
                    if (2.0 ** -np.array(sizes)).sum() <= 1)
        assert np.dot(counts, lengths) == best


def test_table_is_prefix_free_and_complete():
    lengths = lengths_of(np.random.default_rng(0).integers(0, 16, 999) ** 2 // 16)
    symbol, size = code_table(lengths)
    assert (size > 0).all() and all((symbol == s).sum() == 1 << LONGEST - lengths[s] for s in range(16) if lengths[s])


def test_lanes_that_drift_apart_are_refused():
    symbols = np.zeros((400, 2), int)
    symbols[:, 1] = np.arange(400) % 15 + 1
    assert encode(symbols, lengths_of(symbols), 4) is None
    assert encode(symbols[:LANE_BITS // 7], lengths_of(symbols), 4) is not None


def test_damage_is_seen():
    symbols = np.arange(16).repeat(4).reshape(-1, 2)
    lengths = lengths_of(symbols)
    beats = encode(symbols, lengths, 4)
    with pytest.raises(AlloyError, match="damaged at step"):
        decode(beats[:-4], lengths, 32, 2, 4)
    with pytest.raises(AlloyError, match="damaged at step 0"):
        decode(~beats * 0 + 255, code_lengths(np.array([5, 0, 0])), 32, 2, 4)
    with pytest.raises(AlloyError, match="has no code"):
        encode(np.full((1, 2), 3), code_lengths(np.array([5, 5, 1, 0])), 4)
