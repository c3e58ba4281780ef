"""Dependencies between the three queues, and the semaphores that enforce them.

Every command says what it reads and writes. Queues are in order, so a command needs to wait only for the latest command
of another queue that it conflicts with; and only if nothing before it in its own queue has waited for that one or a
later one.
Every wait therefore has a give of its own, in the same order on both sides: one counting semaphore for each pair of
queues.
A CONV gives twice: "feed" when weights, taps and input have been read, "compute" when its outputs are written.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, NamedTuple

from spec.commands import QUEUES, SEMAPHORE_MAX, Opcode

__all__ = ["Access", "Groups", "Item", "Accesses", "Hazards", "SEMAPHORE"]

SEMAPHORE = {("load", "compute"): 0, ("compute", "load"): 1, ("compute", "compute"): 2, ("compute", "store"): 3,
             ("store", "compute"): 4, ("store", "load"): 5, ("load", "store"): 6, ("feed", "load"): 7}


class Groups(NamedTuple):
    """Of every ``period`` words from ``base`` on, those from ``first`` up to ``end``: channel groups of a value."""
    base: int
    period: int
    first: int
    end: int

    def grid(self) -> tuple[int, int]:
        """What those have in common that can be told apart."""
        return self.base, self.period


class Access(NamedTuple):
    """A half-open range of words, records or rows of a resource; ``stage`` is "feed" for what the feeder of a CONV
    reads, and None otherwise; ``groups`` are those of the words that are touched, None: all."""
    resource: tuple
    lo: int
    hi: int
    writes: bool
    stage: str | None = None
    groups: Groups | None = None

    def meets(self, other: "Access") -> bool:
        """Whether both touch a word, as far as that can be told, and one of them writes."""
        return (self.lo < other.hi and other.lo < self.hi and (self.writes or other.writes)
                and self.resource == other.resource and not _apart(self.groups, other.groups))


@dataclass(frozen=True, eq=False)
class Item:
    """A command to be; among its ``fields``, ``value`` is the tensor to whose region ``dram`` is relative."""
    opcode: Opcode
    accesses: tuple[Access, ...]
    fields: dict[str, Any]

    @property
    def queue(self) -> str:
        """The queue that it goes to."""
        return QUEUES[self.opcode]


class Accesses:
    """The latest accesses to every range, in program order."""

    def __init__(self):
        # resource -> queue or "feed" -> [(lo, hi, access, index)], the latest last: what is left of an access's range
        self._kept: dict[tuple, dict[str, list[tuple[int, int, Access, int]]]] = {}

    def conflicts(self, item: Item) -> dict[str, int]:
        """Latest command of each queue ("feed" apart) that ``item`` must not overtake: {queue: index}."""
        needs: dict[str, int] = {}
        queue = item.queue
        for access in item.accesses:
            low, high = access.lo, access.hi
            for other, kept in self._kept.get(access.resource, {}).items():
                # A queue is in order by itself; the compute queue starts a command before the one before it has
                # written.
                if (access.writes or queue != "compute") if other == queue else (other, queue) == ("feed", "compute"):
                    continue
                latest = needs.get(other, -1)
                for lo, hi, before, at in reversed(kept):
                    if at <= latest:
                        break
                    if lo < high and low < hi and access.meets(before):
                        needs[other] = at
                        break
        return needs

    def record(self, item: Item, index: int) -> None:
        """Remember ``item`` under its number ``index``."""
        for access in item.accesses:
            kept = self._kept.setdefault(access.resource, {}).setdefault(access.stage or item.queue, [])
            low, high = access.lo, access.hi
            more = {(low, high, access): None}      # each once, in order
            met = [i for i, (lo, hi, _, _) in enumerate(kept) if lo < high and low < hi]
            for i in reversed(met):
                lo, hi, before, at = kept[i]
                if before.writes and not access.writes:
                    continue
                covered = _covers(access.groups, before.groups)
                if not covered and before.groups and access.groups and before.groups.grid() != access.groups.grid():
                    # Other groups than can be compared: as if the later command had touched all of these words.
                    more[max(lo, low), min(hi, high), access._replace(groups=None)] = None
                    covered = True
                if covered:     # What a queue accesses again can no longer be its latest conflict.
                    kept[i:i + 1] = [(*left, before, at) for left in ((lo, low), (high, hi)) if left[0] < left[1]]
            kept += [(*span, index) for span in more]


class Hazards:
    """Sets the masks wait, give and release of items added in program order."""

    def __init__(self):
        self._accesses = Accesses()
        self._known: dict[tuple[str, str], int] = {}    # (source queue, queue) -> latest command known to be complete
        self._waiting: list[int] = []       # compute commands that wait for others
        self._queues: dict[str, list[dict[str, Any]]] = {"load": [], "compute": [], "store": []}
        self.commands: list[tuple[Opcode, dict[str, Any]]] = []     # (opcode, fields)

    def add(self, item: Item) -> None:
        """Append a command."""
        queue, fields = item.queue, {"wait": 0, "give": 0, **item.fields}
        for other, at in self._accesses.conflicts(item).items():
            if at > self._known.get((other, queue), -1):
                if other == queue:
                    at = self._counted(at)
                self._known[other, queue] = at
                bit = 1 << SEMAPHORE[other, queue]
                fields["wait"] |= bit
                source, mask = ("compute", "release") if other == "feed" else (other, "give")
                giver = self._queues[source][at]
                giver[mask] = giver.get(mask, 0) | bit
        self._accesses.record(item, len(self._queues[queue]))
        self._queues[queue].append(fields)
        self.commands.append((item.opcode, fields))

    def _counted(self, at: int) -> int:
        """The compute command that another one waits for instead of number ``at``: the latest one, where a semaphore
        could not count all that are waited for later."""
        if len(self._waiting) - bisect_right(self._waiting, at) >= SEMAPHORE_MAX:
            at = len(self._queues["compute"]) - 1
        self._waiting.append(len(self._queues["compute"]))
        return at


def _apart(one, two):
    """Whether groups have no word in common, as far as that can be told."""
    return (one is not None and two is not None and one.grid() == two.grid()
            and (one.end <= two.first or two.end <= one.first))


def _covers(groups, before):
    """Whether one access is to all groups of another."""
    return groups is None or (before is not None and groups.grid() == before.grid()
                              and groups.first <= before.first and before.end <= groups.end)
