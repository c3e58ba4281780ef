"""What a network takes on a board, without simulating it: :mod:`sim.cycle_model` on what the compiler makes of it."""

from dataclasses import replace

import numpy as np

import boards
from boards import Board
from compiler import compile
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.network import Network
from spec.program import Program

from .cycle_model import LayerCycles, model

__all__ = ["engine", "layer_cycles", "modelled"]

Target = str | Board | EngineConfig


def engine(board: Target) -> EngineConfig:
    """The configuration that ``board`` stands for: the default one of a board or of its name, or one itself.

    Raises :class:`AlloyError` for an unknown name, with the choices, and for anything else.
    """
    if isinstance(board, str):
        board = boards.get(board)
    if isinstance(board, Board):
        return board.config
    if not isinstance(board, EngineConfig):
        raise AlloyError(f"the board is {board!r}: give its name ({', '.join(boards.BOARDS)}) or a "
                         "spec.config.EngineConfig")
    return board


def layer_cycles(network: Network, board: Target) -> dict[str, float]:
    """Cycles of every layer of an integer network on a board, ``{layer: cycles}``.

    The board's memory is as fast as it is; that of a configuration, which has no board, as its ports are. A network
    with tables runs on an engine with two of them or more.
    """
    config = engine(board)
    board = boards.get(board) if isinstance(board, str) else board
    if any(np.size(getattr(node, "table", ())) for node in network.nodes):
        config = replace(config, tables=max(config.tables, 2))
    layers = modelled(compile(network, config, weights=False), config, board if isinstance(board, Board) else None)
    return {layer.name: layer.cycles for layer in layers}


def modelled(program: Program, config: EngineConfig, board: Board | None) -> list[LayerCycles]:
    """Every layer of a program by the cycle model, with the memory of ``board`` or, without one, as fast as the
    ports."""
    if board is None:
        return model(program, config)
    return model(program, config, **board.memory(config))
