"""Work of two convolutions by turns, so that the array and the post unit behind it are both busy.

Between the two lies a FIFO. A convolution of few k-steps fills it and lets the array wait; one of many empties it and
lets the post unit wait. Where such two follow each other, pieces of the one that fill the FIFO alternate with pieces of
the other that empty it: the second begins as soon as the first has made the channel groups that it reads.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from spec import latency
from spec.config import EngineConfig

from ..hazards import Access
from .buffers import Buffers
from .order import Task

__all__ = ["Job", "Alternation"]

BEHIND = 2          # tasks of the first job, the first of which makes what a task of the second behind them reads
LATE = 2            # tiles of pixels that are still in the FIFO when the array has done the piece behind them


@dataclass
class Job:
    """A convolution's work on a strip: what is left of its ``tasks``, in their order.

    ``array`` and ``post`` are the cycles that each unit takes for a tile of pixels, ``holds`` the units of each ring
    of :class:`.Buffers` that a filter tile takes. ``touches`` gives the accesses of a task to the activation
    memories, ``add`` adds its commands. Pieces of tasks ``in_row`` follow on each other: nothing else in a row may be
    between them.
    """
    tasks: deque[Task]
    array: float
    post: float
    holds: Mapping[str, int]
    touches: Callable[[Task], list[Access]]
    add: Callable[[Task], None]
    in_row: bool = False

    def next(self, tiles: float = math.inf) -> tuple[Task, Task | None]:
        """The next task, or of a longer one about so many ``tiles`` of pixels, and the rest of it."""
        task = self.tasks[0]
        count = -(-task.count // max(1, round(task.count / tiles)))
        if count == task.count:
            return task, None
        return replace(task, count=count), replace(task, start=task.start + count, count=task.count - count)

    def step(self, tiles: float = math.inf) -> None:
        """Add the next task."""
        task, rest = self.next(tiles)
        self.tasks.popleft()
        if rest is not None:
            self.tasks.appendleft(rest)
        self.add(task)


class Alternation:
    """Adds the work of jobs that come in the order of the program; each of them may go on beside the next one."""

    def __init__(self, buffers: Buffers, config: EngineConfig):
        self._buffers, self._held = buffers, latency.tiles(config)
        self._least = latency.parameters(config) + latency.post(config)     # cycles of a command in the post unit
        self._job: Job | None = None        # not yet finished

    def add(self, job: Job) -> None:
        """The next job, after all that is left of the one before it."""
        first, self._job = self._job, job
        if first is not None and first.tasks:
            if self._alternate(first, job):
                self._mix(first, job)
            self._finish(first)

    def flush(self) -> None:
        """Finish all jobs."""
        self._finish(self._job)
        self._job = None

    @staticmethod
    def _finish(job):
        while job is not None and job.tasks:
            job.step()

    def _alternate(self, first, second):
        """Whether two jobs do so: one of them keeps the post unit busy for longer than commands take, the other one the
        array, and the buffers hold what both need."""
        more = {ring: units + second.holds.get(ring, 0) for ring, units in first.holds.items()}
        full, idle = _sides(first, second)
        return (not (first.in_row and second.in_row) and full.array < full.post and idle.array > idle.post
                and self._held * full.post >= self._least
                and self._buffers.hold(more))

    def _mix(self, first, second):
        """Until nothing of the first is left."""
        full, idle = _sides(first, second)
        # As many as fill the FIFO, and as many as the array does until those have left it.
        tiles = {id(full): self._held - LATE, id(idle): self._held * full.post / idle.array}
        last, heads = _last(first, second), deque([first.tasks[0]], BEHIND)
        while first.tasks:
            heads.append(first.tasks[0])
            first.step(tiles[id(first)])
            if second.tasks and self._may(second.next(tiles[id(second)])[0], second, first, heads[0], last):
                second.step(tiles[id(second)])

    @staticmethod
    def _may(task, second, first, head, last):
        """Whether a task of the second job may stand before the first one's ``head`` and all behind that."""
        return last[task.tile] < head.tile or (
            last[task.tile] == head.tile and not _meet(second.touches(task), first.touches(head)))


def _sides(first, second):
    """The job that fills the FIFO more, and the other one."""
    return sorted((first, second), key=lambda job: job.array - job.post)


def _last(first, second):
    """For each filter tile of the second job, the last one of the first that it conflicts with, or -1."""
    before = [(task.tile, first.touches(task)) for task in reversed(first.tasks)]
    return {task.tile: next((tile for tile, touched in before if _meet(second.touches(task), touched)), -1)
            for task in second.tasks}


def _meet(some, others):
    return any(one.meets(other) for one in some for other in others)
