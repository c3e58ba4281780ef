"""Places values in the two activation memories; what does not fit lives in DRAM and is worked on in strips.

Values are placed one after the other. Where small ones that live for long come to lie decides whether a large one finds
its place in one piece: if something is left over, other places are tried, by chance but always the same.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

from spec.config import EngineConfig
from spec.errors import AlloyError

from .graph import Graph, Value
from .layout import Placement
from .plan import Plan, Step, Strip

__all__ = ["allocate"]

PLAIN = (1, 1)
TRIES = 20


class _NoRoom(Exception):
    """``args``: the value that is to live in DRAM."""


class _Memories:
    """What is taken of the activation memories: intervals (lo, hi, owner); ``dice`` may choose among the places."""

    def __init__(self, depth: int, dice: Random | None):
        self._depth, self._dice = depth, dice
        self._used: tuple[list, list] = ([], [])

    def fit(self, words: int, mems: Iterable[int], owner: object) -> tuple[int, int] | None:
        """First fit in the emptier of ``mems``: (memory, base), or None."""
        places = [(mem, at) for mem in sorted(mems, key=lambda m: sum(hi - lo for lo, hi, _ in self._used[m]))
                  for lo, hi in self._gaps(mem) if hi - lo >= words for at in (lo, hi - words)]
        if not places:
            return None
        mem, at = self._dice.choice(places) if self._dice else places[0]
        self._used[mem].append((at, at + words, owner))
        return mem, at

    def _gaps(self, mem):
        """What is free, from the first word on."""
        at = 0
        for lo, hi, _ in sorted([*self._used[mem], (self._depth, self._depth, None)], key=lambda u: u[0]):
            yield at, lo
            at = max(at, hi)

    def free(self, owner: object) -> None:
        for used in self._used:
            used[:] = [u for u in used if u[2] is not owner]

    def holds(self, owner: object) -> bool:
        return any(u[2] is owner for used in self._used for u in used)


def allocate(graph: Graph, config: EngineConfig) -> Plan:
    """All placements, for as few values in DRAM as fits.

    Raises :class:`AlloyError` naming the layer if not even one pixel's operands fit.
    """
    fixed = {value for op in graph.ops for value in op.from_dram}
    best, moved = _plan(graph, config, fixed, None)
    for seed in range(TRIES):
        if not moved:
            break
        with suppress(AlloyError):      # other places may leave no room for a single pixel
            other, less = _plan(graph, config, fixed, seed)
            if less < moved:
                best, moved = other, less
    return best


def _plan(graph, config, fixed, seed):
    """A plan, and the words that it moves to DRAM and back besides those of the values that are ``fixed`` there."""
    spilled = set(fixed)
    while True:
        try:
            plan = _Attempt(graph, config, spilled, seed).plan()
        except _NoRoom as full:
            spilled.add(full.args[0])
        else:
            return plan, sum(value.height * value.width * value.groups(config.ic) for step in plan.steps
                             for value in step.dram - fixed)


class _Attempt:
    """One try with ``spilled`` values in DRAM; raises :class:`_NoRoom` with one more that is to live there. ``seed`` of
    the places, None for the first that fits."""

    def __init__(self, graph, config, spilled, seed):
        self._graph, self._config, self._spilled = graph, config, spilled
        self._memories = _Memories(config.act_depth, None if seed is None else Random(seed))
        self._where: dict[Value, Placement] = {}
        self._last = {v: i for i, op in enumerate(graph.ops) for v in (*op.reads, op.output)}
        self._rivals: dict[Value, set[Value]] = {}      # those that cannot be in a value's memory
        for op in graph.ops:
            if op.residual is not None:
                if op.residual is op.input and op.input not in spilled:
                    raise _NoRoom(op.input)
                self._rivals.setdefault(op.input, set()).add(op.residual)
                self._rivals.setdefault(op.residual, set()).add(op.input)

    def plan(self):
        if self._graph.input not in self._spilled:
            self._settle(self._graph.input)
        steps = [self._step(index, op) for index, op in enumerate(self._graph.ops)]
        return Plan(self._graph, tuple(steps), self._where.get(self._graph.input))

    def _step(self, index, op):
        if op.output not in self._spilled and op.output not in self._where:
            self._settle(op.output)
        dram = frozenset(v for v in [*op.reads, op.output] if v in self._spilled)
        if dram:
            step = Step(op, self._strips(op, dram), dram)
        else:
            where = self._where
            step = Step(op, (Strip(0, op.output.height, 0, op.output.width, where[op.input], (0, 0),
                                   where[op.output], (0, 0), where.get(op.residual)),))
        for value in [*op.reads, op.output]:
            if self._last[value] <= index:
                self._memories.free(value)
        return step

    def _settle(self, value):
        """Place a whole value on the chip."""
        reach = max([op.across for op in self._graph.ops if op.input is value], default=0)
        place = self._placement(value, value.height, value.width, value.phases, reach)
        mems = {0, 1} - {self._where[r].mem for r in self._rivals.get(value, ()) if r in self._where}
        found = self._memories.fit(place.words, mems, value)
        if found is None:
            raise _NoRoom(value)
        self._where[value] = replace(place, mem=found[0], base=found[1])

    def _placement(self, value, height, width, phases, reach):
        """A placement still without memory; ``reach`` is the widest output row that is enumerated over it."""
        pitch = max(-(-width // phases[1]), reach)
        return Placement(0, 0, height, width, phases, pitch, value.groups(self._config.ic), self._config.pixels,
                         self._config.out_pixels)

    def _strips(self, op, dram):
        """Strips as large as the free space allows: fewer rows first, then fewer columns."""
        height, width = op.output.height, op.output.width
        sizes = [(rows, width) for rows in _halvings(height)] + [(1, cols) for cols in _halvings(width)[1:]]
        for rows, cols in sizes:
            strips = self._cut(op, dram, rows, cols)
            if strips:
                return strips
        alive = [v for v in self._where if v not in dram and self._memories.holds(v)]
        if alive:
            raise _NoRoom(max(alive, key=lambda v: self._where[v].words))
        raise AlloyError(f"layer {op.name} does not fit the activation memories even one pixel at a time: "
                         f"raise act_depth (now {self._config.act_depth})")

    def _cut(self, op, dram, rows, cols):
        """The strips of this size, if there is room for the largest of them; None if not."""
        height, width = op.output.height, op.output.width
        ranges = [(y, min(y + rows, height), x, min(x + cols, width))
                  for y in range(0, height, rows) for x in range(0, width, cols)]
        read = [op.region(*area) for area in ranges]
        places = self._scratch(op, dram, cols, ranges, read)
        if places is None:
            return None
        strips, whole = [], (0, 0)
        for i, (y0, y1, x0, x1) in enumerate(ranges):
            at = {"input": (read[i][0], read[i][2]), "residual": (y0, x0), "output": (y0, x0)}
            operands: dict[str, Any] = {}
            for role, value in (("input", op.input), ("residual", op.residual), ("output", op.output)):
                local = role in places
                operands[role] = places[role][i] if local else self._where.get(value)
                operands[f"{role}_at"] = at[role] if local else whole
            strips.append(Strip(y0, y1, x0, x1, **operands))
        return tuple(strips)

    def _scratch(self, op, dram, cols, ranges, read):
        """Placements, by role, for all strips of what is in DRAM, in one scratch region each; None without room."""
        token, places = object(), {}

        def fits(role, value, areas, phases, mems):
            if value not in dram:
                return True
            shapes = [self._placement(value, y1 - y0, x1 - x0, phases, min(cols, op.across) if role == "input" else 0)
                      for y0, y1, x0, x1 in areas]
            found = self._memories.fit(max(s.words for s in shapes), mems, token)
            if found is not None:
                places[role] = [replace(s, mem=found[0], base=found[1]) for s in shapes]
            return found is not None
        held = op.residual is not None and op.residual not in dram
        mems = {0, 1} - ({self._where[op.residual].mem} if held else set())
        ok = fits("input", op.input, read, op.input.phases, mems)
        if ok and op.residual is not None:
            mem = places["input"][0].mem if "input" in places else self._where[op.input].mem
            ok = fits("residual", op.residual, ranges, PLAIN, {1 - mem})
        ok = ok and fits("output", op.output, ranges, PLAIN, {0, 1})
        self._memories.free(token)
        return places if ok else None


def _halvings(size):
    out = [size]
    while out[-1] > 1:
        out.append(-(-out[-1] // 2))
    return out
