"""Commands of convolutions: the array begins before all of an input that is loaded is there."""

import numpy as np
import pytest

from compiler import compile
from sim import command_model
from spec.commands import Opcode, unpack
from tests.compiler.graphs import engine, layer, network


@pytest.mark.parametrize("size", [(24, 24), (31, 9), (5, 40)])
def test_an_input_is_loaded_in_parts(size):
    """Only that of the first layer comes from DRAM; each part has commands of its own, that wait for its rows alone."""
    net = network({"image": (4, *size), "a": (4, *size), "out": (4, *size)},
                  *(layer(one, two, 4, 4, (3, 3), padding=(1, 1)) for one, two in (("image", "a"), ("a", "out"))))
    config = engine(act_depth=512)
    program = compile(net, config)
    found = [unpack(record) for record in program.commands]
    count = {tag: sum(c["opcode"] == Opcode.CONV and c["tag"] == tag for c in found) for tag in (0, 1)}
    loads = [at for at, c in enumerate(found) if c["opcode"] == Opcode.LOAD_ACT]
    first = next(at for at, c in enumerate(found) if c["opcode"] == Opcode.CONV)
    assert count[0] > 1 and count[1] == 1 and len(loads) > 1 and first < loads[-1]
    codes = np.random.default_rng(0).integers(0, 16, (1, 4, *size))
    assert (command_model.run(program, config, codes[0])["out"] == net.codes(codes)["out"][0]).all()
