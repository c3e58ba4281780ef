"""What has been done to an engine so far, and how it goes on."""

from collections.abc import Callable
from dataclasses import dataclass, field
import json
from pathlib import Path
from random import Random

from spec.errors import AlloyError
from spec.files import read_json, write_text

from ..engine import Engine
from .kinds import KINDS, Measured, plan
from .subject import Fault, Job, Subject

__all__ = ["Runner", "TOGETHER", "Torture"]

TOGETHER = 50           # cases that one process runs one after the other; what they do does not depend on others
STALLS, LATENCIES = (0.0, 0.0, 0.1, 0.3), (1, 5, 20, 40)
HARDER = (0.1, 0.3, 0.6), (1, 40, 200)      # of the soak
MOST = 20               # faults that are told one by one


@dataclass
class Torture:
    """What is done so far: ``done`` cases of each kind, how often they ended how (``seen``), the longest wait for an
    interrupt (``worst``, cycles), good programs and their cycles, the first ``faults``."""
    seed: int
    digest: str
    done: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    seen: dict[str, dict[str, int]] = field(default_factory=lambda: {name: {} for name in KINDS})
    worst: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    good_runs: int = 0
    good_cycles: int = 0
    failures: int = 0
    faults: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path, seed: int, digest: str) -> "Torture":
        """That of a file, or a new one if there is none; :class:`AlloyError` for one of another seed or engine."""
        if not path.exists():
            return cls(seed, digest)
        values = read_json(path, "state of a torture")
        found = cls(**values) if set(values) == {*vars(cls(seed, digest))} else None
        if found is None or (found.seed, found.digest) != (seed, digest) or set(found.done) != set(KINDS):
            raise AlloyError(f"{path} is not the state of a torture of this engine with seed {seed}: give another "
                             "--out")
        return found

    def save(self, path: Path) -> None:
        """As :meth:`load` reads it."""
        write_text(path, json.dumps(vars(self), indent=1) + "\n")

    def add(self, subject: Subject, name: str, outcome: str) -> None:
        """One case that went well."""
        self.done[name] += 1
        self.seen[name][outcome] = self.seen[name].get(outcome, 0) + 1
        self.worst[name] = max(self.worst[name], subject.worst)

    def fail(self, name: str, number: int, what: Exception) -> None:
        """One that did not."""
        self.done[name], self.failures = number + 1, self.failures + 1
        if len(self.faults) < MOST:
            self.faults.append(f"{name}:{number}: {what}")


class Runner:
    """Runs cases and keeps what comes of them in ``state``."""

    def __init__(self, engine: Engine, made: list[Job], state: Torture):
        self.engine, self.jobs, self.state = engine, made, state
        with Subject(engine, made) as subject, Subject(engine, made, latency=min(LATENCIES)) as fastest:
            self.measured: list[Measured] = plan(subject, fastest)

    def count(self, name: str) -> int:
        """Cases that there are of a kind."""
        return KINDS[name].count(self.measured)

    def run(self, name: str, end: int, tick: Callable[[], bool]) -> None:
        """Cases of a kind from where the state is up to ``end``, as long as ``tick`` says so."""
        each = 1 if name == "soak" else TOGETHER
        while self.state.done[name] < end and tick():
            first = self.state.done[name] // each * each
            self._together(name, first, min(first + each, end), tick)

    def _together(self, name, first, end, tick):
        """Cases ``first`` to ``end`` in one process; those that are done are done once more without being counted."""
        rng = Random(f"{self.state.seed} {name} {first}")
        stalls, latencies = HARDER if name == "soak" else (STALLS, LATENCIES)
        seed, stall, latency = rng.getrandbits(30), rng.choice(stalls), rng.choice(latencies)
        begin = first
        while begin < end:
            with Subject(self.engine, self.jobs, seed=seed, stall=stall, latency=latency) as subject:
                begin = self._cases(subject, name, begin, end, tick)

    def _cases(self, subject, name, first, end, tick):
        """As many as go well in one process; the number of the one behind the last."""
        for number in range(first, end):
            new = number >= self.state.done[name]
            if new and not tick():
                return end
            runs, cycles, subject.worst = subject.runs, subject.cycles, 0
            try:
                outcome = KINDS[name].case(subject, Random(f"{self.state.seed} {name} {number}"), number, self.measured)
                subject.good()
            except (Fault, AlloyError) as what:
                if new:
                    self.state.fail(name, number, what)
                return number + 1
            if new:
                self.state.add(subject, name, outcome)
                self.state.good_runs += subject.runs - runs
                self.state.good_cycles += subject.cycles - cycles
        return end
