"""``python -m sim.torture``."""

from collections import Counter
import math
from pathlib import Path
import sys
import time
from typing import Annotated

from typer import Option

from spec.entry import Outcome, entry
from spec.errors import AlloyError
from spec.files import check_folder, check_outputs
from spec.progress import going, say

from ..engine import Engine
from .kinds import KINDS
from .page import put_into, table
from .state import Runner, Torture
from .subject import CONFIG, jobs

__all__ = ["main"]

KEPT = 20.0             # seconds between two times that the state is written


def _wanted(only: str | None) -> tuple[list[str], int | None]:
    """Names of the kinds, and the number of the one case that is asked for."""
    if only is None:
        return list(KINDS), None
    name, _, number = only.partition(":")
    if name not in KINDS or number and not number.isdecimal():
        raise AlloyError(f"there is nothing {only!r} to do to an engine: give one of {', '.join(KINDS)}, or one of "
                         "them with a number, as programs:17")
    return [name], int(number) if number else None


@entry("python -m sim.torture", "--share 0.05")
def main(
    seed: Annotated[int, Option(min=0, help="of everything that is drawn")] = 1,
    share: Annotated[float, Option(min=0, max=1, help="of all cases of each kind")] = 1.0,
    seconds: Annotated[float | None, Option(min=0, help="stop after so long; the same command goes on")] = None,
    only: Annotated[str | None, Option(metavar="KIND[:NUMBER]", help=f"{', '.join(KINDS)}, or one case")] = None,
    out: Annotated[str, Option(help="state and result (JSON); goes on where it ends")] = "build/torture.json",
    page: Annotated[str | None, Option(help="page whose table is replaced, docs/robustness.md")] = None,
    cache: Annotated[str, Option(help="directory of built simulators")] = "build/cache",
) -> Outcome:
    """Do to a small Verilated engine whatever can go wrong, and see that it stops with a code and runs on.

    Bus errors, silence, damaged programs, resets, aborts and early starts, each followed by a program whose every
    output is compared with the golden model. Exit status 1 if anything is not as it is documented.
    """
    check_outputs(out, page)
    check_folder(cache)
    names, number = _wanted(only)
    path = Path(out)
    state = Torture(seed, CONFIG.digest) if number is not None else Torture.load(path, seed, CONFIG.digest)
    runner = Runner(Engine(CONFIG, cache=cache, arbitrary=True), jobs(), state)
    if number is not None:
        _run(runner, names[0], number, number + 1, lambda: True)
        return _end(state)
    try:
        tick = _ticking(state, path, seconds)
        for name in names:
            _run(runner, name, state.done[name], math.ceil(runner.count(name) * share), tick)
    finally:
        state.save(path)
    if page:
        put_into(page, table(state, runner.count))
    return _end(state)


def _ticking(state, path, seconds):
    """A function that says whether there is time left, and keeps the state now and then."""
    begun = written = time.monotonic()

    def tick():
        nonlocal written
        now = time.monotonic()
        if now > written + KEPT:
            state.save(path)
            written = now
        return seconds is None or now < begun + seconds
    return tick


def _run(runner, name, begin, end, tick):
    """Cases ``begin`` to ``end`` of a kind, with what is said of them."""
    state = runner.state
    state.done[name] = begin
    with going(say, lambda: f"{name}: {state.done[name]} of {end}"):
        runner.run(name, end, tick)
    say(f"{name}: {state.done[name]:,} of {runner.count(name):,} cases, {_words(state.seen[name])}")


def _words(seen):
    return ", ".join(f"{count:,} {outcome}" for outcome, count in Counter(seen).most_common())


def _end(state):
    """The last lines, and the status."""
    for fault in state.faults:
        print(f"fault: {fault} (again: --seed {state.seed} --only {fault.split(': ')[0]})")
    print(f"{sum(state.done.values()):,} cases, {state.failures:,} faults; {state.good_runs:,} good runs between them, "
          f"{state.good_cycles:,} cycles, bit-exact")
    return 1 if state.failures else 0, vars(state)


if __name__ == "__main__":
    sys.exit(main())
