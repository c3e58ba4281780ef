"""Loads and stores of the cycle model that are on their way."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
import math

__all__ = ["Transfer", "bursts"]

NOTHING = 1e-9      # of a memory's cycles: what sums of shares leave of none


def bursts(first: int, beats: int, longest: int) -> list[int]:
    """Beats of each burst of a request for ``beats`` from beat ``first`` on: they end at multiples of ``longest``."""
    return [min(low + longest, first + beats) - max(low, first)
            for low in range(first - first % longest, first + beats, longest)]


@dataclass
class Transfer:
    """A load or a store on its way: it can begin at ``begin`` and works for ``need`` cycles, in a ``share`` of which it
    takes activation memory ``mem``; the bus is through with it at ``come``."""
    begin: float
    need: float
    come: float
    done: float = 0.0
    mem: int | None = None
    share: float = 1.0
    ports: tuple[int, ...] = ()
    given: list[tuple[int, int]] = field(default_factory=list)      # semaphores, and which of their tokens

    def through(self, used: Sequence[deque[tuple[float, float, int]]], at: float) -> float:
        """When it is, from cycle ``at`` on: what its memory is ``used`` for, (from, to, words), some of it at the same
        time, goes first, and it finds room between that."""
        need = self.need
        for start, end, speed in self._spans(used, at):
            at = start
            if need <= (end - start) * speed:
                break
            need -= (end - start) * speed
        return at + (need and need / speed)

    def during(self, used: Sequence[deque[tuple[float, float, int]]], at: float, low: float, high: float) -> float:
        """The cycles that it works from ``low`` to ``high`` if it begins at ``at``."""
        left, worked = self.need, 0.0
        for start, end, speed in self._spans(used, at):
            if left <= 0 or start >= high:
                break
            cycles = min(end - start, left / speed) if speed else end - start
            worked += max(0.0, min(start + cycles, high) - max(start, low)) * speed
            left -= cycles * speed
        return worked

    def _spans(self, used, at):
        """(from, to, share of its speed) from cycle ``at`` on, without end."""
        taken, changes = 0.0, [
            (time, sign * words / (end - start))
            for start, end, words in (used[self.mem] if self.mem is not None and self.share else ()) if end > at
            for time, sign in ((start, 1), (end, -1))]
        for time, change in sorted(changes):
            if time > at:
                yield at, time, min(1.0, max(0.0, 1 - taken) / self.share) if taken > NOTHING else 1.0
                at = time
            taken += change
        yield at, math.inf, 1.0
