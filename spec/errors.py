"""The one exception a user of Alloy sees for bad input, and how command-line programs end."""

from contextlib import contextmanager, suppress
from functools import wraps
import os
import signal
import sys
import threading
import time
import warnings

__all__ = ["AlloyError", "command_line"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PACKAGES = ("compiler", "examples", "quant", "rtl", "sim")      # with programs
SAME = 1.0          # seconds in which a further signal is the same one: timeout(1) sends two, and so do the impatient


class AlloyError(ValueError):
    """Bad input: one sentence that names the value and the way out."""


class _Stopped(KeyboardInterrupt):
    """One of :data:`SIGNALS` came; what is open is closed on the way out."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


def command_line(main):
    """A program that ends with one line on standard error, whatever ends it.

    Exit status 2 for :class:`AlloyError` and for what the operating system refuses; 130, 143 or 129 after Ctrl-C,
    SIGTERM or SIGHUP; 141, without a word, if nobody reads the output any more.
    """
    alone = main.__module__ == "__main__"

    @wraps(main)
    def wrapped(arguments=None):
        try:
            with _signals(alone), warnings.catch_warnings():
                warnings.showwarning = _show
                try:
                    return main(arguments)
                finally:
                    sys.stdout.flush()
        except AlloyError as error:
            text, status = f"error: {error}", 2
        except KeyboardInterrupt as stop:
            text, status = "interrupted", 128 + getattr(stop, "number", signal.SIGINT)
        except BrokenPipeError:
            text, status = None, 128 + signal.SIGPIPE
        except MemoryError:
            text, status = "error: there is not enough memory for this: give something smaller", 2
        except OSError as error:
            place, why = error.filename or "the output", error.strerror or error
            text, status = f"error: {place} cannot be used ({why}): choose another place", 2
        if alone:
            warnings.simplefilter("ignore")     # of work that was left in the middle
        return _end(text, status)
    return wrapped


def _show(message, *place):
    """A warning as one line; where in the code it was raised is of no use to who gives the command."""
    print(f"warning: {message}", file=sys.stderr)


@contextmanager
def _signals(alone):
    """Inside, signals raise :class:`_Stopped`, except those that whoever started the program has told it to ignore."""
    last = -SAME

    def stop(number, _frame):
        nonlocal last
        now = time.monotonic()
        if now - last >= SAME:
            last = now
            raise _Stopped(number)
    def lost(unraisable):
        """Python drops what is raised in a finalizer; the signal comes again as an alarm, once that is over."""
        if isinstance(unraisable.exc_value, _Stopped):
            number = unraisable.exc_value.number
            signal.signal(signal.SIGALRM, lambda _number, frame: stop(number, frame))
            signal.setitimer(signal.ITIMER_REAL, SAME)
        else:
            hook(unraisable)
    before, hook = {}, sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        before = {s: signal.getsignal(s) for s in SIGNALS}
        before = {s: handler for s, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, stop)
    sys.unraisablehook = lost
    try:
        yield
    finally:
        sys.unraisablehook = hook
        if not alone:       # a program of its own ends now, and not with a traceback because of one signal more
            for number, handler in before.items():
                signal.signal(number, handler)


def _end(text, status):
    """Say the last line; what cannot be printed is thrown away, so that the interpreter does not complain at its
    end."""
    for stream, last in ((sys.stdout, None), (sys.stderr, text)):
        try:
            if last is not None:
                print(last, file=stream)
            stream.flush()
        except OSError:
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return int(status)


def _while_importing(number, _frame):
    """Ctrl-C before a program has begun. An exception would not do: extension modules that are being imported turn it
    into errors of their own (NumPy: "could not import module datetime")."""
    os._exit(_end("interrupted", 128 + number))


if "-m" in sys.orig_argv and sys.orig_argv[sys.orig_argv.index("-m") + 1].split(".")[0] in PACKAGES:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _while_importing)
