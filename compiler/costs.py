"""What the compiled program does again because a table or memory of the configuration is small."""

from collections import Counter
from collections.abc import Hashable
from typing import TYPE_CHECKING

from spec.config import EngineConfig

from .hazards import Item
from .schedule import FLUSH, LATENCY, duration

if TYPE_CHECKING:
    from .emit.work import Work
    from .operations import Operation

__all__ = ["Costs"]

SHARE = 0.1         # of the network's cycles of computing, from which a loss is worth a sentence
RINGS = {"taps": "tap_depth", "params": "param_depth", "tables": "tables", "weights": "weight_depth"}


class Costs:
    """Counts loads of what was on the chip before, and strips, by the field of the configuration that is their
    cause."""

    def __init__(self, config: EngineConfig):
        self._config = config
        self._seen: set[tuple[Operation, str, Hashable]] = set()            # loads of each layer
        self._known: set[Operation] = set()
        self._compute: Counter[Operation] = Counter()           # cycles
        self._loads: Counter[tuple[Operation, str]] = Counter()     # by layer and field
        self._cycles: Counter[tuple[Operation, str]] = Counter()
        self._needed: dict[tuple[Operation, str], int] = {}     # a value of the field that would do

    def layer(self, op: "Operation", taps: int, work: "Work", strips: int) -> None:
        """The layer whose loads are counted from here on, of so many ``taps``, in ``strips`` strips; it may have been
        before."""
        c, alike = self._config, taps if work.shared else 1
        words = taps // alike * work.depth
        self._op = op
        self._cause: str | None = "act_depth" if strips > 1 else None
        if c.tap_depth < min(taps, c.weight_depth // work.depth * alike):
            self._cause, self._needed[op, "tap_depth"] = "tap_depth", taps
        elif words > c.weight_depth:
            self._cause, self._needed[op, "weight_depth"] = "weight_depth", words
        elif strips > 1 and op not in self._known:
            self._cycles[op, "act_depth"] += strips * (2 * LATENCY + FLUSH)   # load, work and store of a strip in turn
        self._known.add(op)

    def load(self, item: Item, ring: str, key: Hashable) -> None:
        """A command that loads ``key`` into ``ring``."""
        if (self._op, ring, key) in self._seen:
            cause = self._op, self._cause or RINGS[ring]
            self._loads[cause] += 1
            waits = FLUSH if cause in self._needed else 0       # parts of one sum: a load waits for the part before
            self._cycles[cause] += LATENCY + waits + duration(item, self._config)
        self._seen.add((self._op, ring, key))

    def compute(self, item: Item) -> None:
        """A command of the array."""
        self._compute[self._op] += duration(item, self._config)

    def sentences(self) -> list[str]:
        """One warning for each field that costs a notable part of the network's cycles."""
        total, lines = sum(self._compute.values()), []
        for field in sorted({field for _, field in self._cycles}):
            cycles = {op: n for (op, cause), n in self._cycles.items() if cause == field and n > self._compute[op]}
            if sum(cycles.values()) > SHARE * total:
                worst = max(cycles, key=lambda op: cycles[op])
                needed = [n for (op, cause), n in self._needed.items() if cause == field and op in cycles]
                lines.append(
                    f"{field} {getattr(self._config, field)} splits {len(cycles)} layer{'s' * (len(cycles) > 1)}: "
                    f"{worst.name} loads the same data {self._loads[worst, field]:,} times more, about "
                    f"{cycles[worst]:,} cycles beside {self._compute[worst]:,} of computing; raise {field}"
                    + (f" to {max(needed)}" if needed else ""))
        return lines
