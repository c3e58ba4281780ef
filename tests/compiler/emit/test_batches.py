"""Filter tiles whose weights and parameters one command loads: layers of few pixels and many filters.

Kind: an array that waits for commands.
"""

from dataclasses import replace

import numpy as np
import pytest

from compiler import compile
from sim import command_model
from spec.commands import Opcode, unpack
from tests.compiler.graphs import engine, layer, network


def commands(size, filters, **values):
    """Opcodes of a layer of so many filters behind another one, right on the command model, and its CONVs."""
    config = engine(act_depth=2048, weight_depth=256, param_depth=16, **values)
    node = replace(layer("a", "y", filters, 8), mult=np.arange(20, 20 + filters, dtype=np.int32))
    net = network({"image": (8, size, size), "a": (8, size, size), "y": (filters, size, size)},
                  layer("image", "a", 8, 8), node)
    program = compile(net, config)
    codes = np.random.default_rng(size).integers(0, 16, (1, 8, size, size))
    got = command_model.run(program, config, codes[0], size)
    assert (got["y"] == net.codes(codes)["y"][0]).all()
    found = [c for c in map(unpack, program.commands) if c.get("tag") == 1]
    return [c["opcode"] for c in found], [c for c in found if c["opcode"] == Opcode.CONV]


@pytest.mark.parametrize("filters", [48, 50, 13])
def test_tiles_of_few_pixels_are_loaded_together(filters):
    opcodes, convs = commands(2, filters)
    tiles = len(convs)
    assert tiles >= filters // 6
    assert opcodes.count(Opcode.LOAD_WEIGHTS) == opcodes.count(Opcode.LOAD_PARAMS) == -(-tiles // 4)
    # Each has its own words.
    assert len({c["weight_base"] for c in convs}) == tiles


def test_tiles_of_many_pixels_come_one_by_one():
    """The first of them begins sooner so."""
    opcodes, convs = commands(20, 48)
    assert opcodes.count(Opcode.LOAD_WEIGHTS) == len(convs)


@pytest.mark.parametrize("values", [dict(param_depth=4), dict(weight_depth=8)])
def test_small_tables_hold_no_batches(values):
    config = engine(**{"act_depth": 256, "weight_depth": 256, "param_depth": 16} | values)
    net = network({"image": (8, 2, 2), "a": (8, 2, 2), "y": (48, 2, 2)}, layer("image", "a", 8, 8),
                  layer("a", "y", 48, 8))
    opcodes = [c["opcode"] for c in map(unpack, compile(net, config).commands) if c.get("tag") == 1]
    assert opcodes.count(Opcode.LOAD_WEIGHTS) >= opcodes.count(Opcode.CONV)
