"""One row of the table: a network on a board, by the cycle model or by the Verilated engine."""

from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import numpy as np

from boards import Board
from boards.resources import resources
from compiler import compile
from quant.graph import Graph
from spec.config import EngineConfig
from spec.devices import RESOURCES
from spec.errors import AlloyError
from spec.files import check_folder, read_json
from spec.network import Network

from ..cycle_model import CAUSES
from ..estimate import modelled
from ..run import run_network
from .networks import NETWORKS, integers, sketched

__all__ = ["SOURCES", "modelled_row", "read_network", "simulated_row", "used"]

SOURCES = ("model", "rtl")
Say = Callable[[str], None]


def used(board: Board, config: EngineConfig, builds: str | Path) -> dict:
    """What an engine takes of a part, and where that is from: ``synthesis``, if a build of the same configuration lies
    in ``builds``/NAME, else the resource ``model``."""
    path = Path(builds) / board.name / "report.json"
    report = read_json(path, "report of a build") if path.exists() else {}
    if report.get("digest") == config.digest and report.get("resources"):
        return {name: report["resources"][name] for name in RESOURCES} | {"resources": "synthesis"}
    found = resources(config, board.family)
    return {name: round(found[name], 1) for name in RESOURCES} | {"resources": "model"}


def _row(board, config, name, weights, source, cycles, macs, losses, builds):
    """A row of the table; ``losses`` are the shares of the cycles by cause."""
    total, cycles = sum(losses.values()), round(cycles)
    peak = config.macs_dsp + config.macs_lut
    return {
        "board": board.name, "network": name, "weights": weights, "source": source, "tuned": config != board.config,
        "clock_mhz": board.clock_mhz, "cycles": cycles, "fps": round(board.clock_mhz * 1e6 / cycles, 1),
        "utilisation": round(macs / cycles / peak, 4),
        "losses": {cause: round(losses[cause] / total, 4) for cause in CAUSES}, **used(board, config, builds),
        "digest": config.digest, "date": date.today().isoformat()}


def _summed(losses: Iterable[dict]) -> dict[str, float]:
    """Cycles by cause over all layers."""
    layers = list(losses)
    return {cause: sum(layer.get(cause, 0) for layer in layers) for cause in CAUSES}


def read_network(name: str, file: str) -> Network:
    """The integer network in a file, with trained weights, for the rows of network ``name``; :class:`AlloyError` if it
    is another one."""
    network, wanted = Network.load(file), NETWORKS[name].shape
    shape = network.tensors[network.input].shape
    if shape != wanted:
        raise AlloyError(f"{file} takes images of {' x '.join(map(str, shape))} and {name} those of "
                         f"{' x '.join(map(str, wanted))}: give the network of that row")
    return network


def modelled_row(board: Board, config: EngineConfig, name: str, found: tuple[Graph, str] | Network,
                 builds: str | Path = "build") -> dict:
    """A row by the cycle model. ``found`` is what :func:`sim.bench.networks.graph` gives, or a network of
    :func:`read_network`."""
    if isinstance(found, Network):
        network, weights = found, "trained"
    else:
        network, weights = sketched(found[0], config), found[1]
    layers = modelled(compile(network, config, weights=False), config, board)
    return _row(board, config, name, weights, "model", sum(layer.cycles for layer in layers),
                sum(layer.macs for layer in layers), _summed(layer.losses for layer in layers), builds)


def simulated_row(board: Board, config: EngineConfig, name: str, *, given: Network | None, kept: str | Path,
                  cache: str, builds: str | Path, say: Say) -> dict:
    """A row by the Verilated engine, every layer's output compared with the golden model; losses are the model's.

    ``given`` is a network of :func:`read_network`; otherwise one is made, and kept in ``kept``.
    """
    network, weights = (given, "trained") if given is not None else _integers(name, config, Path(kept), say)
    high = (1 << network.tensors[network.input].bits) - 1
    image = np.random.default_rng(0).integers(0, high + 1, (1, *NETWORKS[name].shape))
    result = run_network(board, config, network, image, cache=cache, say=say)
    if result["difference"] or result["tensors"] != result["tensors_equal"]:
        raise AlloyError(f"{name} on {board.name} is not bit-exact, so there is no row: {result['difference']}")
    layers = result["layers"]
    row = _row(board, config, name, weights, "rtl", result["cycles"], sum(layer["macs"] for layer in layers),
               _summed(layer["losses"] for layer in layers), builds)
    guess = sum(layer["model_cycles"] for layer in layers)
    return row | {"tensors": result["tensors_equal"], "model_cycles": guess}


def _integers(name, config, kept, say):
    """The integer network of a row and its weights' origin; made once for an engine."""
    check_folder(kept)
    for weights in ("trained", "seeded"):
        if (path := kept / f"{name}-{config.digest}-{weights}.npz").exists():
            return Network.load(path), weights
    network, weights = integers(name, config, say)
    network.save(kept / f"{name}-{config.digest}-{weights}.npz")
    return network, weights
