"""A field of the configuration that is so small that it costs many cycles is named, with what it costs and what would
do.

The kind: a valid configuration whose program is many times slower than it needs to be, without a word.
"""

from dataclasses import replace
import re

import pytest

import boards
from compiler import compile
from sim.cycle_model import model
from sim.run import layer_network

BOARD = boards.get("zcu102")


def cycles(network, config):
    """(cycles by the model, warnings)."""
    lines = []
    program = compile(network, config, warn=lines.append)
    found = model(program, config, **BOARD.memory(config))
    return sum(layer.cycles for layer in found), lines


@pytest.mark.parametrize("field, value, needed",
                         [("tap_depth", 4, 9), ("tap_depth", 8, 9), ("weight_depth", 16, 72), ("weight_depth", 24, 72),
                                                  ("act_depth", 12, None), ("act_depth", 16, None)])
def test_small_fields_are_named(field, value, needed):
    network = layer_network("3x3,256,256,14", BOARD.config)
    whole, silent = cycles(network, BOARD.config)
    slow, lines = cycles(network, replace(BOARD.config, **{field: value}))
    assert silent == [] and len(lines) == 1 and slow > 2 * whole
    match = re.fullmatch(rf"warning: {field} {value} splits 1 layer: layer loads the same data ([\d,]+) times more, "
                         rf"about ([\d,]+) cycles beside "
                         rf"[\d,]+ of computing; raise {field}( to (\d+))?", lines[0])
    assert match and int(match[1].replace(",", "")) > 100 and match[4] == (str(needed) if needed else None)
    assert 0.5 < int(match[2].replace(",", "")) / (slow - whole) < 2
    if needed:
        assert cycles(network, replace(BOARD.config, **{field: needed}))[1] == []


@pytest.mark.parametrize("name", boards.BOARDS)
@pytest.mark.parametrize("layer", ["3x3,64,64,112", "7x7,3,64,112", "1x1,512,2048,7", "1x1,2048,1000,1"])
def test_default_engines_are_silent(name, layer):
    board, lines = boards.get(name), []
    compile(layer_network(layer, board.config), board.config, warn=lines.append)
    assert lines == []
