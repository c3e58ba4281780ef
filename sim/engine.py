"""The Verilated engine of a board in Python: built once, then any program on any images."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

import boards
from boards import Board
from rtl.generate import generate
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.program import Program
from spec.progress import going, say
from spec.tables import html, short

from . import verilator
from .estimate import Target, engine as config_of, modelled
from .verilator import Model

__all__ = ["Engine", "Simulation", "fault"]

Report = Callable[[str], object]


@dataclass(frozen=True, eq=False, repr=False)
class Simulation:
    """What the engine has made of some images, one after the other (batch 1, one image in flight).

    Attributes
    ----------
    codes : of the network's output, int64 (N, C), or (N, C, H, W) if it is a map.
    tensors : codes (N, C, H, W) of every tensor that the program writes to DRAM, the output among them.
    cycles : of each image, from START to END.
    clock_mhz : of the board; None for a configuration without one.
    """
    program: Program
    codes: np.ndarray
    tensors: dict[str, np.ndarray]
    cycles: list[int]
    clock_mhz: float | None

    @property
    def logits(self) -> np.ndarray:
        """The real values of the codes, float32."""
        return self.program.real(self.codes)

    @property
    def fps(self) -> float | None:
        """Images per second at the board's clock, by the mean of the cycles."""
        return None if self.clock_mhz is None else self.clock_mhz * 1e6 / float(np.mean(self.cycles))

    def facts(self) -> list[tuple[str, str]]:
        """What there is to know of it, as (name, value) for people."""
        low, high = min(self.cycles), max(self.cycles)
        cycles = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        speed = [] if self.fps is None else [("frames per second", f"{self.fps:,.1f} at {self.clock_mhz:g} MHz "
                                              "(batch 1, 1 image in flight)")]
        return [("images", f"{len(self.codes)}"), ("output", " x ".join(map(str, self.codes.shape[1:]))),
                ("cycles", cycles), *speed]

    def __repr__(self) -> str:
        return short("Simulation", self.facts())

    def _repr_html_(self) -> str:
        rows = [(str(i), f"{cycles:,}", _largest(codes)) for i, (cycles, codes) in
                enumerate(zip(self.cycles, self.codes, strict=True))]
        return html("Simulation", self.facts(), ("image", "cycles", "largest output"), rows[:20])


def _largest(codes):
    return str(int(codes.argmax())) if codes.ndim == 1 else ""


class Engine:
    """The engine of a board, simulated cycle by cycle from its own Verilog.

    Parameters
    ----------
    board : name, ``boards.Board`` or ``spec.config.EngineConfig``. config : another engine on that board.
    cache : folder of built simulators; what is built stays there for the next time.
    report : called with a line of text, at least every five seconds; None for silence.
    arbitrary : as in :func:`sim.verilator.build`.
    """

    def __init__(self, board: Target = "zcu102", config: EngineConfig | None = None, *,
                 cache: str | Path = "build/cache", report: Report | None = say, arbitrary: bool = False):
        self.config = config_of(board) if config is None else config
        found = boards.get(board) if isinstance(board, str) else board
        self.board = found if isinstance(found, Board) else None
        self._cache, self._report, self._arbitrary = cache, report or (lambda text: None), arbitrary

    def __repr__(self) -> str:
        return short("Engine", self._facts())

    def _repr_html_(self) -> str:
        return html("Engine", self._facts())

    def _facts(self):
        return self.config.facts() if self.board is None else replace(self.board, config=self.config).facts()

    @cached_property
    def built(self) -> Model:
        """The simulator, built when it is first needed (minutes for a large engine) or found in the cache."""
        verilator.tool()        # or it is not installed, which is said before the work
        with going(self._report, f"elaborating {self.config.name}"):
            files = generate(self.config)
        return verilator.build(files, self.config, self._cache, report=self._report, arbitrary=self._arbitrary)

    @property
    def memory(self) -> dict:
        """How fast the DRAM is: that of the board, else that of the ports."""
        return {} if self.board is None else {**self.board.memory(self.config)}

    def estimate(self, program: Program) -> int:
        """Cycles of one image by the cycle model, an estimate that takes no simulator."""
        return round(sum(layer.cycles for layer in modelled(program, self.config, self.board)))

    def simulate(self, program: Program, images: ArrayLike) -> Simulation:
        """Run a program on images of codes, integers (N, C, H, W), such as pixels uint8.

        Raises :class:`AlloyError` for a program of another configuration, images that are no codes of its input, and if
        the engine fails.
        """
        program.runs_on(self.config)
        found = np.asarray(images)
        if found.ndim != 4 or not len(found):
            raise AlloyError(f"the images are of shape {found.shape}: give at least one, (images, channels, height, "
                             "width)")
        for image in found:
            program.pack_input(image)
        done = [0]
        simulator = self.built
        with going(self._report, lambda: f"simulated {done[0]} of {len(found)} images"):
            result = simulator.run(program, found, report=lambda count: done.__setitem__(0, count), **self.memory)
        if (wrong := fault(result)) is not None:
            raise AlloyError(wrong)
        tensors = {name: np.stack([program.unpack(name, run.regions[at]) for run in result.runs]).astype(np.int64)
                   for at, name in enumerate(program.outputs)}
        out = tensors[program.output]
        return Simulation(program, out[:, :, 0, 0] if out.shape[2:] == (1, 1) else out, tensors,
                          [run.cycles for run in result.runs], self.board.clock_mhz if self.board else None)


def fault(result: verilator.Result) -> str | None:
    """What the engine or the bus did wrong, as text, or None."""
    if result.violation:
        return f"the engine broke the bus protocol: {result.violation}"
    for index, run in enumerate(result.runs):
        if run.hung or not run.done:
            how = "hung" if run.hung else f"stopped with error code {run.code}"
            return f"image {index}: the engine {how} after {run.cycles} cycles"
    return None
