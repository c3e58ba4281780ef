"""Program order: commands are fetched in order, so one that meets a full queue holds up all that follow.

Loads and work (computing and storing) keep their own order, and so do any two commands that conflict. Which of the two comes next is
decided by following the queues in time, with durations that need not be exact: work comes as soon as its loads stand before
it, except when its queue is full; then loads run ahead.
"""

from spec.commands import LOADS_AHEAD, PARAM_BYTES, Opcode

from .hazards import Accesses, Hazards

__all__ = ["schedule", "duration", "FLUSH", "LATENCY"]

LATENCY = 50            # cycles from a command to its first data
FLUSH = 80              # cycles from the last step of a convolution to its last output
FETCH = 8               # cycles between commands


def duration(item, config):
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
    return f["rows"] * f["cols"] * f["taps"] * f["groups"]


class _Queue:
    """One queue in time: when each command left it, and when it was complete."""

    def __init__(self, depth, ahead):
        self._depth, self._ahead, self.left, self.done, self.items = depth, ahead, [], [], []

    @property
    def opens(self):
        """When there is room for one more command."""
        return self.left[-self._depth] if len(self.left) >= self._depth else 0

    def add(self, item, arrives, needs, duration, tail):
        unit = self.done[-self._ahead] if len(self.done) >= self._ahead else 0
        self.left.append(max(arrives, needs, unit, self.left[-1] if self.left else 0))
        self.done.append(max(self.left[-1] + tail, self.done[-1] if self.done else 0) + duration)
        self.items.append(item)


def _order(items, config):
    accesses, count, needs = Accesses(), {"load": 0, "compute": 0, "store": 0}, {}
    for item in items:
        found = accesses.conflicts(item)
        needs[item] = [("compute" if queue == "feed" else queue, at) for queue, at in found.items()]
        accesses.record(item, count[item.queue])
        count[item.queue] += 1
    queues = {name: _Queue(config.queue_depth, LOADS_AHEAD if name == "load" else 2) for name in count}
    loads, work = ([i for i in items if (i.queue == "load") == load] for load in (True, False))
    loads, work, now, out = loads[::-1], work[::-1], 0, []

    def allowed(item):
        return all(at < len(queues[queue].items) for queue, at in needs[item])

    while loads or work:
        pick = None
        if work and allowed(work[-1]):
            pick = work
        if loads and allowed(loads[-1]) and (pick is None or queues[work[-1].queue].opens > max(now, queues["load"].opens)):
            pick = loads
        item = pick.pop()
        queue = queues[item.queue]
        now = max(now + FETCH, queue.opens)
        ready = max([queues[name].done[at] for name, at in needs[item]], default=0)
        queue.add(item, now, ready, duration(item, config), FLUSH if item.queue == "compute" else LATENCY)
        out.append(item)
    return out


def schedule(items, config):
    """(opcode, fields) of every command in program order, semaphores set."""
    hazards = Hazards()
    for item in _order(items, config):
        hazards.add(item)
    return hazards.commands
