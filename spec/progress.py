"""Lines that say what a program does while it does it: one that moves on a terminal, plain ones elsewhere."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
import os
import re
import sys
import threading
import time
from typing import Any

__all__ = ["say", "going", "telling", "shown", "Course"]

EARLY = 0.02            # share of the work below which nothing is said of the rest
TICK = 0.25             # seconds between two looks of the moving line
COUNT = re.compile(r"(.*?)([\d,]*\d) of ([\d,]*\d)\b")


@dataclass
class _Screen:
    """How lines are shown: ``live`` is the moving line of the outermost block, ``texts`` those of all that are open."""
    quiet: bool = False
    batch: bool = False
    live: Any = None
    texts: list = field(default_factory=list)

    def moves(self) -> bool:
        """Whether there is a terminal for a line that moves."""
        return not self.batch and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


_screen = _Screen()


@contextmanager
def shown(*, quiet: bool = False, batch: bool = False) -> Iterator[None]:
    """Inside, lines are left out (``quiet``) or plain whatever they are printed to (``batch``)."""
    global _screen
    before, _screen = _screen, _Screen(quiet, batch)
    try:
        yield
    finally:
        _screen = before


def say(text: str) -> None:
    """Print a line with the time of day."""
    if not _screen.quiet:
        print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


class _Rest:
    """How long a step that counts ("layer 3 of 20") still takes, from when its count began."""

    def __init__(self):
        self._counted, self._first, self._last = None, (0.0, 0), (0.0, 0)

    def words(self, text: str, now: float) -> str:
        """Of a text at a time, empty if that cannot be said."""
        found = COUNT.match(text)
        if found is None:
            return ""
        counted, (done, total) = (found[1], found[3]), (int(found[number].replace(",", "")) for number in (2, 3))
        if counted != self._counted or done < self._first[1]:
            self._counted, self._first, self._last = counted, (now, done), (now, done)
        if done != self._last[1]:
            self._last = now, done
        (began, first), (at, _) = self._first, self._last
        if done <= first or done > total:
            return ""
        rest = (at - began) / (done - first) * (total - done) - (now - at)
        return f", about {max(rest, 0.0):.0f} s left"


class Course:
    """How long something of many steps still takes: as long as what is done took, for each unit of work.

    It holds as long as there is a stage.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self.begin({})

    def begin(self, stages: Mapping[str, Sequence[float]]) -> None:
        """It begins now. ``stages`` is the work of each step of each stage, in any unit; stages come in any order."""
        self._left = {stage: list(works) for stage, works in stages.items()}
        self._done, self._began = 0.0, self._clock()
        self._at = self._began          # when the last step was done

    def __bool__(self) -> bool:
        return bool(self._left)

    def step(self, stage: str) -> None:
        """The next step of a stage is done."""
        if self._left.get(stage):
            self._done += self._left[stage].pop(0)
            self._at = self._clock()

    def finish(self, stage: str) -> None:
        """No more steps of a stage will come, whether there were as many or not."""
        self._left.pop(stage, None)

    @property
    def rest(self) -> float | None:
        """Seconds; None while too little is done to tell."""
        left = sum(map(sum, list(self._left.values())))     # a list: another thread may take steps
        if self._done <= EARLY * (self._done + left):
            return None
        took = self._at - self._began
        return max(took * left / self._done - (self._clock() - self._at), 0.0)

    def __str__(self) -> str:
        """The rest as the end of a line of text, empty if it is not known."""
        rest = self.rest
        if rest is None:
            return ""
        return f", about {rest:.0f} s left" if rest < 100 else f", about {rest / 60:.0f} min left"


@contextmanager
def going(report: Callable[[str], object], text: str | Callable[[], str], every: float = 5.0,
          course: Course | None = None) -> Iterator[None]:
    """Calls ``report`` with ``text`` (or what it returns, if it is a function), the seconds so far and an estimate of
    those that are left, of the ``course``, or of a text that counts ("3 of 20"); every so many seconds of a long block.

    If ``report`` is :func:`say` and prints to a terminal there is one line instead that moves.
    """
    began, left, rest, screen = time.monotonic(), threading.Event(), _Rest(), _screen

    def line():
        now, what = time.monotonic(), text() if callable(text) else text
        return f"{what}, {now - began:.0f} s{course or rest.words(what, now)}"
    moving = report is say and screen.moves() and not screen.quiet

    def tick():
        while not left.wait(TICK if moving else every):
            try:
                if not moving:
                    report(line())
                elif screen.texts and screen.texts[-1] is line:
                    screen.live.update(line())
            except OSError:         # nobody reads it: the program finds out itself
                return
    thread = threading.Thread(target=tick, daemon=True)
    with _moving(screen, line) if moving else _still():
        thread.start()
        try:
            yield
        finally:
            left.set()
            thread.join()


@contextmanager
def _still():
    yield


@contextmanager
def _moving(screen, line):
    """The line that moves; of blocks within each other the innermost one's."""
    screen.texts.append(line)
    try:
        if screen.live is not None:
            yield
            return
        from rich.console import Console
        with Console().status(line()) as screen.live:
            yield
    finally:
        screen.texts.remove(line)
        if not screen.texts:
            screen.live = None


@contextmanager
def telling(report: Callable[[str], object] | None, text: str = "", *, prefix: str = "", every: float = 5.0,
            course: Course | None = None) -> Iterator[Callable[[str], None]]:
    """Gives a function that takes the text of each step of a long block; ``report`` gets the last one behind ``prefix``
    every so many seconds, as of :func:`going`. None is silent."""
    last = [text]
    if report is None:
        yield lambda text: None
        return
    with going(report, lambda: prefix + last[0], every, course):
        yield lambda text: last.__setitem__(0, text)
