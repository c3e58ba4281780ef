"""From a model to a report: every part of the flow is asked what it would refuse, and the cycle model what it takes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
import time
from typing import Any

import numpy as np
from torch import nn

from boards import Board
from compiler.check import check, refusals
from quant.grids.emit import Finding as Compared
from quant.grids.together import together
from quant.imports import examine
from quant.recipes import Variant
from quant.sketch import sketch
from sim.cycle_model import error_text
from sim.estimate import modelled
from spec.config import EngineConfig
from spec.errors import AlloyError, Unsupported
from spec.network import Network, Parts
from spec.program import Program

from .report import Finding, Fit, Layer, Performance, Report, Rounding
from .risks import risks

__all__ = ["Request", "look"]


@dataclass(frozen=True)
class Request:
    """What to look at: a model for images of ``shape`` (C, H, W), or an integer network, on an engine.

    ``board`` is None for a configuration without one; ``images`` is their number, if they are known. ``refused`` is
    what the model's file asks for and nothing supports, ``findings`` how an integer network compares with its file.
    """
    name: str
    model: nn.Module | Network
    shape: tuple[int, int, int]
    board: Board | None
    config: EngineConfig
    recipe: str
    variant: Variant
    images: int | None = None
    began: float = field(default_factory=time.monotonic)
    refused: tuple[Unsupported, ...] = ()
    findings: tuple[Compared, ...] = ()


def look(request: Request) -> Report:
    """Everything that can be said of a model without images."""
    found: list[tuple[str, Unsupported]] = []
    config, network = request.config, request.model
    parts: dict[str, Any] = {"layers": 0, "fit": None, "performance": None, "risks": [], "roundings": []}
    places: Mapping[str, str] = {}
    try:
        if isinstance(network, nn.Module):
            graph, refused, compare = examine(network, request.shape)
            graph.logits = graph.shapes[graph.output][1:] == (1, 1)
            places, found = graph.places, [("model", one) for one in _merged(request.refused, refused)]
            with _beside(compare):
                network, plan, refused = sketch(graph, request.variant, config)
                more = _compiled(network, request, plan.weight_bits(graph), parts)
                parts["risks"] = list(risks(graph, plan, request.images))
            found += [*(("quantization", one) for one in refused), *more]
        else:
            found = [("model", one) for one in request.refused]
            found += _compiled(network, request, None, parts)
            parts["roundings"] = list(_roundings(network, request.findings))
    except AlloyError as error:         # of the model as a whole
        parts |= {"fit": None, "performance": None}
        found = found or [("model", one) for one in request.refused]
        found.append(("model", Unsupported.of(error, "the model")))
    return Report(model=request.name, platform=request.board.name if request.board else config.name,
                  recipe=request.recipe, shape=request.shape,
                  refused=[Finding.of(one, stage, config, places) for stage, one in found],
                  seconds=round(time.monotonic() - request.began, 1), **parts)


@contextmanager
def _beside(work: Callable[[], None]) -> Iterator[None]:
    """Another thread does ``work`` meanwhile; what it raises goes before what the block raises."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        try:
            yield
        finally:
            done.result()


def _compiled(network, request, bits, parts):
    """What the compiler refuses; ``parts`` of the report are filled in as far as they can be said."""
    config = request.config
    parts["layers"] = len(network.nodes)
    if isinstance(network, Parts):
        return [("compiler", one) for one in refusals(network, config)]
    program, refused, warnings = check(network, config)
    if program is not None:
        parts |= {"fit": _fit(program, network, bits, warnings), "performance": _performance(program, request)}
    return [("compiler", one) for one in refused]


def _roundings(network: Network | Parts, findings: Sequence[Compared]) -> Iterator[Rounding]:
    """Everything about a file but the layers that are exact."""
    for one in findings:
        if not (one.layer and one.exact):
            yield Rounding.of(one.where, one.share, one.most, one.text)
    whole = together(network, findings) if isinstance(network, Network) else None
    if whole is not None:
        yield Rounding.of(whole.where, whole.share, whole.most, whole.text)


def _merged(loaded, read):
    """What loading and then reading a model refused, in its order: where reading met what stands for something, it said
    the same."""
    left, found = list(loaded), []
    for one in read:
        if one in left:
            found += left[:left.index(one)]
            left = left[left.index(one) + 1:]
        found.append(one)
    return found + left


def _fit(program: Program, network: Network, bits: tuple[int, int] | None, warnings: list[str]) -> Fit:
    weights = sum(value.size for value in (getattr(node, "weight", None) for node in network.nodes)
                  if isinstance(value, np.ndarray))
    total, count = bits or (0, 0)
    return Fit(weights, round(total / count, 2) if count else 0.0, len(program.image), program.window_size,
               {layer.name: len(layer.strips) for layer in program.layers if len(layer.strips) > 1}, warnings)


def _performance(program: Program, request: Request) -> Performance:
    config, clock = request.config, request.board.clock_mhz if request.board else None
    peak, layers = config.macs_dsp + config.macs_lut, []
    for layer in modelled(program, config, request.board):
        cycles = max(1, round(layer.cycles))
        layers.append(Layer(layer.name, layer.macs, cycles, round(layer.macs / cycles / peak, 4)))
    cycles = sum(layer.cycles for layer in layers)
    return Performance(cycles, clock, round(clock * 1e6 / cycles, 1) if clock else None,
                       sum(layer.macs for layer in layers), layers, list(_host(program)), error_text())


def _host(program: Program) -> Iterator[str]:
    """What is left to the host for each image."""
    yield f"puts the image there: {program.input.size:,} bytes, rows of pixels, each the codes of its channels"
    yield (f"reads {program.outputs[program.output].size:,} bytes of output codes, channels in their order; their "
           "scale is in the network file")
