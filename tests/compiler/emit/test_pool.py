"""What the pool unit is told: programs of its operations make the codes of the network."""

import numpy as np
import pytest

from compiler import compile
from sim import command_model
from spec.operators.spread import Spread
from tests.compiler.graphs import engine, network


@pytest.mark.parametrize("up", [(2, 2), (1, 3)])
@pytest.mark.parametrize("apart", [False, True])
def test_programs_with_a_spread(up, apart):
    """Of several channel groups, all at once and row by row."""
    config, parts = engine(act_depth=256, out_pixels=2), up[0] * up[1] if apart else 1
    made = network({"image": (8 * parts, 4, 3), "out": (8, 4 * up[0], 3 * up[1])},
                   Spread(name="s", input="image", output="out", up=up, apart=apart))
    codes = np.random.default_rng(0).integers(0, 16, (1, 8 * parts, 4, 3))
    found = command_model.run(compile(made, config), config, codes[0])
    assert np.array_equal(found["out"], made.codes(codes)["out"][0])
