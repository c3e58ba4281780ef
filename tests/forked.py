"""pytest in children of this process, which has the libraries loaded: that alone takes seconds each time."""

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
import os
from pathlib import Path
import signal
import sys
import time
import traceback

from hypothesis import settings
import pytest

__all__ = ["load_libraries", "processor_seconds", "run_tests"]

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("numpy", "scipy.optimize", "torch", "torch.export", "torch.onnx", "onnx", "onnxruntime",
             "amaranth.sim", "amaranth.back.rtlil", "hypothesis", "PIL.Image", "matplotlib.figure", "typer.testing",
             "pydantic", "jinja2", "filelock", "xml.dom.minidom", "coverage")
TICK = 0.01             # seconds between two looks at a child
LOOK = 1.0              # and between two at what it has computed
WAITS = 10              # times its limit that a child may take in all: others compute, or it waits for nothing
BROKEN = 99             # status of a child that has not come to the end of pytest


def load_libraries() -> None:
    """What children need not load."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in LIBRARIES:
        import_module(name)


def run_tests(tree: Path, arguments: list[str], limit: float, *, environment: dict | None = None,
              log: Path | None = None, inside: Callable[[Callable[..., int]], int] = lambda run: run()) -> int | None:
    """Exit status of pytest in the copy ``tree`` of the repository; None: stopped after ``limit`` seconds of a
    processor, however busy that is, or :data:`WAITS` times as long.

    ``inside`` is called in the child, before anything of the repository is loaded, with a function that takes plugins
    and runs pytest. What is printed goes to the file ``log``.
    """
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = BROKEN
        try:
            _enter(tree, log, environment or {})

            def run(*plugins):
                return int(pytest.main([*arguments, "-q", "-m", "not slow", "-p", "no:cacheprovider", "--assert=plain"],
                                       plugins=plugins))
            status = inside(run)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    began = looked = time.monotonic()
    try:
        while (now := time.monotonic()) - began < WAITS * limit:
            if now - looked > LOOK:
                looked = now
                if processor_seconds(child) > limit:
                    break
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                code = os.waitstatus_to_exitcode(status)
                assert code != BROKEN, f"pytest has not run: {log}"
                return code
            time.sleep(TICK)
    finally:        # also what it has left running
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def processor_seconds(group: int) -> float:
    """What the processes of a group have computed, those that have ended and been waited for included."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()        # behind the name, which may hold anything
            if int(fields[2]) == group:
                ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _enter(tree, log, environment):
    """Become a process in ``tree`` that has loaded nothing of any copy of the repository."""
    os.setpgid(0, 0)
    null, out = os.open(os.devnull, os.O_RDONLY), os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, file in enumerate((null, out, out)):
        os.dup2(file, number)
    sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))
    os.chdir(tree)
    # A module is as its text says: what is compiled from a changed one, in the same second, must never be kept.
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", **environment}
    sys.dont_write_bytecode = True
    sys.path[:] = [str(tree), *(path for path in sys.path if path and Path(path).resolve() != ROOT)]
    own = {path.name for path in tree.iterdir() if (path / "__init__.py").exists()}
    for name in [name for name in sys.modules if name.split(".")[0] in own]:
        del sys.modules[name]
    # The same examples each time, however busy the machine is.
    settings.register_profile("forked", deadline=None, derandomize=True, database=None)
    settings.load_profile("forked")
