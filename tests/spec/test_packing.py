"""The packing solver: known solutions, the proof against the arithmetic itself, refusals."""

from dataclasses import replace
from itertools import product
import re

import numpy as np
import pytest

from spec.config import DSP_DEVICES, EngineConfig
from spec.devices import MULTIPLIERS
from spec.errors import AlloyError
from spec.packing import CHAIN_MAX, EVEN_WEIGHT, ODD_WEIGHT, Packing, columns, solve

SOLUTIONS = {("dsp48e2", 5): (4, 11, 4), ("dsp48e2", 4): (4, 11, 8), ("dsp48e2", 8): (2, 15, 8),
             ("dsp48e1", 5): (4, 10, 2), ("dsp48e1", 4): (4, 10, 4), ("dsp48e1", 8): (2, 15, 8),
             ("mult18", 5): (2, 12, 8), ("mult18", 3): (4, 7, 1)}
ALL = [(device, bits) for device in DSP_DEVICES for bits in range(1, 9) if device != "mult18" or bits < 7]


def signed_bits(value):
    return (value if value >= 0 else ~value).bit_length() + 1


def run_chain(packing, operands):
    """The chain as the hardware computes it, one ``(w0, w1, a0, a1)`` for each slice: fields, widest operands."""
    f, total, widths = packing.field, packing.bias, np.zeros(3, int)
    for w0, w1, a0, a1 in operands:
        acts = a0 + (a1 << f)
        wide, narrow = (w0 + (w1 << 2 * f), acts) if packing.products == 4 else (acts, w0)
        total += wide * narrow
        widths = np.maximum(widths, [signed_bits(v) for v in (wide, narrow, total)])
    assert 0 <= total < 1 << f * packing.products, "a field borrows from or overflows the packed sum"
    return [(total >> offset & (1 << f) - 1) - (1 << f - 1) for offset in packing.offsets], widths


def check_chain(packing, operands):
    fields, widths = run_chain(packing, operands)
    weights = (0, 1) if packing.products == 4 else (0,)
    assert fields == [sum(o[w] * o[2 + a] for o in operands) for w in weights for a in (0, 1)]
    ports = MULTIPLIERS[packing.device]
    assert (widths <= (ports.wide, ports.narrow, ports.total)).all()
    return fields


def corners(packing):
    top = (1 << packing.act_bits) - 1
    return list(product(EVEN_WEIGHT, ODD_WEIGHT, (0, top), (0, top)))


@pytest.mark.parametrize("device, bits", SOLUTIONS)
def test_known(device, bits):
    packing = solve(device, bits)
    assert (packing.products, packing.field, packing.chain) == SOLUTIONS[device, bits]
    assert packing.offsets == tuple(packing.field * i for i in range(packing.products))


@pytest.mark.parametrize("device, bits", ALL)
def test_corners(device, bits):
    """All slices at the same corner (every corner), and each slice at a corner of its own."""
    packing, rng = solve(device, bits), np.random.default_rng(bits)
    points = corners(packing)
    seen = [check_chain(packing, [point] * packing.chain) for point in points]
    least, most = packing.worst()[0][1:3]
    assert min(fields[0] for fields in seen) == least and max(fields[0] for fields in seen) == most
    for choice in rng.integers(0, len(points), (200, packing.chain)):
        check_chain(packing, [points[i] for i in choice])


@pytest.mark.parametrize("device, bits", ALL)
def test_random(device, bits):
    packing, rng = solve(device, bits), np.random.default_rng(100 + bits)
    for length in range(1, packing.chain + 1):      # the last chain of an element may be shorter
        shape = (100, length)
        weights = [rng.integers(low, high + 1, shape) for low, high in (EVEN_WEIGHT, ODD_WEIGHT)]
        draws = np.stack([*weights, *rng.integers(0, 1 << bits, (2, *shape))], axis=-1)
        for operands in draws.tolist():
            check_chain(packing, operands)


@pytest.mark.parametrize("device, bits", ALL)
def test_longest(device, bits):
    """One slice more fits no field width, and more products fit no chain: the proof fails for each of them."""
    packing = solve(device, bits)

    def any_field(products, chain):
        return any(replace(packing, products=products, chain=chain, field=f).holds() for f in range(1, 30))
    assert packing.chain == CHAIN_MAX or not any_field(packing.products, packing.chain + 1)
    assert packing.products == 4 or not any_field(4, 1)
    assert not replace(packing, field=packing.field - 1).holds()


def test_proof_is_needed():
    """A field one bit too small fails the proof, and really spoils a neighbour."""
    small = Packing(device="dsp48e2", act_bits=5, products=4, chain=4, field=10)
    assert not small.holds()
    with pytest.raises(AssertionError):
        for point in corners(small):
            check_chain(small, [point] * small.chain)


def test_given_chain():
    assert solve("dsp48e2", 5, 2).field == 10
    assert solve("dsp48e2", 5, 5).products == 2


@pytest.mark.parametrize("arguments, text", [
    (("dsp58", 5), "there is no multiplier 'dsp58': choose dsp48e2, dsp48e1, mult18"),
    (("mult18", 7), "7-bit activations in chains of 1 do not fit mult18: use a shorter chain or smaller activation "
                    "digits"),
    (("dsp48e1", 8, 4000), "in chains of 4000 do not fit dsp48e1"),
    (("dsp48e2", 0), "activation digits of 0 bits hold nothing: use 1 or more"),
    (("dsp48e2", 5, 0), "a chain of 0 multipliers adds nothing: use 1 or more"),
    (("dsp48e2", 5, -1), "a chain of -1 multipliers adds nothing: use 1 or more")])
def test_refusals(arguments, text):
    with pytest.raises(AlloyError, match=re.escape(text)):
        solve(*arguments)


def test_columns():
    assert columns(EngineConfig(name="columns", ic=1, pixels=2, dsp_filters=4, lut_filters=3)) == [2, 2, 1, 1, 1]
