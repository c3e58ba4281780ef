"""The cycles that are worth looking at: those in which a run went wrong."""

from pathlib import Path

from spec.registers import Trace

from .origin import Origin
from .verilator import Result, Run, Window

__all__ = ["around", "at_the_end"]

BEFORE, AFTER = 800, 200    # cycles that are shown around the moment


def around(run: Run, index: int, origin: Origin, path: str | Path) -> Window:
    """The cycles of image ``index``, whose run is ``run``, in which a value of that ``origin`` was computed."""
    ends = [cycle for cycle, event, tag in run.trace if event == Trace.DONE and tag == origin.tag]
    earlier = [cycle for cycle, event, _ in run.trace if event == Trace.DONE and cycle < ends[origin.number]]
    begin = max(earlier, default=0)
    moment = round(begin + (ends[origin.number] - begin) * origin.part)
    return Window(index, max(0, moment - BEFORE), moment + AFTER, path)


def at_the_end(result: Result, path: str | Path) -> Window:
    """The last cycles of a run that broke off; of one that hangs those after which nothing was completed."""
    index = len(result.runs) - 1
    run = result.runs[index]
    moment = run.trace[-1][0] if run.hung and run.trace else run.cycles
    return Window(index, max(0, moment - BEFORE), moment + AFTER, path)
