"""What holds between the passes, checked after each: a broken one is named, and not what stumbles over its work."""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.program import HOLE

from .graph import Graph
from .layout import Placement
from .plan import Plan, Step, Strip

if TYPE_CHECKING:
    from .operations import Operation

__all__ = ["verify", "verify_plan"]


def verify(graph: Graph, after: str) -> Graph:
    """The graph itself; :class:`AlloyError` names the pass ``after`` which it is and what is wrong."""
    return _whole(graph, _graph_faults(graph), after)


def verify_plan(plan: Plan, config: EngineConfig, after: str) -> Plan:
    """The same for the places of the values."""
    return _whole(plan, _plan_faults(plan, config), after)


def _whole(thing, faults, after):
    for fault in faults:
        raise AlloyError(f"the compiler's pass {after} is broken: {fault}; this is a defect of Alloy, please report it")
    return thing


def _graph_faults(graph: Graph) -> Iterator[str]:
    made, names = {graph.input: np.ones(graph.input.channels, bool)}, {graph.input.name}
    for op in graph.ops:
        for value in op.reads:
            if value not in made:
                yield f"{op.name} reads {value.name} " + (
                    "as another pass left it" if value.name in names else "before anything makes it")
            elif not made[value].all():
                yield f"{op.name} reads {value.name} before all of its channels are made"
        yield from (f"{op.name} {fault}" for fault in op.faults())
        new = op.output not in made
        mine = made.setdefault(op.output, np.zeros(op.output.channels, bool))
        if new and op.output.name in names or mine[op.makes].any():
            yield f"{op.name} makes {op.output.name} once more"
        mine[op.makes] = True
        names.add(op.output.name)
    if graph.output not in made:
        yield f"nothing makes the output {graph.output.name}"
    elif not made[graph.output].all():
        yield f"nothing makes some channels of the output {graph.output.name}"
    yield from (f"nothing makes {value.name}, which is to be kept" for value in graph.kept - made.keys())
    for value in graph.values:
        order = value.order
        if order is not None and sorted(c for c in order if c != HOLE) != list(range(value.channels)):
            yield f"{value.name} has an order that is none of its {value.channels} channels"
        for what in ("phases", "order"):
            if (getattr(value, what) is None) != (getattr(graph.input, what) is None):
                yield f"{value.name} and {graph.input.name} do not both have {what}"


def _plan_faults(plan: Plan, config: EngineConfig) -> Iterator[str]:
    for turn in plan.turns:
        if len({len(step.strips) for step in turn}) > 1:
            yield f"{turn[0].op.name} and {turn[-1].op.name} take turns with different numbers of strips"
        for step in turn:
            yield from (f"{step.op.name} {fault}" for fault in _step_faults(step, step is turn[-1], config))
        for one, after in pairwise(turn):
            yield from (f"{after.op.name} {fault}" for made, read in zip(one.strips, after.strips, strict=False)
                        for fault in _handed_faults(made, after.op, read))
    yield from _overwritten(plan)


def _handed_faults(made: Strip, op: "Operation", read: Strip) -> Iterator[str]:
    """Of the strip that an operation reads of what the one before has just made."""
    if (made.output, made.output_at) != (read.input, read.input_at):
        yield f"reads {op.input.name} elsewhere than it is made"
    y0, y1, x0, x1 = op.region(read.y0, read.y1, read.x0, read.x1)
    if not (made.y0 <= y0 < y1 <= made.y1 and made.x0 <= x0 < x1 <= made.x1):
        yield f"reads rows {y0}..{y1} of {op.input.name}, of which {made.y0}..{made.y1} are made"


def _step_faults(step: Step, ends: bool, config: EngineConfig) -> Iterator[str]:
    """``ends`` : it is not followed by a step that takes turns with it; else its strips may overlap."""
    covered, whole, groups = 0, step.op.output, step.op.output.groups(config.ic)
    seen = np.zeros((whole.height, whole.width, groups), bool)
    for strip in step.strips:
        made = seen[strip.y0:strip.y1, strip.x0:strip.x1, strip.g0:strip.g1]
        covered += made.size
        made[...] = True
        if not (0 <= strip.y0 < strip.y1 <= whole.height and 0 <= strip.x0 < strip.x1 <= whole.width
                and 0 <= strip.g0 < strip.g1 <= groups):
            yield f"has a strip outside its {whole.height}x{whole.width} pixels of {groups} channel groups"
        for what, place in (("residual", strip.residual), ("output", strip.output)):
            if place is not None and not place.first <= strip.g0 < strip.g1 <= place.first + place.groups:
                yield f"has groups {place.first}..{place.first + place.groups} of its {what}"
        for what, place in _places(strip):
            if not 0 <= place.base <= place.base + place.words <= config.act_depth:
                yield f"has its {what} at {place.base}..{place.base + place.words} of {config.act_depth} words"
        if strip.residual is not None and strip.residual.mem == strip.input.mem:
            yield "has its residual in the memory of its input"
        mine = [place for _, place in _places(strip)]
        if any(_meet(mine[-1], other) for other in mine[:-1]):
            yield "writes its output over what it reads"
    if ends and (covered != seen.size or not seen.all()):
        yield f"has strips of {covered} words, its output has {seen.size}"


def _places(strip: Strip) -> list[tuple[str, Placement]]:
    """The output last."""
    operands = [("input", strip.input), ("residual", strip.residual), ("output", strip.output)]
    return [(what, place) for what, place in operands if place is not None]


def _meet(one: Placement, other: Placement) -> bool:
    return one.mem == other.mem and one.base < other.base + other.words and other.base < one.base + one.words


def _overwritten(plan: Plan) -> Iterator[str]:
    """Values on the chip that a later step reads, and that a step in between writes over; where steps take turns, all
    of these write before the last one reads."""
    alive = {plan.graph.input: plan.input} if plan.input is not None else {}
    last = {value: (number, step.op.name) for number, turn in enumerate(plan.turns) for step in turn
            for value in (*step.op.reads, step.op.output)}
    for number, turn in enumerate(plan.turns):
        out = turn[-1].op.output
        if out not in turn[-1].dram:
            alive[out] = turn[-1].strips[0].output
        for step, new in _writes(turn):
            for value, place in alive.items():
                if value is not step.op.output and _meet(place, new):
                    yield f"{step.op.name} writes over {value.name}, which {last[value][1]} needs"
            for one in turn[:-1]:
                if one is not step and any(_meet(strip.output, new) for strip in one.strips):
                    yield f"{step.op.name} writes over {one.op.output.name}, which is handed on"
        alive = {value: place for value, place in alive.items() if last.get(value, (number, ""))[0] > number}


def _writes(turn: tuple[Step, ...]) -> Iterator[tuple[Step, Placement]]:
    """All that steps load or make on the chip."""
    for step in turn:
        for strip in step.strips:
            for value, place in ((step.op.input, strip.input), (step.op.residual, strip.residual)):
                if value in step.dram and place is not None:
                    yield step, place
            yield step, strip.output
