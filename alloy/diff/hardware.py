"""The integer network against RTL: the program that is run, and the first tensor that comes out otherwise."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from boards import Board
from compiler import compile
from quant.quantize import Report
from rtl.generate import generate
from sim.compare import Difference
from sim.run import check_program
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.network import Network
from spec.program import Program
from spec.progress import going

from .programs import differences, with_all_tensors

__all__ = ["Engine", "Ran", "compare_rtl"]


@dataclass(frozen=True)
class Engine:
    """What is simulated: the engine of a board, or of a configuration without one; ``verilog`` is that of a folder,
    None: made of the configuration."""
    config: EngineConfig
    board: Board | None = None
    verilog: Path | None = None
    cache: str = "build/cache"

    def files(self, say: Report) -> dict[str, str]:
        """Verilog, file name to text."""
        if self.verilog is not None:
            return {path.name: path.read_text(encoding="utf-8") for path in sorted(self.verilog.glob("*.v"))}
        with going(say, f"elaborating {self.config.name}"):
            return generate(self.config)

    @property
    def memory(self) -> dict[str, Any]:
        """How fast the DRAM is."""
        return {} if self.board is None else {**self.board.memory(self.config)}


@dataclass
class Ran:
    """What RTL has made of some images.

    Attributes
    ----------
    tensors, equal : compared, of all images together. all_tensors : whether every tensor of the network is among them.
    fault : what the engine or the bus did wrong. program : what is other in the program than the compiler makes it.
    first : the first difference, and the ``image`` that it is of.
    """
    tensors: int
    equal: int
    images: int
    all_tensors: bool
    fault: str | None = None
    program: list[str] = field(default_factory=list)
    image: int | None = None
    first: Difference | None = None

    def form(self) -> dict[str, Any]:
        """For JSON."""
        found = {name: getattr(self, name) for name in ("tensors", "equal", "images", "all_tensors", "fault",
                                                        "program", "image")}
        if self.first is None:
            return {**found, "first": None}
        (channel, row, column), (tile, slot, strip, pixel_tile) = self.first.coordinate, self.first.made_at
        origin = self.first.origin
        command = None if origin is None else {**asdict(origin), "opcode": origin.opcode.name,
                                               "moved": [[index, opcode.name] for index, opcode in origin.moved]}
        return {**found, "first": {
            "layer": self.first.layer, "tensor": self.first.tensor, "channel": channel, "row": row, "column": column,
            "expected": self.first.expected, "found": self.first.got, "wrong": self.first.wrong,
            "values": self.first.size, "filter_tile": tile, "slot": slot, "strip": strip, "pixel_tile": pixel_tile,
            "command": command, "text": str(self.first)}}


def compare_rtl(network: Network, codes: np.ndarray, engine: Engine, given: Program | None, say: Report,
                trace: str | None = None) -> Ran:
    """Run input codes (N, C, H, W) on the simulated engine and compare what it writes with the integer network.

    A program that is ``given`` is compared with what the compiler makes; where only its data are other, it runs with
    stores of all tensors, otherwise as it is. ``trace`` : file for a waveform (FST) around the first difference.
    """
    config = engine.config
    with going(say, "compiling"):
        whole = compile(network, config, keep="all")
    program, found = whole, list[str]()
    if given is not None:
        program, found = _as_given(given, whole, network, config)
    expected = network.codes(codes)
    strange = [name for name, region in program.outputs.items() if name not in expected or
               (region.channels, region.height, region.width) != expected[name].shape[1:]]
    if strange:
        raise AlloyError(f"the program writes a tensor {strange[0]} that the network does not have so: it is of "
                         "another network, compile it again")
    say(f"RTL, {len(program.outputs)} tensors of {len(codes)} images")
    ran = check_program(program, config, expected, codes, files=engine.files(say), options=engine.memory,
                        cache=engine.cache, trace=trace, say=say)
    image, first = ran["first"] or (None, None)
    return Ran(ran["tensors"], ran["tensors_equal"], len(codes), program.outputs.keys() >= whole.outputs.keys(),
               ran["fault"], found, image, first)


def _as_given(given: Program, whole: Program, network: Network, config: EngineConfig) -> tuple[Program, list[str]]:
    """The program to run, and what is other in the given one."""
    given.runs_on(config)
    if given.outputs.keys() == whole.outputs.keys():
        return given, differences(given, whole, network, config)
    made = compile(network, config, keep=[name for name in given.outputs if name in network.tensors])
    more = with_all_tensors(given, made, whole) if len(given.image) == len(made.image) else None
    return more or given, differences(given, made, network, config)
