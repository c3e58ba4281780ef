"""Places values in the two activation memories; what does not fit is worked on in strips.

Of a value that one operation makes for the next one alone, each strip is used as soon as it is made, and no whole is
ever anywhere: the operations take turns. Any other lives in DRAM. Values are placed one after the other. Where small
ones that live for long come to lie decides whether a large one finds its place in one piece: if something is left over,
other places are tried, by chance but always the same.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle, pairwise
from random import Random

from spec.commands import PARAM_BYTES
from spec.config import EngineConfig
from spec.errors import AlloyError

from .emit.rings import ENTRIES
from .graph import Graph, Value
from .layout import Placement
from .memories import Memories
from .operations import Operation
from .plan import Plan, Step, Strip

__all__ = ["Homes", "allocate", "cost_of", "step_costs"]

PLAIN = (1, 1)
WHOLE = (None,)     # all channel groups in one part
TRIES = 8
EARLY = 6           # strips, so that what reads the first of them begins early
BEGIN = 80          # cycles, about, from the beginning of a command to that of the next one, at least
SHORT = 4           # cycles, about, that a pixel takes more than its beats if it is moved in parts
BESIDE = 3          # steps beside one that costs something
MOVES = 150         # of single values that are tried
FEW = 2             # values that are left over, for which other places for all may be found


class _NoRoom(Exception):
    """``args``: the value that is not to be on the chip as a whole."""


@dataclass(frozen=True)
class Homes:
    """Where values live: ``spilled`` in DRAM, ``banded`` ones never whole, the others on the chip. Only those may be
    banded that are ``passed`` on. ``early`` is made in several strips in any case; ``seed`` is of the places, None for
    the first that fits."""
    spilled: frozenset[Value]
    banded: frozenset[Value] = frozenset()
    passed: frozenset[Value] = frozenset()
    early: Value | None = None
    seed: int | None = None

    def moved(self, value: Value, spilled: bool, banded: bool) -> "Homes":
        """With a value in DRAM, in bands, or as a whole on the chip."""
        rest = frozenset({value})
        return replace(self, spilled=self.spilled | rest if spilled else self.spilled - rest,
                       banded=self.banded | rest if banded else self.banded - rest)


def allocate(graph: Graph, config: EngineConfig) -> Plan:
    """All placements: the plan among those tried that moves and computes least besides what every plan has to.

    Raises :class:`AlloyError` naming the layer if not even one pixel's operands fit.
    """
    fixed, passed = frozenset(value for op in graph.ops for value in op.from_dram), _passed_on(graph)
    best, homes = _plan(graph, config, Homes(fixed, passed=passed))
    costs = step_costs(best, config, fixed)

    def attempt(other):
        """Take the plan with these homes if it is the best so far."""
        nonlocal best, homes, costs
        with suppress(AlloyError):      # there may be no room for a single pixel
            plan, other = _plan(graph, config, other)
            found = step_costs(plan, config, fixed)
            if sum(found.values()) < sum(costs.values()):
                best, homes, costs = plan, other, found
    if any(costs.values()) and passed:
        attempt(Homes(fixed))
    tried = {homes}
    while any(costs.values()) and len(tried) < MOVES:
        other = next((other for other in _moves(graph, best, costs, homes, fixed) if other not in tried), None)
        if other is None:
            break
        tried.add(other)
        attempt(other)
    for seed in range(TRIES if any(costs.values()) else 0):
        if len(homes.banded | homes.spilled - fixed) <= FEW:
            attempt(Homes(fixed, passed=passed, seed=seed))
        attempt(replace(homes, seed=seed))
    first = graph.ops[0].output
    if first in passed and graph.ops[0].input is graph.input and (wait := _wait(best, config)):
        with suppress(AlloyError):      # work goes on while the input comes, and so do commands
            plan, _ = _plan(graph, config, replace(homes, banded=homes.banded | {first}, early=first))
            if sum(step_costs(plan, config, fixed, 0).values()) + _wait(plan, config) < wait + sum(
                    step_costs(best, config, fixed, 0).values()):
                best = plan
    return best


def _passed_on(graph: Graph) -> frozenset[Value]:
    """Values that one operation makes, and the next one alone reads, as its input."""
    readers = [value for op in graph.ops for value in op.reads]
    makers = [op.output for op in graph.ops]
    return frozenset(
        one.output for one, after in pairwise(graph.ops)
        if after.input is one.output and readers.count(one.output) == makers.count(one.output) == 1
        and one.output not in after.from_dram and one.output is not graph.output)


def _moves(graph, plan, costs, homes, fixed):
    """Homes in which a value, or two of which one is made from the other, live elsewhere: first those of the steps that
    cost most, and beside them."""
    steps = list(plan.steps)
    order = sorted((at for at in range(len(steps)) if costs[steps[at].op]), key=lambda at: -costs[steps[at].op])
    near = {value: None for at in order for step in steps[max(0, at - BESIDE):at + BESIDE + 1]
            for value in (step.op.output, *step.op.reads) if value not in fixed}
    after = {one.output: two.output for one, two in pairwise(graph.ops)}
    for value in near:
        for banded, spilled in ((True, False), (False, False), (False, True)):
            if value in homes.passed or not banded:
                yield homes.moved(value, spilled, banded)
        if value in homes.passed and after[value] in homes.passed:
            yield homes.moved(value, False, True).moved(after[value], False, True)


def _plan(graph, config, homes):
    """A plan in which values live as in ``homes``, or less well where the room is not there, and what they got."""
    while True:
        try:
            return _Attempt(graph, config, homes).plan(), homes
        except _NoRoom as full:
            value, alive = full.args[0], full.args[1:]
            rest = [one for one in (value, *alive) if one in homes.passed and one not in homes.banded | homes.spilled]
            if value in homes.banded or not rest:
                homes = homes.moved(value, True, False)
            else:
                most = value if value in rest else max(rest, key=lambda one: one.height * one.width * one.channels)
                homes = homes.moved(most, False, True)


def step_costs(plan: Plan, config: EngineConfig, fixed: Collection[Value] = (),
               begin: float | None = None) -> dict[Operation, float]:
    """Cycles, about, of moving values to DRAM and back, but for those that are ``fixed`` there, of computing the same
    pixels again, of loading the same k-words again, and of commands that take ``begin`` cycles (None: :data:`BEGIN`),
    but have less work: of each operation."""
    found = dict[Operation, float]()
    for turn in plan.turns:
        found |= _turn_costs(plan.graph, turn, config, fixed, BEGIN if begin is None else begin)
    return found


def _wait(plan, config):
    """Cycles, about, in which the first operations wait for the input."""
    if plan.input is None:
        return 0.0
    work = sum(step.op.effort(config)[0] * _pixels(step.op.output) for step in plan.turns[0])
    return max(0.0, plan.graph.im2col.cycles(config, plan.graph.input.height, plan.graph.input.width) - work)


def _pixels(value):
    return value.height * value.width


def _beats(value, config):
    """Of a port, in which a value comes from DRAM or goes there."""
    return _pixels(value) * value.groups(config.ic) * config.group_beats


def _turn_costs(graph, turn, config, fixed, begin):
    """The same of steps that take turns: of what is moved ahead, what takes longer than the work, and the first
    strip."""
    found, moved, work, loads = {}, {}, 0.0, 0.0
    for step in turn:
        each, words = step.op.effort(config)
        groups, parts = step.op.output.groups(config.ic), len({strip.g0 for strip in step.strips})
        pixels = sum((strip.y1 - strip.y0) * (strip.x1 - strip.x0) * (strip.g1 - strip.g0) / groups
                     for strip in step.strips)
        moved[step.op] = sum((_beats(v, config) * (parts if v is step.op.input else 1)
                              + SHORT * (parts - 1) * _pixels(v) * (v is not step.op.input))
                             / (1 if v is step.op.output else config.act_lanes)
                             for v in step.dram if v not in fixed and v is not graph.input)
        if graph.input in step.dram:        # whose rows come while others are worked on
            image = graph.im2col.cycles(config, graph.input.height, graph.input.width)
            moved[step.op] += max(0, image - pixels * each)
        strips = len(step.strips) // parts      # in which each filter works
        tiles = step.op.commands(config)
        again = (strips - 1) * words * config.weight_beats
        if words <= config.weight_depth * parts:        # beside the work
            loads += again * (tiles > ENTRIES * parts)
            again = 0
        if tiles > min(config.param_depth, ENTRIES) * parts:
            loads += (strips - 1) * tiles * config.slots * PARAM_BYTES / config.port_bytes
        begun = begin * tiles * strips
        if len(step.strips) > 1:        # commands that are sooner done than the next ones are there
            again += max(0, begun - pixels * each)
        found[step.op] = (pixels - _pixels(step.op.output)) * each + again
        work += pixels * each
    op, strip = turn[-1].op, turn[-1].strips[0]
    total = waits = sum(moved.values())
    if turn[-1].ahead and total:
        waits = max(total + loads - work, total / len(turn[0].strips))
        if op.output in turn[-1].dram:      # the store reads when it is left time to
            reads = 1.0 if strip.output.mem == strip.input.mem else op.gathers(config)
            waits = max(waits, _beats(op.output, config) - work * (1 - reads))
    return {op: cycles + (moved[op] and waits * moved[op] / total) for op, cycles in found.items()}


def cost_of(plan: Plan, config: EngineConfig) -> float:
    """The sum of :func:`step_costs`, and of waiting for the input."""
    return sum(step_costs(plan, config).values()) + _wait(plan, config)


class _Attempt:
    """One try; raises :class:`_NoRoom` with one more value that is not to be on the chip as a whole, and others that
    take the room."""

    def __init__(self, graph: Graph, config: EngineConfig, homes: Homes):
        self._graph, self._config, self._spilled, self._banded = graph, config, homes.spilled, homes.banded
        self._early = homes.early
        self._memories = Memories(config.act_depth, None if homes.seed is None else Random(homes.seed))
        self._where: dict[Value, Placement] = {}
        self._last = {v: i for i, op in enumerate(graph.ops) for v in (*op.reads, op.output)}
        self._rivals: dict[Value, set[Value]] = {}      # those that cannot be in a value's memory
        for op in graph.ops:
            if op.residual is not None:
                if op.residual is op.input and op.input not in self._spilled:
                    raise _NoRoom(op.input)
                self._rivals.setdefault(op.input, set()).add(op.residual)
                self._rivals.setdefault(op.residual, set()).add(op.input)

    def plan(self):
        if self._graph.input not in self._spilled:
            self._settle(self._graph.input)
        turns, ops = [], []
        for index, op in enumerate(self._graph.ops):
            ops.append(op)
            if op.output not in self._banded:
                turns.append(self._turn(index, ops))
                ops = []
        return Plan(self._graph, tuple(turns), self._where.get(self._graph.input))

    def _turn(self, index, ops):
        """The steps of operations that take turns, of which the last has this ``index``."""
        out, first = ops[-1].output, index + 1 - len(ops)
        self._memories.busy = first > 0 and ops[0].beside(self._graph.ops[first - 1], self._config)
        if out not in self._spilled and out not in self._where:
            self._settle(out)
        every = [v for op in ops for v in (*op.reads, op.output)]
        dram = frozenset(v for v in every if v in self._spilled)
        if dram or len(ops) > 1:
            steps = self._strips(ops, dram)
        else:
            op, where = ops[0], self._where
            steps = (Step(op, (Strip(0, out.height, 0, out.width, 0, out.groups(self._config.ic), where[op.input],
                                     (0, 0), where[out], (0, 0), where.get(op.residual)),)),)
        self._memories.free({value for value in every if self._last[value] <= index})
        return steps

    def _settle(self, value):
        """Place a whole value on the chip."""
        reach = max([op.across(op.output.width) for op in self._graph.ops if op.input is value], default=0)
        place = self._placement(value, value.height, value.width, value.phases, reach)
        mems = {0, 1} - {self._where[r].mem for r in self._rivals.get(value, ()) if r in self._where}
        found = self._memories.fit(place.words, mems, value)
        if found is None:
            raise _NoRoom(value, *self._alive())
        self._where[value] = replace(place, mem=found[0], base=found[1])

    def _alive(self):
        return [v for v in self._where if self._memories.holds(v)]

    def _placement(self, value, height, width, phases, reach, groups=None):
        """A placement still without memory; ``reach`` is the widest output row that is enumerated over it, ``groups``
        are the channel groups [lo, hi), None: all."""
        first, end = groups or self._groups(value)
        pitch = max(-(-width // phases[1]), reach)
        return Placement(0, 0, height, width, phases, pitch, end - first, self._config.pixels, self._config.out_pixels,
                         first=first)

    def _groups(self, value):
        """All channel groups of a value, [lo, hi)."""
        return 0, value.groups(self._config.ic)

    def _strips(self, ops, dram):
        """The steps, in strips as large as the free space allows: fewer rows first, then, of one that is alone, fewer
        columns; or smaller ones, of which one is moved while another is worked on, or of some of the channel groups, if
        that is quicker."""
        height, width = ops[-1].output.height, ops[-1].output.width
        sizes = [(rows, width, WHOLE) for rows in _parts(height) if self._early not in [op.output for op in ops]
                 or rows * EARLY <= height]
        if len(ops) == 1:
            sizes = [(rows, width, WHOLE) for rows in _halvings(height)]
            if ops[0].row_taps == 1:
                sizes += [(1, cols, WHOLE) for cols in _halvings(width)[1:]]
        found = [self._first(ops, dram, sizes, False)]
        if dram and len(ops) == 1 and not (found[0] and len(found[0][0].strips) == 1):
            found.append(self._first(ops, dram, sizes, True))
            with self._memories.aside():
                found.insert(1, self._first(ops, dram, sizes, True, True))
                whole = ops[0].residual is self._graph.input        # the image has no parts
                if ops[0].divisible and not whole and {ops[0].output, ops[0].residual} & dram:
                    parts = [(height, width, part) for part in self._parts(ops[0])]
                    found += [self._first(ops, dram, parts, *how) for how in ((False,), (True,), (True, True))]
        if any(found):
            return min(filter(None, found), key=lambda turn: sum(_turn_costs(
                self._graph, turn, self._config, (), BEGIN).values()))
        alive = sorted((v for v in self._alive() if v not in dram), key=lambda v: -self._where[v].words)
        if len(ops) > 1:
            raise _NoRoom(max((op.output for op in ops[:-1]), key=lambda v: v.height * v.width * v.channels))
        if alive:
            raise _NoRoom(*alive)
        raise AlloyError(f"layer {ops[0].name} does not fit the activation memories even one pixel at a time: "
                         f"raise act_depth (now {self._config.act_depth})")

    def _parts(self, op):
        """The channel groups of the output in two parts, in three and so on, in ever larger steps: each a list of
        [lo, hi)."""
        _, groups = self._groups(op.output)
        for most in _parts(groups)[1:]:
            yield [(at, min(at + most, groups)) for at in range(0, groups, most)]

    def _first(self, ops, dram, sizes, ahead, apart=False):
        """The steps in strips of the first of these sizes that fits: (rows, columns, parts of the channel groups);
        ``apart`` : with an output that is not in the memory of the input."""
        for rows, cols, parts in sizes:
            if strips := self._cut(ops, dram, rows, cols, parts, ahead, apart):
                return tuple(Step(op, strip, dram & {*op.reads, op.output}, ahead)
                             for op, strip in zip(ops, strips, strict=True))
        return None

    def _cut(self, ops, dram, rows, cols, parts, ahead, apart):
        """The strips of each operation, of this size of the last one's output, if there is room for the largest of
        them; None if not."""
        height, width = ops[-1].output.height, ops[-1].output.width
        areas = [(y, min(y + rows, height), x, min(x + cols, width))
                 for y in range(0, height, rows) for x in range(0, width, cols)]
        every, groups = areas * len(parts), [part for part in parts for _ in areas]
        # Those that are looked at first are about as large as any.
        made, read = _areas(ops, every[:2] + every[-2:], False)
        if len(every) > 4 and self._scratch(ops, dram, made, read, groups[:2] + groups[-2:], ahead, apart) is None:
            return None
        made, read = _areas(ops, every)
        places = self._scratch(ops, dram, made, read, groups, ahead, apart)
        if places is None:
            return None
        strips = []
        for op, area, source in zip(ops, made, read, strict=True):
            strips.append(tuple(Strip(*area[i], *(groups[i] or self._groups(op.output)),
                                      *self._operand("input", op.input, places, i, source[i]),
                                      *self._operand("output", op.output, places, i, area[i]),
                                      *self._operand("residual", op.residual, places, i, area[i]))
                                for i in range(len(area))))
        return strips

    def _operand(self, role, value, places, number, area):
        """Where a strip has one of its operands, and the first pixel of it, which is that of ``area`` if it is not on
        the chip as a whole."""
        if (role, value) in places:
            return places[role, value][number], (area[0], area[2])
        return self._where.get(value), (0, 0)

    def _scratch(self, ops, dram, made, read, groups, ahead, apart):
        """Placements, by role and value, for all strips of what is not on the chip as a whole, in one scratch region
        each, or two in turn of what is moved ``ahead``; None without room."""
        token, places = object(), {}

        def fits(role, value, areas, phases, reach, mems, groups=(None,)):
            shapes = [self._placement(value, y1 - y0, x1 - x0, phases, reach, part)
                      for (y0, y1, x0, x1), part in zip(areas, cycle(groups), strict=False)]
            words, regions = max(s.words for s in shapes), []
            for _ in range(1 + (ahead and value in dram)):
                found = self._memories.fit(words, mems, token)
                if found is None:
                    return False
                regions.append(found)
                mems = {found[0]}
            places[role, value] = [replace(s, mem=mem, base=base)
                                   for s, (mem, base) in zip(shapes, cycle(regions), strict=False)]
            return True

        def input_fits(role, at):
            op = ops[at]
            held = op.residual is not None and op.residual not in dram
            mems = {0, 1} - ({self._where[op.residual].mem} if held else set())
            cols = max(x1 - x0 for _, _, x0, x1 in made[at])
            return fits(role, op.input, read[at], op.input.phases, op.across(cols), mems)

        def residual_fits(at):
            op = ops[at]
            if op.residual not in dram:
                return True
            known = places.get(("input", op.input), [self._where.get(op.input)])
            return fits("residual", op.residual, made[at], PLAIN, 0, {1 - known[0].mem}, groups)
        ok = ops[0].input not in dram or input_fits("input", 0)
        for at, op in enumerate(ops):
            ok = ok and residual_fits(at)
            if op is not ops[-1]:
                ok = ok and input_fits("input", at + 1)
                if ok:
                    places["output", op.output] = places["input", op.output]
        if ok and ops[-1].output in dram:
            source = places.get(("input", ops[-1].input), [self._where.get(ops[-1].input)])[0]
            ok = fits("output", ops[-1].output, made[-1], PLAIN, 0, {0, 1} - ({source.mem} if apart else set()), groups)
        self._memories.forget(token)
        return places if ok else None


def _areas(ops, areas, whole=True):
    """What each operation makes and reads for ``areas`` of the last one's output, which are the ``whole`` of it."""
    made, read = [areas], [[ops[-1].region(*area) for area in areas]]
    for op in ops[-2::-1]:
        made.insert(0, _joined(read[0], op.output) if whole else read[0])
        read[0] = made[0]
        read.insert(0, [op.region(*area) for area in made[0]])
    return made, read


def _joined(areas, value):
    """Areas, in the order of their rows, made so large that all of a value is in one of them."""
    ends = [max(area[1], below[0]) for area, below in pairwise(areas)]
    return [(area[0] if number else 0, end, 0, value.width)
            for number, (area, end) in enumerate(zip(areas, [*ends, value.height], strict=True))]


def _halvings(size):
    out = [size]
    while out[-1] > 1:
        out.append(-(-out[-1] // 2))
    return out


@cache
def _parts(size):
    """Sizes of parts, of which there are one, two, three and so on, in ever larger steps."""
    powers = range(4 * size.bit_length())
    counts = {min(size, round(count * 1.15 ** power)) for count in range(1, 9) for power in powers}
    return list(dict.fromkeys(-(-size // count) for count in sorted(counts)))
