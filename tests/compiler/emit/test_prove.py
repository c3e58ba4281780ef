"""The proof refuses what overflows and nothing else: against the extremes that codes can really cause."""

from types import SimpleNamespace

import numpy as np
import pytest

from compiler import compile
from compiler.emit.prove import prove
from sim import command_model
from spec.commands import SUM_BITS
from spec.errors import AlloyError
from tests.compiler.graphs import engine, layer, network

LIMIT = 1 << SUM_BITS - 1


def proved(weights, *, bits=4, mult=1, bias=0, res_mult=0, ones=0, **values):
    op = SimpleNamespace(name="layer", input=SimpleNamespace(bits=bits), res_mult=res_mult)
    prove(op, [5], [np.array([digit]) for digit in weights], np.array([ones]), [mult], [bias], engine(**values))


# Each case just fits; what is added then overflows.
@pytest.mark.parametrize("fits, more, words", [
    (dict(weights=[[7] * 19], acc_width=12), dict(weights=[[7] * 20]),
     "can reach 2100, more than the 12-bit accumulator holds: raise acc_width to 13"),
    (dict(weights=[[-8] * 17], acc_width=12), dict(ones=9), "can reach 2049, more than the 12-bit accumulator"),
    (dict(weights=[[-8] * 17], ones=8, acc_width=12), dict(ones=9), "12-bit accumulator holds: raise acc_width to 13"),
    (dict(weights=[[7, 7], [7] * 19], acc_width=12), dict(weights=[[7, 7], [7] * 20]), "12-bit accumulator"),
    (dict(weights=[[1]], bias=LIMIT - 16), dict(bias=LIMIT - 15), "overflows the 48-bit requantizer"),
    (dict(weights=[[-1]], bias=15 - LIMIT), dict(bias=14 - LIMIT), "overflows the 48-bit requantizer: use a smaller"),
    (dict(weights=[[-1]], bias=LIMIT - 1), dict(bias=LIMIT), "48-bit requantizer"),
    (dict(weights=[[1]], bias=-LIMIT), dict(bias=-LIMIT - 1), "48-bit requantizer"),
    (dict(weights=[[1]], mult=1 << 15, bias=LIMIT - (15 << 15) - 1), dict(mult=(1 << 15) + 1), "48-bit requantizer"),
    (dict(weights=[[0], [1]], bias=LIMIT - 16 * 15 - 1), dict(bias=LIMIT - 16 * 15), "48-bit requantizer"),
    (dict(weights=[[0]], res_mult=100, bias=LIMIT - 25501), dict(res_mult=101), "48-bit requantizer"),
    (dict(weights=[[0]], res_mult=(LIMIT - 1) // 255), dict(res_mult=(LIMIT - 1) // 255 + 1), "48-bit requantizer")])
def test_the_last_that_fits(fits, more, words):
    proved(**fits)
    with pytest.raises(AlloyError, match=f"layer layer filter 5 .*{words}"):
        proved(**fits | more)


def test_two_digits():
    """Codes of two digits: the accumulator has the sums of one of them, the requantizer's multiplier both."""
    count = (1 << 24) // (8 * 255)
    proved([[8] * count], bits=8, acc_width=27, dsp_device="dsp48e1")
    with pytest.raises(AlloyError, match="filter 5 can reach .* after its pixel digits are joined, more than the "
                                         "requantizer of dsp48e1 takes"):
        proved([[8] * (count + 1)], bits=8, acc_width=27, dsp_device="dsp48e1")
    proved([[8] * (count + 1)], bits=8, acc_width=27, dsp_device="dsp48e2")
    # Each one's-complement term comes once for each digit: 1 + 32 times one.
    terms = ((1 << 24) - count * 8 * 255) // 33
    proved([[-8] * count], bits=8, acc_width=27, dsp_device="dsp48e1", ones=terms)
    with pytest.raises(AlloyError, match="after its pixel digits are joined"):
        proved([[-8] * count], bits=8, acc_width=27, dsp_device="dsp48e1", ones=terms + 1)


@pytest.mark.parametrize("bias, zero, refused", [(0, 0, False), ((1 << 46) - 1, 0, False), (0, 1, False), (0, 2, True),
                                                 ((1 << 46) - 1, 1, True), (1 - (1 << 46), 1, False)])
def test_compiled_layers_do_not_overflow_the_requantizer(bias, zero, refused):
    """The output's zero point, shifted up, takes the sum out of 48 bits; short of that the codes are right."""
    config = engine()
    net = network({"image": (3, 2, 2), "out": (2, 2, 2)},
                  layer("image", "out", 2, 3, shift=46, bias=bias, mult=60000), out=zero)
    if refused:
        with pytest.raises(AlloyError, match="layer to_out filter 0 overflows the 48-bit requantizer"):
            compile(net, config)
        return
    codes = np.random.default_rng(3).integers(0, 16, (3, 2, 2))
    expected = net.codes(codes[None])["out"][0]
    assert (command_model.run(compile(net, config), config, codes)["out"] == expected).all()
