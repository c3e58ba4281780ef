"""Engines, and arrays alone, by synthesis, block by block: what :mod:`boards.resources` is fitted on."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
import re
from typing import Any

from amaranth.back import rtlil

import boards
from boards import Board
from spec.config import EngineConfig, leaves
from spec.devices import RESOURCES
from spec.errors import AlloyError
from spec.files import read_json

from ..array import PEArray
from ..prim import Library
from .synth import synthesize
from .verilog import to_verilog

__all__ = ["PLAN", "arrays", "blocks", "built", "plan", "sample", "sample_array"]

PLAN = 24           # engines
SEED = 17
LARGEST = 1024      # out_pixels * pixels * ic * slots of a sample: a minute or two of synthesis
CHOICES: dict[str, tuple[Any, ...]] = {
    "ic": (4, 8, 8, 16, 16, 32), "pixels": (2, 4, 4, 8, 8, 16, 16), "out_pixels": (1, 1, 2, 2, 4, 4, 4, 4),
    "dsp_filters": (0, 2, 2, 4, 6, 8), "lut_filters": (0, 1, 2, 2, 3, 4), "act_digit_bits": (4, 5, 5, 5, 6),
    "acc_width": (20, 22, 22, 24), "lut_form": ("shift_add", "shift_add", "shift_add", "product_lookup"),
    "row_taps": (1, 1, 3), "act_depth": (64, 256, 512, 1024, 2048, 4096), "weight_depth": (64, 256, 512, 1024),
    "param_depth": (8, 16, 32), "tap_depth": (64, 128), "tables": (0, 0, 1, 2), "ports": (1, 1, 2, 4, 6),
    "port_bits": (32, 64, 128), "addr_bits": (32, 40), "queue_depth": (4, 4, 8)}
BLOCK = re.compile(r"\\?alloy(?:_([a-z0-9]+?))?(?:__\d+)?(?:\..*)?")


def plan(count: int = PLAN) -> Iterator[tuple[str, EngineConfig]]:
    """(board, configuration) of the engines to measure, in their order: small ones, alternately of both families."""
    chance, boards_in_turn, found = Random(SEED), ("zcu102", "pynq-z2"), 0
    while found < count:
        values = {name: chance.choice(choices) for name, choices in CHOICES.items()}
        board = boards.get(boards_in_turn[found % 2])
        size = (values["out_pixels"] * values["pixels"] * values["ic"]
                * (values["dsp_filters"] + values["lut_filters"]))
        if not size or size > LARGEST or not leaves(values["out_pixels"], values["pixels"]):
            continue
        try:
            config = EngineConfig(name=f"sample{found}", dsp_device=board.config.dsp_device, **values)
        except AlloyError:
            continue
        found += 1
        yield board.name, config


def arrays() -> Iterator[tuple[str, EngineConfig]]:
    """(board, configuration) of the arrays to measure: seconds each."""
    for board, ic, digit, form, pixels, dsp, lut, *row in (
            ("zcu102", 4, 5, "shift_add", 6, 2, 1), ("pynq-z2", 8, 5, "shift_add", 4, 4, 1),
            ("zcu102", 16, 5, "product_lookup", 2, 2, 2), ("pynq-z2", 16, 6, "product_lookup", 4, 2, 1),
            ("zcu102", 12, 6, "shift_add", 12, 2, 1), ("pynq-z2", 4, 4, "product_lookup", 10, 4, 2),
            ("zcu102", 8, 4, "product_lookup", 16, 4, 3), ("pynq-z2", 16, 5, "shift_add", 2, 2, 2),
            ("zcu102", 16, 5, "shift_add", 4, 0, 3), ("pynq-z2", 12, 5, "shift_add", 8, 4, 0),
            ("zcu102", 8, 5, "shift_add", 8, 4, 2, 3), ("pynq-z2", 12, 5, "shift_add", 4, 4, 3, 3)):
        given = boards.get(board).config
        yield board, EngineConfig(name=f"array{ic}_{digit}_{pixels}", ic=ic, pixels=pixels, dsp_filters=dsp,
                                  lut_filters=lut, act_digit_bits=digit, lut_form=form, dsp_device=given.dsp_device,
                                  row_taps=row[0] if row else 1)


def blocks(modules: Mapping[str, tuple[int, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Resources of all instances of each block, ``{block: {resource: number}}``, of modules by name: number of
    instances, and resources of one without what is below it.

    A block is a class of :mod:`rtl`, with the parts that only it has; the top is ``pins``.
    """
    found: dict[str, dict[str, float]] = {}
    for name, (count, own) in modules.items():
        match = BLOCK.fullmatch(name)
        if match is None:
            raise AlloyError(f"module {name} belongs to no block: name it in rtl.tools.samples")
        sums = found.setdefault(match[1] or "pins", dict.fromkeys(RESOURCES, 0))
        for resource in RESOURCES:
            sums[resource] += own[resource] * count
    return {block: found[block] for block in sorted(found)}


def sample(board: Board, config: EngineConfig, verilog: dict[str, str], top: str,
           say: Callable[[str], object]) -> dict:
    """The row of an engine with its ``verilog``."""
    modules = synthesize("\n".join(verilog.values()), top, board.family, report=say)["modules"]
    return {"family": board.family, "config": config.to_dict(),
            "blocks": blocks({name: (module["count"], module["own"]) for name, module in modules.items()})}


def sample_array(board: Board, config: EngineConfig) -> dict:
    """The row of the array of an engine: a ``part``."""
    library, name = Library(), "alloy_pearray"
    text = rtlil.convert(PEArray.of(config), name=name, platform=library, emit_src=False)
    verilog = to_verilog(library.rtlil() + "\n" + text)
    return {"part": True, **sample(board, config, {"array.v": verilog}, name, lambda line: None)}


def built(folder: Path) -> dict:
    """The row of an engine that :mod:`rtl.build` has synthesized into ``folder``."""
    config, report = EngineConfig.load(folder / "config.json"), read_json(folder / "report.json", "report of a build")
    if not report.get("modules") or report.get("digest") != config.digest:
        raise AlloyError(f"{folder} has no resources of its configuration: build it again, without --no-synth")
    return {"family": boards.get(report["platform"]).family, "config": config.to_dict(),
            "blocks": blocks({name: (module["count"], module) for name, module in report["modules"].items()})}
