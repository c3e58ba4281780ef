"""The window of a program: its parts lie on pages of their own, and addresses are those in it."""

import numpy as np
import pytest

from compiler import compile
from compiler.window import PAGE
from spec.commands import COMMAND_BYTES, Opcode, unpack
from tests.networks import random_config, random_network


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_apart(seed):
    rng = np.random.default_rng(seed)
    network, config = random_network(rng), random_config(rng, act_depth=64)
    program = compile(network, config, keep="all")
    regions = {"input": program.input, **program.outputs}
    ends = [(0, program.command_count * COMMAND_BYTES), *((r.offset, r.offset + r.size) for r in regions.values())]
    ends.append((-(-ends[0][1] // PAGE) * PAGE, len(program.image)))
    ends.sort()
    assert all(one[1] <= other[0] for one, other in zip(ends[:-1], ends[1:], strict=True))
    assert all(low % PAGE == 0 for low, _ in ends) and ends[-1][1] <= program.window_size
    assert set(program.outputs) == {node.output for node in network.nodes}
    for command in map(unpack, program.commands):
        if command["opcode"] in (Opcode.LOAD_WEIGHTS, Opcode.LOAD_PARAMS, Opcode.LOAD_TAPS, Opcode.LOAD_TABLES):
            assert -(-ends[0][1] // PAGE) * PAGE <= command["dram"] < len(program.image)
        elif command["opcode"] in (Opcode.LOAD_ACT, Opcode.STORE_ACT):
            assert command["dram"] >= len(program.image)


def test_commands_of_each_layer_are_counted():
    rng = np.random.default_rng(4)
    network = random_network(rng)
    program = compile(network, random_config(rng))
    tags = [unpack(record)["tag"] for record in program.commands[1:-1]]
    assert [layer.commands for layer in program.layers] == [tags.count(layer.tag) for layer in program.layers]
    assert sum(layer.commands for layer in program.layers) == len(tags) == program.command_count - 2
    assert [layer.name for layer in program.layers] == [node.name for node in network.nodes]
