"""The three calls of Python, from a model to simulated cycles; each can be had as ``alloy.NAME``."""

from collections.abc import Callable, Collection, Sequence

from compiler import compile as _compile
from quant import Network, quantize
from sim.engine import Engine, Simulation
from sim.estimate import Target, engine
from spec.errors import AlloyError
from spec.program import Program

__all__ = ["AlloyError", "Engine", "Network", "Program", "Simulation", "compile", "quantize"]


def compile(network: Network, board: Target = "zcu102", *, keep: Collection[str] | str = (),
            classes: Sequence[str] = (), warn: Callable[[str], object] | None = None) -> Program:
    """The program of an integer network for the engine of ``board``: its name, ``boards.Board`` or
    ``spec.config.EngineConfig``; see :func:`compiler.compile`."""
    return _compile(network, engine(board), keep=keep, classes=classes, warn=warn)
