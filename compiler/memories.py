"""What is taken of the activation memories while places are looked for (:mod:`compiler.allocate`)."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from random import Random

__all__ = ["Memories"]


class Memories:
    """What is taken of the activation memories: intervals (lo, hi, owner); ``dice`` may choose among the places.

    What has been freed last may still be ``busy``: it is taken only if there is no other room."""

    def __init__(self, depth: int, dice: Random | None):
        self._depth, self._dice = depth, dice
        self._used: tuple[list, list] = ([], [])
        self._freed: tuple[list, list] = ([], [])
        self.busy = False

    def fit(self, words: int, mems: Iterable[int], owner: object) -> tuple[int, int] | None:
        """First fit in the emptier of ``mems``: (memory, base), or None."""
        mems = sorted(mems, key=lambda m: sum(hi - lo for lo, hi, _ in self._used[m]))
        both = [used + freed for used, freed in zip(self._used, self._freed, strict=True)]
        for taken in (both, self._used) if self.busy else (self._used,):
            places = [(mem, at) for mem in mems for lo, hi in self._gaps(taken[mem]) if hi - lo >= words
                      for at in (lo, hi - words)]
            if places:
                break
        else:
            return None
        mem, at = self._dice.choice(places) if self._dice else places[0]
        self._used[mem].append((at, at + words, owner))
        return mem, at

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is tried meanwhile leaves the dice as they were."""
        before = self._dice.getstate() if self._dice else None
        yield
        if self._dice and before:
            self._dice.setstate(before)

    def _gaps(self, taken):
        """What is free, from the first word on."""
        at = 0
        for lo, hi, _ in sorted([*taken, (self._depth, self._depth, None)], key=lambda u: u[0]):
            yield at, lo
            at = max(at, hi)

    def free(self, owners: Collection[object]) -> None:
        """Give back what these have."""
        self._freed = [], []
        for used, freed in zip(self._used, self._freed, strict=True):
            freed += [one for one in used if one[2] in owners]
            used[:] = [one for one in used if one[2] not in owners]

    def forget(self, owner: object) -> None:
        """As if ``owner`` had never had anything."""
        for used in self._used:
            used[:] = [u for u in used if u[2] is not owner]

    def holds(self, owner: object) -> bool:
        return any(u[2] is owner for used in self._used for u in used)
