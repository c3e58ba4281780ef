"""Program order: commands are fetched in order, so one that meets a full queue holds up all that follow.

Loads and work (computing and storing) keep their own order, and so do any two commands that conflict. Which of the two
comes next is decided by following the queues in time, with durations that need not be exact: work comes as soon as its
loads stand before it, except when its queue is full; then loads run ahead.
"""

from collections.abc import Iterable
from typing import Any

from spec.commands import LOADS_AHEAD, PARAM_BYTES, Opcode
from spec.config import EngineConfig

from .hazards import Accesses, Hazards, Item

__all__ = ["schedule", "in_time", "duration", "FLUSH", "LATENCY"]

LATENCY = 50            # cycles from a command to its first data
FLUSH = 80              # cycles from the last step of a convolution to its last output
FETCH = 8               # cycles between commands
UNITS = {"load": LOADS_AHEAD, "compute": 2, "store": 2}     # commands of each queue that are under way


def duration(item: Item, config: EngineConfig) -> int:
    """About how many cycles a command keeps its unit busy."""
    f = item.fields
    match item.opcode:
        case Opcode.LOAD_WEIGHTS:
            return f["count"] * config.weight_beats
        case Opcode.LOAD_PARAMS | Opcode.LOAD_TAPS | Opcode.LOAD_TABLES:
            return -(-f["count"] * PARAM_BYTES // config.port_bytes)
        case Opcode.LOAD_ACT | Opcode.STORE_ACT:
            return f["rows"] * f["cols"] * f["out_groups"] * config.act_group_bytes // config.port_bytes
        case Opcode.CONV:
            return f["tiles"] * f["taps"] * f["depth"]
    return f["rows"] * -(-f["cols"] // config.out_pixels) * f["taps"] * f["groups"]


class _Queue:
    """One queue in time: when each command left it, and when it was complete."""

    def __init__(self, depth: int, ahead: int):
        self._depth, self._ahead = depth, ahead
        self.left: list[float] = []
        self.done: list[float] = []

    @property
    def opens(self) -> float:
        """When there is room for one more command."""
        return self.left[-self._depth] if len(self.left) >= self._depth else 0

    def add(self, arrives: float, needs: float, duration: float, tail: float) -> None:
        unit = self.done[-self._ahead] if len(self.done) >= self._ahead else 0
        self.left.append(max(arrives, needs, unit, self.left[-1] if self.left else 0))
        self.done.append(max(self.left[-1] + tail, self.done[-1] if self.done else 0) + duration)


def _conflicts(items: Iterable[Item]) -> dict[Item, list[tuple[str, int]]]:
    """For each command, the (queue, number in it) of those that must stand before it."""
    accesses, count, needs = Accesses(), dict.fromkeys(UNITS, 0), {}
    for item in items:
        found = accesses.conflicts(item)
        needs[item] = [("compute" if queue == "feed" else queue, at) for queue, at in found.items()]
        accesses.record(item, count[item.queue])
        count[item.queue] += 1
    return needs


def in_time(items: list[Item], config: EngineConfig) -> list[Item]:
    """The commands in the order of the program."""
    needs = _conflicts(items)
    queues = {name: _Queue(config.queue_depth, ahead) for name, ahead in UNITS.items()}
    loads = [item for item in items if item.queue == "load"][::-1]
    work = [item for item in items if item.queue != "load"][::-1]
    now: float = 0
    out = []

    def allowed(waiting):
        return bool(waiting) and all(at < len(queues[queue].left) for queue, at in needs[waiting[-1]])

    while loads or work:
        pick = work if allowed(work) else None
        if allowed(loads) and (pick is None or queues[work[-1].queue].opens > max(now, queues["load"].opens)):
            pick = loads
        assert pick is not None, "two commands wait for each other"
        item = pick.pop()
        queue = queues[item.queue]
        now = max(now + FETCH, queue.opens)
        ready = max([queues[name].done[at] for name, at in needs[item]], default=0)
        queue.add(now, ready, duration(item, config), FLUSH if item.queue == "compute" else LATENCY)
        out.append(item)
    return out


def schedule(items: list[Item], config: EngineConfig) -> list[tuple[Opcode, dict[str, Any]]]:
    """(opcode, fields) of every command in program order, semaphores set."""
    hazards = Hazards()
    for item in in_time(items, config):
        hazards.add(item)
    return hazards.commands
