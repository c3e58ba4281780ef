"""Lines that say what a program does while it does it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import threading
import time

__all__ = ["say", "going", "telling"]


def say(text: str) -> None:
    """Print a line with the time of day."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


@contextmanager
def going(report: Callable[[str], object], text: str | Callable[[], str], every: float = 5.0) -> Iterator[None]:
    """Calls ``report`` with ``text`` (or what it returns, if it is a function) and the seconds so far, every so many
    seconds of a long block."""
    began, left = time.monotonic(), threading.Event()

    def tick():
        while not left.wait(every):
            try:
                report(f"{text() if callable(text) else text}, {time.monotonic() - began:.0f} s")
            except OSError:         # nobody reads it: the program finds out itself
                return
    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()


@contextmanager
def telling(report: Callable[[str], object] | None, text: str = "", every: float = 5.0
            ) -> Iterator[Callable[[str], None]]:
    """Gives a function that takes the text of each step of a long block; ``report`` gets the last one every so many
    seconds. None is silent."""
    last = [text]
    if report is None:
        yield lambda text: None
        return
    with going(report, lambda: last[0], every):
        yield lambda text: last.__setitem__(0, text)
