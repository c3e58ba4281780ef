"""Dependencies between the three queues, and the semaphores that enforce them.

Every command says what it reads and writes. Queues are in order, so a command needs to wait only for the latest command of another
queue that it conflicts with; and only if nothing before it in its own queue has waited for that one or a later one.
Every wait therefore has its own post, in the same order on both sides: one counting semaphore for each pair of queues.
A CONV gives twice: "feed" when weights, taps and input have been read, "compute" when its outputs are written.
"""

from spec.commands import Opcode

__all__ = ["Hazards", "QUEUE", "SEMAPHORE"]

QUEUE = {Opcode.LOAD_WEIGHTS: "load", Opcode.LOAD_PARAMS: "load", Opcode.LOAD_TAPS: "load", Opcode.LOAD_ACT: "load",
         Opcode.CONV: "compute", Opcode.POOL: "compute", Opcode.STORE_ACT: "store"}
SEMAPHORE = {("load", "compute"): 0, ("compute", "load"): 1, ("compute", "compute"): 2, ("compute", "store"): 3,
             ("store", "compute"): 4, ("store", "load"): 5, ("load", "store"): 6, ("feed", "load"): 7}


class Hazards:
    """Tracks accesses of commands in program order and sets their wait, post and feed masks."""

    def __init__(self):
        self._accesses = {}         # resource -> [(lo, hi, writes, queue, index)]
        self._known = {}            # (source queue, queue) -> latest command known to be complete
        self._count = {"load": 0, "compute": 0, "store": 0}
        self.commands = []          # [opcode, fields]
        self._at = {}               # (queue, index) -> fields

    def add(self, opcode, accesses, **values):
        """Append a command; ``accesses`` are ``(resource, lo, hi, writes, stage)``: half-open ranges of words or bytes.

        ``stage`` is "feed" for what the feeder of a CONV reads, and None otherwise.
        """
        queue = QUEUE[opcode]
        index = self._count[queue]
        self._count[queue] += 1
        fields = {"wait": 0, "post": 0, **values}
        self.commands.append((opcode, fields))
        self._at[queue, index] = fields
        needs = {}
        for resource, lo, hi, writes, _ in accesses:
            for low, high, wrote, other, at in self._accesses.get(resource, ()):
                if low < hi and lo < high and (writes or wrote) and _matters(other, wrote, queue, writes):
                    needs[other] = max(needs.get(other, -1), at)
        for other, at in needs.items():
            if at > self._known.get((other, queue), -1):
                self._known[other, queue] = at
                bit = 1 << SEMAPHORE[other, queue]
                fields["wait"] |= bit
                source, mask = ("compute", "feed") if other == "feed" else (other, "post")
                self._at[source, at][mask] = self._at[source, at].get(mask, 0) | bit
        for resource, lo, hi, writes, stage in accesses:
            kept = self._accesses.setdefault(resource, [])
            by = stage or queue
            # What is covered completely can no longer be the latest conflict of its queue.
            kept[:] = [a for a in kept if not (lo <= a[0] and a[1] <= hi and a[3] == by and (writes or not a[2]))]
            kept.append((lo, hi, writes, by, index))


def _matters(other, wrote, queue, writes):
    """A queue is in order by itself; the compute queue starts a command before the one before it has written."""
    if queue == "compute":
        return other not in ("compute", "feed") or (other == "compute" and wrote and not writes)
    return other != queue
