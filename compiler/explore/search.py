"""Engines by the cycle model, on all cores, the most promising first."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, fields
from multiprocessing import get_context
import os
import time

import numpy as np

from boards import Board
from compiler import compile
from quant.graph import Graph
from sim.bench.networks import graph, sketched
from sim.estimate import modelled
from spec.config import EngineConfig
from spec.errors import AlloyError

from .bound import Shapes, bound
from .space import shares

__all__ = ["Found", "pareto", "search"]

NEAR = 3            # engines around which others are tried
SMALL = (0.3, 0.5, 0.7)     # shares of the board that smaller engines take
_graphs: dict[str, Graph] = {}


@dataclass(frozen=True, eq=False)
class Found:
    """An engine: its share of each resource's limit, frames per second and lost cycles by network, and the geometric
    mean of the rates."""
    config: EngineConfig
    shares: dict[str, float]
    fps: dict[str, float]
    losses: dict[str, dict[str, float]]

    @property
    def rate(self) -> float:
        return float(np.exp(np.mean(np.log(list(self.fps.values())))))


def _begin(networks):
    """A process of the pool reads the networks."""
    import torch
    torch.set_num_threads(1)
    for name in networks:
        _graphs[name] = graph(name)[0]


def _shapes(config):
    return {name: Shapes.of(sketched(found, config)) for name, found in _graphs.items()}


def _measure(board, config):
    """Frames per second and losses by network, or why it cannot run one."""
    fps, losses = dict[str, float](), dict[str, dict[str, float]]()
    for network, found in _graphs.items():
        try:
            layers = modelled(compile(sketched(found, config), config, weights=False), config, board)
        except AlloyError as error:
            return str(error)
        fps[network] = board.clock_mhz * 1e6 / sum(layer.cycles for layer in layers)
        losses[network] = {}
        for layer in layers:
            for cause, cycles in layer.losses.items():
                losses[network][cause] = losses[network].get(cause, 0.0) + cycles
    return fps, losses


def _order(board, engines, shapes):
    """(bound of the rate, engine), the fastest first, with smaller engines among them."""
    found = []
    for config, share in engines:
        memory = board.memory(config)
        rate = min(memory["bytes_per_cycle"] * config.ports, memory["all_bytes_per_cycle"])
        cycles = [bound(one, config, rate) for one in shapes.values()]
        found.append((-float(np.mean(np.log(cycles))), config, max(share.values())))
    found.sort(key=lambda one: -one[0])
    small = [[one for one in found if one[2] <= most][:NEAR] for most in SMALL]
    return found, [one for some in small for one in some]


def _distance(one, two):
    return sum(getattr(one, field.name) != getattr(two, field.name) for field in fields(one) if field.name != "name")


class _Queue:
    """Which engine comes next: a few by their bound, then in turn the best bound that is left, and the engine that
    differs least from one of the fastest measured."""

    def __init__(self, ranked, small):
        self.left = dict.fromkeys(config for _, config, _ in ranked)
        self.bounds = {config: value for value, config, _ in ranked}
        self.first = [config for _, config, _ in (ranked[:2 * NEAR] + small)]
        self.turn = 0

    def take(self, done: Sequence[Found]) -> EngineConfig | None:
        """The next one, or None."""
        while self.first:
            config = self.first.pop(0)
            if config in self.left:
                self.left.pop(config)
                return config
        if not self.left:
            return None
        self.turn += 1
        best = sorted(done, key=lambda one: -one.rate)[:NEAR]
        if not best or self.turn % 2:           # the best bound of all
            config = next(iter(self.left))
        else:                                   # beside the best ones
            parent = best[self.turn // 2 % len(best)].config
            config = min(self.left, key=lambda one: (_distance(one, parent), -self.bounds[one]))
        self.left.pop(config)
        return config


def search(board: Board, networks: Sequence[str], engines: Iterable[tuple[EngineConfig, dict[str, float]]],
           seconds: float, say: Callable[[str], object], *, compare: bool = True) -> tuple[Found, list[Found], int]:
    """The board's own engine, all that were measured (it included), and the number of engines that were looked at.

    ``seconds`` is when the last measurement begins, from now on. Without ``compare`` the board's own engine is not
    measured, and the fastest stands for it.
    """
    began, done, refused = time.monotonic(), list[Found](), list[str]()
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), _begin, (tuple(networks),)) as pool:
        shapes = pool.submit(_shapes, board.config)
        all_engines = list(engines)
        say(f"{len(all_engines)} engines fit {board.name}")
        queue = _Queue(*_order(board, all_engines, shapes.result()))
        say(f"the first by a bound after {time.monotonic() - began:.0f} s")
        jobs: dict[Future, EngineConfig] = {}
        if compare:
            jobs[pool.submit(_measure, board, board.config)] = board.config
            queue.left.pop(board.config, None)
        while True:
            while len(jobs) <= (os.cpu_count() or 1) and (time.monotonic() - began < seconds or not (jobs or done)):
                if (config := queue.take(done)) is None:
                    break
                jobs[pool.submit(_measure, board, config)] = config
            if not jobs:
                break
            for job in wait(jobs, return_when=FIRST_COMPLETED).done:
                config, result = jobs.pop(job), job.result()
                if isinstance(result, str):
                    refused.append(result)
                    if compare and config == board.config:
                        raise AlloyError(f"the engine of {board.name} cannot run the networks, so there is nothing to "
                                         f"compare with: {result}")
                    continue
                done.append(Found(config, shares(config, board), *result))
        say(f"{len(done)} engines by the cycle model, {len(refused)} that cannot run the networks, "
            f"{time.monotonic() - began:.0f} s")
    if not done:
        raise AlloyError(f"no engine that fits {board.name} runs the networks: " + (
            refused[0] if refused else "there is none, take a larger part"))
    own = next(one for one in done if one.config == board.config) if compare else max(done, key=lambda one: one.rate)
    return own, done, len(all_engines)


def pareto(found: Iterable[Found]) -> list[Found]:
    """Those that no other beats or equals in rate and in every resource, the fastest first."""
    kept: list[Found] = []
    for one in sorted(found, key=lambda one: (-one.rate, sum(one.shares.values()))):
        if not any(all(other.shares[name] <= share for name, share in one.shares.items()) for other in kept):
            kept.append(one)
    return kept
