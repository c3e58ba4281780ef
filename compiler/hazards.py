"""Dependencies between the three queues, and the semaphores that enforce them.

Every command says what it reads and writes. Queues are in order, so a command needs to wait only for the latest command
of another queue that it conflicts with; and only if nothing before it in its own queue has waited for that one or a
later one.
Every wait therefore has a give of its own, in the same order on both sides: one counting semaphore for each pair of
queues.
A CONV gives twice: "feed" when weights, taps and input have been read, "compute" when its outputs are written.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from spec.commands import QUEUES, Opcode

__all__ = ["Access", "Item", "Accesses", "Hazards", "SEMAPHORE"]

SEMAPHORE = {("load", "compute"): 0, ("compute", "load"): 1, ("compute", "compute"): 2, ("compute", "store"): 3,
             ("store", "compute"): 4, ("store", "load"): 5, ("load", "store"): 6, ("feed", "load"): 7}


class Access(NamedTuple):
    """A half-open range of words, records or rows of a resource; ``stage`` is "feed" for what the feeder of a CONV
    reads, and None otherwise."""
    resource: tuple
    lo: int
    hi: int
    writes: bool
    stage: str | None = None


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
        # resource -> queue or "feed" -> [(lo, hi, writes, index)], the latest last
        self._kept: dict[tuple, dict[str, list[tuple[int, int, bool, int]]]] = {}

    def conflicts(self, item: Item) -> dict[str, int]:
        """Latest command of each queue ("feed" apart) that ``item`` must not overtake: {queue: index}."""
        needs: dict[str, int] = {}
        queue = item.queue
        for resource, lo, hi, writes, _ in item.accesses:
            for other, kept in self._kept.get(resource, {}).items():
                # A queue is in order by itself; the compute queue starts a command before the one before it has
                # written.
                if (writes or queue != "compute") if other == queue else (other, queue) == ("feed", "compute"):
                    continue
                latest = needs.get(other, -1)
                for low, high, wrote, at in reversed(kept):
                    if at <= latest:
                        break
                    if low < hi and lo < high and (writes or wrote):
                        needs[other] = at
                        break
        return needs

    def record(self, item: Item, index: int) -> None:
        """Remember ``item`` under its number ``index``."""
        for resource, lo, hi, writes, stage in item.accesses:
            kept = self._kept.setdefault(resource, {}).setdefault(stage or item.queue, [])
            # What a queue accesses again can no longer be its latest conflict.
            again = [i for i, (low, high, wrote, _) in enumerate(kept)
                     if low < hi and lo < high and (writes or not wrote)]
            for i in reversed(again):
                kept[i:i + 1] = _outside(kept[i], lo, hi)
            kept.append((lo, hi, writes, index))


class Hazards:
    """Sets the masks wait, give and release of items added in program order."""

    def __init__(self):
        self._accesses = Accesses()
        self._known: dict[tuple[str, str], int] = {}    # (source queue, queue) -> latest command known to be complete
        self._queues: dict[str, list[dict[str, Any]]] = {"load": [], "compute": [], "store": []}
        self.commands: list[tuple[Opcode, dict[str, Any]]] = []     # (opcode, fields)

    def add(self, item: Item) -> None:
        """Append a command."""
        queue, fields = item.queue, {"wait": 0, "give": 0, **item.fields}
        for other, at in self._accesses.conflicts(item).items():
            if at > self._known.get((other, queue), -1):
                self._known[other, queue] = at
                bit = 1 << SEMAPHORE[other, queue]
                fields["wait"] |= bit
                source, mask = ("compute", "release") if other == "feed" else (other, "give")
                giver = self._queues[source][at]
                giver[mask] = giver.get(mask, 0) | bit
        self._accesses.record(item, len(self._queues[queue]))
        self._queues[queue].append(fields)
        self.commands.append((item.opcode, fields))


def _outside(old, lo, hi):
    """What is left of an access beside a range."""
    return [(low, high, *old[2:]) for low, high in ((old[0], lo), (hi, old[1])) if low < high]
