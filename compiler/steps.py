"""Commands and image of a whole plan, step by step."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from spec.commands import Opcode
from spec.config import EngineConfig
from spec.program import Image as Picture, Region

from .costs import Costs
from .emit import Alternation, Buffers, Listing, Movement, Source, Work
from .emit.alternate import Job
from .emit.image import Image
from .emit.listing import whole
from .graph import Value
from .layout import Placement
from .plan import Plan, Step, Strip
from .schedule import schedule

if TYPE_CHECKING:
    from .operations import Operation

__all__ = ["Emission", "emit"]


@dataclass(frozen=True, eq=False)
class Emission:
    """What a plan becomes: commands (opcode, fields) in program order, the image that they load from, and the regions
    of DRAM that they use. ``layers`` tells of every value which operations make it, and of each what
    :class:`spec.program.Layer` keeps of its work."""
    commands: list[tuple[Opcode, dict[str, Any]]]
    image: Image
    regions: dict[Value, Region | Picture]
    layers: dict[Value, list[tuple["Operation", dict[str, Any]]]]
    costs: Costs


def emit(plan: Plan, config: EngineConfig, kept: Collection[Value]) -> Emission:
    """Emit all steps; values in ``kept`` are stored to DRAM."""
    needed = {plan.graph.input, *kept, *(value for step in plan.steps for value in step.dram)}
    graph = plan.graph
    regions: dict[Value, Region | Picture] = {
        value: _region(value, config) for value in graph.values if value in needed}
    regions[graph.input] = graph.im2col.image
    emitter = _Emitter(plan, config, regions)
    for turn in plan.turns:
        emitter.turn(turn, kept)
    emitter.finish()
    listing = emitter.listing
    return Emission(schedule(listing.items, config), listing.image, regions, emitter.layers, listing.costs)


def _region(value: Value, config: EngineConfig) -> Region:
    assert value.order is not None
    return Region(0, value.channels, value.height, value.width, value.groups(config.ic), config.act_group_bytes,
                  config.ic, value.order)


class _Emitter:
    def __init__(self, plan, config, regions):
        self.config, self.listing = config, Listing(config)
        self.layers: dict[Value, list[tuple[Operation, dict[str, Any]]]] = {}
        self._buffers, self._movement = Buffers(self.listing, regions), Movement(
            self.listing, regions, plan.graph.input, plan.graph.im2col)
        self._alternation = Alternation(self._buffers, config)
        # The first step that reads a value which is on the chip, but not made there, loads it.
        self._pending = set() if plan.input is None else {plan.graph.input}
        self._sources: dict[tuple[Step, Value], Source] = {}
        self._last = {step.op.output: step for step in plan.steps}

    def turn(self, steps: tuple[Step, ...], kept: Collection[Value]) -> None:
        """All commands of operations that take turns."""
        works = [step.op.work(self.config, {strip.g0 for strip in step.strips}) for step in steps]
        for number in range(len(steps[0].strips)):
            for step, work in zip(steps, works, strict=True):
                op, strip = step.op, step.strips[number]
                job = self._job(step, strip, work)
                if job is not None:
                    self._alternation.add(job)
                else:
                    self._alternation.flush()
                    self._strip(step, strip, work)
                if op.output in kept and op.output not in step.dram and step is not steps[-1]:
                    self._alternation.flush()
                    self._store(step, strip.output, (strip.y0, strip.y1), (strip.x0, strip.x1), strip.output_at)
        for step, work in zip(steps, works, strict=True):
            self.layers.setdefault(step.op.output, []).append((step.op, {
                "slots": tuple(work.slots()), "pixels": work.pixels,
                "strips": tuple(dict.fromkeys((part.y0, part.y1, part.x0, part.x1, work.pitch(part))
                                              for strip in step.strips for part in work.parts(strip)))}))
        last = steps[-1]
        out = last.op.output
        if out in kept and out not in last.dram and self._last[out] is last:
            self._alternation.flush()
            self._store(last, last.strips[0].output, (0, out.height), (0, out.width), (0, 0))

    def finish(self) -> None:
        """Add what is left."""
        self._alternation.flush()

    def _job(self, step: Step, strip: Strip, work: Work) -> Job | None:
        """The work of a strip that neither loads nor stores values."""
        if step.dram or not self._pending.isdisjoint(step.op.reads) or (step, step.op.input) in self._sources:
            return None
        job = work.job(strip, self._buffers, self.listing)
        if job is None:
            return None

        def add(task, added=job.add):
            self._costs(step, work)
            added(task)
        return replace(job, add=add)

    def _costs(self, step: Step, work: Work) -> None:
        self.listing.costs.layer(step.op, step.op.kernel[0] * step.op.kernel[1], work, len(step.strips))

    def _strip(self, step: Step, strip: Strip, work: Work) -> None:
        self._costs(step, work)
        op, rows, cols = step.op, (strip.y0, strip.y1), (strip.x0, strip.x1)
        if op.residual is not None and self._missing(op.residual, step):
            assert strip.residual is not None
            self._load(op.residual, strip.residual, strip, strip.residual_at, op.tag)
        if op.output in step.dram and op.output in self.layers:     # with the channels that other steps have made
            self._load(op.output, strip.output, strip, strip.output_at, op.tag)
        source = self._sources.get((step, op.input))
        if source is None and self._missing(op.input, step):
            source = Source(self._movement, op.input, strip, op.tag)
            if op.input not in step.dram:
                self._sources[step, op.input] = source
        work.commands(strip, source, self._buffers, self.listing)
        if op.output in step.dram:
            self._store(step, strip.output, rows, cols, strip.output_at)

    def _load(self, value: Value, place: Placement, strip: Strip, at: tuple[int, int], tag: int) -> None:
        self._movement.load(value, place, (strip.y0, strip.y1), (strip.x0, strip.x1), tag, at, [whole(place, True)])

    def _store(self, step: Step, place: Placement, rows, cols, at) -> None:
        self._movement.store(step.op.output, place, rows, cols, step.op.tag, at)

    def _missing(self, value: Value, step: Step) -> bool:
        """Whether a step has to load a value."""
        if value in self._pending:
            self._pending.discard(value)
            return True
        return value in step.dram
