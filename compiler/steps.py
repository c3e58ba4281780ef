"""Commands and image of a whole plan, step by step."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from spec.commands import Opcode
from spec.config import EngineConfig
from spec.program import Region

from .costs import Costs
from .emit import Buffers, Listing, Movement, Source, Work
from .emit.image import Image
from .emit.listing import whole
from .graph import Value
from .layout import Placement
from .plan import Plan, Step, Strip
from .schedule import schedule

__all__ = ["Emission", "emit"]


@dataclass(frozen=True, eq=False)
class Emission:
    """What a plan becomes: commands (opcode, fields) in program order, the image that they load from, and the regions
    of DRAM that they use. ``layers`` tells by name of tensor what :class:`spec.program.Layer` keeps of the work."""
    commands: list[tuple[Opcode, dict[str, Any]]]
    image: Image
    regions: dict[Value, Region]
    layers: dict[str, dict[str, Any]]
    costs: Costs


def emit(plan: Plan, config: EngineConfig, kept: Collection[Value]) -> Emission:
    """Emit all steps; values in ``kept`` are stored to DRAM."""
    needed = {plan.graph.input, *kept, *(value for step in plan.steps for value in step.dram)}
    regions = {value: _region(value, config) for value in plan.graph.values if value in needed}
    emitter = _Emitter(plan, config, regions)
    for step in plan.steps:
        emitter.step(step, step.op.output in kept)
    listing = emitter.listing
    return Emission(schedule(listing.items, config), listing.image, regions, emitter.layers, listing.costs)


def _region(value: Value, config: EngineConfig) -> Region:
    assert value.order is not None
    return Region(0, value.channels, value.height, value.width, value.groups(config.ic), config.act_group_bytes,
                  config.ic, value.order)


class _Emitter:
    def __init__(self, plan, config, regions):
        self.config, self.listing, self.layers = config, Listing(config), {}
        self._buffers, self._movement = Buffers(self.listing), Movement(self.listing, regions)
        # The first step that reads a value which is on the chip, but not made there, loads it.
        self._pending = set() if plan.input is None else {plan.graph.input}

    def step(self, step: Step, kept: bool) -> None:
        """All commands of one operation."""
        op, work = step.op, step.op.work(self.config)
        self.listing.costs.layer(op, op.kernel[0] * op.kernel[1], work.depth, len(step.strips))
        for strip in step.strips:
            self._strip(step, strip, work)
        self.layers[op.output.name] = {
            "tag": op.tag, "slots": tuple(work.slots()), "pixels": work.pixels,
            "strips": tuple((s.y0, s.y1, s.x0, s.x1, work.pitch(s)) for s in step.strips)}
        if kept and op.output not in step.dram:
            self._store(step, step.strips[0].output, (0, op.output.height), (0, op.output.width), (0, 0))

    def _strip(self, step: Step, strip: Strip, work: Work) -> None:
        op, rows, cols = step.op, (strip.y0, strip.y1), (strip.x0, strip.x1)
        if op.residual is not None and self._missing(op.residual, step):
            place = strip.residual
            assert place is not None
            self._movement.load(op.residual, place, rows, cols, op.tag, strip.residual_at, [whole(place, True)])
        source = Source(self._movement, op.input, strip, op.tag) if self._missing(op.input, step) else None
        work.commands(strip, source, self._buffers, self.listing)
        if op.output in step.dram:
            self._store(step, strip.output, rows, cols, strip.output_at)

    def _store(self, step: Step, place: Placement, rows, cols, at) -> None:
        self._movement.store(step.op.output, place, rows, cols, step.op.tag, at)

    def _missing(self, value: Value, step: Step) -> bool:
        """Whether a step has to load a value."""
        if value in self._pending:
            self._pending.discard(value)
            return True
        return value in step.dram
