"""The compiler's main road: lower, run the passes, allocate, emit, place in the window."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace

from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.network import Network
from spec.program import HOLE, Program, check_classes

from .allocate import allocate, cost_of
from .graph import Graph
from .im2col import pixel_of
from .lower import lower
from .passes import PASSES, array_cycles, close_groups
from .plan import Plan
from .steps import emit
from .verify import verify, verify_plan
from .window import place_program

__all__ = ["compile", "lowered", "planned"]


def lowered(network: Network, config: EngineConfig, keep: Collection[str] | str = (),
            pixel_bytes: int | None = None, row_bytes: int | None = None) -> Graph:
    """The graph after all passes, each of which has been checked."""
    if pixel_bytes is None:
        pixel_bytes = pixel_of(network.tensors[network.input].channels, config)
    graph = verify(lower(network, keep, pixel_bytes, row_bytes), lower.__name__)
    for change in PASSES:
        graph = verify(change(graph, config), change.__name__)
    return graph


def planned(graph: Graph, config: EngineConfig) -> Plan:
    """The places of all values. Holes in groups of channels take room: those that cost more than they save are
    closed."""
    holed = any(HOLE in value.ordered() for value in graph.values if value is not graph.input)
    holed, plans = holed or any(op.row_taps > 1 for op in graph.ops), []
    with suppress(*[AlloyError] * holed):       # what does not fit with holes may without
        plans.append(allocate(graph, config))
    if holed and (not plans or cost_of(plans[0], config)):
        large = {value for plan in plans for step in plan.steps for value in step.dram}
        large |= {step.op.output for plan in plans for turn in plan.turns for step in turn[:-1]}
        for some in (None, large) if plans else (None,):
            plans.append(allocate(verify(close_groups(graph, some), close_groups.__name__), config))
    best = min(plans, key=lambda plan: cost_of(plan, config) + array_cycles(plan.graph.ops, config))
    return verify_plan(best, config, allocate.__name__)


def compile(network: Network, config: EngineConfig, *, keep: Collection[str] | str = (), classes: Sequence[str] = (),
            warn: Callable[[str], object] | None = None, weights: bool = True,
            pixel_bytes: int | None = None, row_bytes: int | None = None) -> Program:
    """Compile an integer network for one configuration.

    Parameters
    ----------
    keep : names of tensors that are also written to DRAM, or "all"; the network's output always is.
    classes : names of the channels of the output, which the program keeps for those who run it.
    warn : called with one sentence for each field of the configuration that is so small that it costs many cycles.

    weights : whether they are put into the image. Without them a program tells no more than sizes and cycles, sooner.
    pixel_bytes, row_bytes : of a pixel and of a row of the image in DRAM (H, W, C), if there is more than the channels'
        codes and the pixels of a row (4 bytes for RGBX, lines of a frame buffer that are aligned). Pixels of more
        channels than a group has are whole groups if nothing is given.

    Raises :class:`spec.errors.AlloyError` naming the layer that the configuration cannot run.
    """
    check_classes(tuple(classes), network.tensors[network.output].channels)
    graph = lowered(network, config, keep, pixel_bytes, row_bytes)
    plan = planned(graph, config)
    graph, emission = plan.graph, emit(plan, config, plan.graph.kept)
    if warn is not None:
        for sentence in emission.costs.sentences():
            warn(f"warning: {sentence}")
    return replace(place_program(emission, graph, network, config, weights), classes=tuple(classes))
