"""A plugin of pytest: a test whose bench in Amaranth's simulator fails is run once more and leaves a waveform (VCD).

Not every run writes one, because that makes it several times slower.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import re

from amaranth.sim import Simulator
import pytest

__all__ = ["written", "pytest_pyfunc_call"]

FOLDER = Path("build/vcd")


class _Waves:
    """Whether a bench of the present test has failed, and the file for the waveform of the next one that fails."""
    failed, path = False, None


@contextmanager
def written(simulator: Simulator) -> Iterator[None]:
    """A block that runs the simulator."""
    try:
        if _Waves.path is None:
            yield
        else:
            with simulator.write_vcd(str(_Waves.path)):
                yield
    except BaseException:
        _Waves.failed = True
        raise


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Call the test function; after the failure of a bench in it once more."""
    _Waves.failed = False
    try:
        return (yield)
    except Exception as error:
        if _Waves.failed:
            error.add_note(_again(pyfuncitem))
        raise


def _again(item):
    """The sentence about the waveform of a test that has failed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    _Waves.path = FOLDER / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', item.name)}.vcd"
    _Waves.failed = False
    try:
        item.obj(**{name: item.funcargs[name] for name in item._fixtureinfo.argnames})
    except Exception:
        if _Waves.failed:
            return f"waveform of the bench: {_Waves.path.resolve()}"
    finally:
        path, _Waves.path = _Waves.path, None
    path.unlink(missing_ok=True)
    return "the test passed when it was run again for a waveform"
