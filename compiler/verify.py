"""What holds between the passes, checked after each: a broken one is named, and not what stumbles over its work."""

from collections.abc import Iterator

import numpy as np

from spec.config import EngineConfig
from spec.errors import AlloyError

from .graph import Graph
from .layout import Placement
from .plan import Plan, Step, Strip

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
        if value.order is not None and sorted(value.order) != list(range(value.channels)):
            yield f"{value.name} has an order that is none of its {value.channels} channels"
        for what in ("phases", "order"):
            if (getattr(value, what) is None) != (getattr(graph.input, what) is None):
                yield f"{value.name} and {graph.input.name} do not both have {what}"


def _plan_faults(plan: Plan, config: EngineConfig) -> Iterator[str]:
    for step in plan.steps:
        yield from (f"{step.op.name} {fault}" for fault in _step_faults(step, config))
    yield from _overwritten(plan)


def _step_faults(step: Step, config: EngineConfig) -> Iterator[str]:
    covered, whole = 0, step.op.output
    for strip in step.strips:
        covered += (strip.y1 - strip.y0) * (strip.x1 - strip.x0)
        if not (0 <= strip.y0 < strip.y1 <= whole.height and 0 <= strip.x0 < strip.x1 <= whole.width):
            yield f"has a strip outside its {whole.height}x{whole.width} pixels"
        for what, place in _places(strip):
            if not 0 <= place.base <= place.base + place.words <= config.act_depth:
                yield f"has its {what} at {place.base}..{place.base + place.words} of {config.act_depth} words"
        if strip.residual is not None and strip.residual.mem == strip.input.mem:
            yield "has its residual in the memory of its input"
        mine = [place for _, place in _places(strip)]
        if any(_meet(mine[-1], other) for other in mine[:-1]):
            yield "writes its output over what it reads"
    if covered != whole.height * whole.width:
        yield f"has strips of {covered} pixels, its output has {whole.height * whole.width}"


def _places(strip: Strip) -> list[tuple[str, Placement]]:
    """The output last."""
    operands = [("input", strip.input), ("residual", strip.residual), ("output", strip.output)]
    return [(what, place) for what, place in operands if place is not None]


def _meet(one: Placement, other: Placement) -> bool:
    return one.mem == other.mem and one.base < other.base + other.words and other.base < one.base + one.words


def _overwritten(plan: Plan) -> Iterator[str]:
    """Values on the chip that a later step reads, and that a step in between writes over."""
    alive = {plan.graph.input: plan.input} if plan.input is not None else {}
    last = {value: step for step in plan.steps for value in (*step.op.reads, step.op.output)}
    for step in plan.steps:
        for strip in step.strips:
            loaded = [place for value, place in ((step.op.input, strip.input), (step.op.residual, strip.residual))
                      if value in step.dram and place is not None]
            for value, place in alive.items():
                if value is not step.op.output and any(_meet(place, new) for new in (*loaded, strip.output)):
                    yield f"{step.op.name} writes over {value.name}, which {last[value].op.name} needs"
        if step.op.output not in step.dram:
            alive[step.op.output] = step.strips[0].output
        alive = {value: place for value, place in alive.items() if last.get(value, step) is not step}
