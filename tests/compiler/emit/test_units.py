"""What an engine is too small for is refused with the name of the field."""

import numpy as np
import pytest

from compiler import compile
from spec.errors import AlloyError
from tests.compiler.graphs import engine, layer, network


def deep(channels, bits=4, **values):
    return network({"image": (channels, 2, 2), "out": (2, 2, 2)}, layer("image", "out", 2, channels, **values),
                   bits=bits)


@pytest.mark.parametrize("net, values, words", [
    (deep(40), dict(weight_depth=9),
     "layer to_out reads 10 channel groups, more than the weight buffer's 9 words: raise weight_depth"),
    (deep(3, table=np.zeros(256, np.uint8), hi=255), {},
     "layer to_out has a table for its codes, the configuration has none: raise tables"),
    (deep(3, bits=7), dict(act_digit_bits=3),
     "layer to_out reads 7-bit codes, two digits hold 6: raise act_digit_bits")])
def test_an_engine_that_is_too_small(net, values, words):
    with pytest.raises(AlloyError, match=words):
        compile(net, engine(**values))
    name = {"weight_depth": 10, "act_digit_bits": 4, "tap_depth": 25}
    compile(net, engine(**({key: name[key] for key in values} or dict(tables=1))))
