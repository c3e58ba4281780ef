"""Cycles of a network on a board, by name, board or configuration."""

from dataclasses import replace

import numpy as np
import pytest

import boards
from compiler import compile
from sim.cycle_model import model
from sim.estimate import engine, layer_cycles
from spec.config import EngineConfig
from spec.errors import AlloyError
from tests.networks import random_network


@pytest.fixture(scope="module")
def network():
    return random_network(np.random.default_rng(3), layers=5)


def test_a_name_a_board_and_a_configuration(network):
    board = boards.get("pynq-z2")
    assert engine("pynq-z2") == engine(board) == engine(board.config) == board.config
    named, given, bare = (layer_cycles(network, place) for place in ("pynq-z2", board, board.config))
    assert (
        named == given
        and list(named) == [node.name for node in network.nodes]
        and all(value > 0 for value in named.values())
    )
    assert bare.keys() == named.keys() and sum(bare.values()) < sum(named.values()), (
        "its memory is as fast as its ports"
    )


def test_cycles_are_those_of_the_cycle_model(network):
    board = boards.get("zcu102")
    slow = replace(board, dram_gbs=board.dram_gbs / 8, latency=200)
    for place in (board, slow):
        config = place.config
        layers = model(
            compile(network, config), config, **place.memory(config)
        )
        assert layer_cycles(network, place) == {layer.name: layer.cycles for layer in layers}
    assert sum(layer_cycles(network, slow).values()) > sum(layer_cycles(network, board).values())


def test_networks_with_tables_take_an_engine_that_has_them(network):
    conv = next(node for node in network.nodes if hasattr(node, "table"))
    table = np.minimum(np.arange(256), (1 << network.tensors[conv.output].bits) - 1).astype(np.uint8)
    tabled = replace(network, nodes=[replace(node, table=table) if node is conv else node for node in network.nodes])
    config = replace(boards.get("pynq-z2").config, tables=0)
    assert layer_cycles(tabled, config).keys() == layer_cycles(network, config).keys()


@pytest.mark.parametrize(
    "board, words",
    [
        ("zcu999", "there is no platform 'zcu999': choose"),
        (None, "the board is None: give its name"),
        (EngineConfig, "the board is <class"),
    ],
)
def test_no_board(network, board, words):
    for function in (engine, lambda place: layer_cycles(network, place)):
        with pytest.raises(AlloyError, match=words):
            function(board)
