"""Places values in the two activation memories; what does not fit lives in DRAM and is worked on in strips."""

from dataclasses import dataclass, field

from spec.errors import AlloyError

from .layout import Placement

__all__ = ["Step", "Strip", "allocate"]


@dataclass
class Strip:
    """Output rows and columns ``[y0, y1) x [x0, x1)`` of one operation and where its operands lie.

    ``input_at`` is the tensor coordinate of the stored input's first pixel; scratch regions hold just the strip.
    """
    y0: int
    y1: int
    x0: int
    x1: int
    input: Placement
    input_at: tuple
    output: Placement
    output_at: tuple
    residual: Placement = None
    residual_at: tuple = (0, 0)


@dataclass
class Step:
    """One operation; ``dram`` names the operands that are loaded and stored strip by strip."""
    op: object
    strips: list
    dram: set = field(default_factory=set)


class _NoRoom(Exception):
    pass


class _Memories:
    def __init__(self, config):
        self.config, self.used = config, [[], []]       # intervals (lo, hi, owner)

    def fit(self, words, mems, owner):
        """First fit in the emptier of ``mems``: (memory, base), or None."""
        for mem in sorted(mems, key=lambda m: sum(hi - lo for lo, hi, _ in self.used[m])):
            at = 0
            for lo, hi, _ in sorted(self.used[mem], key=lambda u: u[0]):
                if at + words <= lo:
                    break
                at = max(at, hi)
            if at + words <= self.config.act_depth:
                self.used[mem].append((at, at + words, owner))
                return mem, at
        return None

    def free(self, owner):
        for used in self.used:
            used[:] = [u for u in used if u[2] is not owner]


def _groups(value, config):
    return -(-value.channels // config.ic)


def _placement(value, config, height, width, phases, reach):
    """A placement still without memory; ``reach`` is the widest output row that is enumerated over it."""
    pitch = max(-(-width // 2) if phases[1] else width, reach)
    return Placement(0, 0, height, width, phases, pitch, _groups(value, config), config.pixels)


def _at(placement, where):
    return Placement(where[0], where[1], *[getattr(placement, n) for n in ("height", "width", "phases", "pitch", "groups", "pixels")])


def allocate(graph, config):
    """Steps with all placements, and the placement of the input if it is on chip. Values in DRAM: ``step.dram``.

    Raises :class:`AlloyError` naming the layer if not even one pixel's operands fit.
    """
    spilled = set()
    while True:
        try:
            return _attempt(graph, config, spilled)
        except _NoRoom as full:
            victim, = full.args
            spilled.add(victim)


def _attempt(graph, config, spilled):
    memories, where, steps = _Memories(config), {}, []
    last = {v: i for i, op in enumerate(graph.ops) for v in op.reads}
    rivals = {}
    for op in graph.ops:
        if op.residual is not None:
            if op.residual is op.input and op.input not in spilled:
                raise _NoRoom(op.input)
            rivals.setdefault(op.input, set()).add(op.residual)
            rivals.setdefault(op.residual, set()).add(op.input)

    def settle(value):
        """Place a whole value on chip, or declare it spilled."""
        reach = max([op.output.width for op in graph.ops if op.input is value], default=0)
        plan = _placement(value, config, value.height, value.width, value.phases, reach)
        mems = {0, 1} - {where[r].mem for r in rivals.get(value, ()) if r in where}
        found = memories.fit(plan.words, mems, value)
        if found is None:
            raise _NoRoom(value)
        where[value] = _at(plan, found)

    if graph.input not in spilled:
        settle(graph.input)
    for index, op in enumerate(graph.ops):
        if op.output not in spilled:
            settle(op.output)
        dram = {v for v in [*op.reads, op.output] if v in spilled}
        if dram:
            steps.append(Step(op, _strips(op, config, memories, where, dram, last, index), dram))
        else:
            steps.append(Step(op, [Strip(0, op.output.height, 0, op.output.width, where[op.input], (0, 0), where[op.output], (0, 0),
                                         where.get(op.residual), (0, 0))]))
        for value in [*op.reads, op.output]:
            if last.get(value, index) <= index:
                memories.free(value)
    return steps, where.get(graph.input)


def _span(start, stop, stride, padding, kernel, size):
    """Input range [lo, hi) that outputs [start, stop) read, at least one element of the tensor."""
    lo = min(max(0, start * stride - padding), size - 1)
    return lo, max(lo + 1, min(size, (stop - 1) * stride - padding + kernel))


def _strips(op, config, memories, where, dram, last, index):
    """Strips as large as the free space allows: fewer rows first, then fewer columns."""
    height, width = op.output.height, op.output.width
    sizes = [(rows, width) for rows in _halvings(height)] + [(1, cols) for cols in _halvings(width)[1:]]
    for rows, cols in sizes:
        strips = _try(op, config, memories, where, dram, rows, cols)
        if strips:
            return strips
    alive = [v for v in where if v not in dram and any(u[2] is v for used in memories.used for u in used)]
    if alive:
        raise _NoRoom(max(alive, key=lambda v: where[v].words))
    raise AlloyError(f"layer {op.name} does not fit the activation memories even one pixel at a time: raise act_depth "
                     f"(now {config.act_depth})")


def _halvings(size):
    out = [size]
    while out[-1] > 1:
        out.append(-(-out[-1] // 2))
    return out


def _try(op, config, memories, where, dram, rows, cols):
    """Scratch for the largest strip of this size, used by all of them; None if it does not fit."""
    height, width = op.output.height, op.output.width
    strips, token = [], object()
    ranges = [(y, min(y + rows, height), x, min(x + cols, width)) for y in range(0, height, rows) for x in range(0, width, cols)]
    spans = [(_span(y0, y1, op.stride[0], op.padding[0], op.kernel[0], op.input.height),
              _span(x0, x1, op.stride[1], op.padding[1], op.kernel[1], op.input.width)) for y0, y1, x0, x1 in ranges]
    plain = (False, False)
    plans = {}

    def scratch(role, value, sizes, phases, mems):
        if value not in dram:
            return True
        shapes = [_placement(value, config, h, w, phases, cols if role == "input" else 0) for h, w in sizes]
        found = memories.fit(max(s.words for s in shapes), mems, token)
        plans[role] = [_at(s, found) for s in shapes] if found else None
        return found is not None
    sizes = [(y1 - y0, x1 - x0) for y0, y1, x0, x1 in ranges]
    home = where.get(op.input)
    ok = scratch("input", op.input, [(b - a, d - c) for (a, b), (c, d) in spans], op.input.phases,
                 {0, 1} - ({where[op.residual].mem} if op.residual is not None and op.residual not in dram else set()))
    if ok and op.residual is not None:
        mem = plans["input"][0].mem if "input" in plans else home.mem
        ok = scratch("residual", op.residual, sizes, plain, {1 - mem})
    ok = ok and scratch("output", op.output, sizes, plain, {0, 1})
    memories.free(token)
    if not ok:
        return None
    for i, (y0, y1, x0, x1) in enumerate(ranges):
        local, whole = (y0, x0), (0, 0)
        strip = Strip(y0, y1, x0, x1, *((plans["input"][i], (spans[i][0][0], spans[i][1][0])) if "input" in plans else (home, whole)),
                      *((plans["output"][i], local) if "output" in plans else (where[op.output], whole)))
        if op.residual is not None:
            strip.residual, strip.residual_at = (plans["residual"][i], local) if "residual" in plans else (where[op.residual], whole)
        strips.append(strip)
    return strips
