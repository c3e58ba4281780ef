"""The cycles that are worth looking at: those in which a run went wrong."""

from pathlib import Path

from spec.commands import Opcode, unpack
from spec.program import Layer, Program
from spec.registers import Trace

from .compare import Difference
from .verilator import Result, Run, Window

__all__ = ["command_of", "around", "at_the_end"]

BEFORE, AFTER = 800, 200    # cycles that are shown around the moment


def command_of(program: Program, layer: Layer, place: tuple[int, int, int, int]) -> tuple[int, float]:
    """(number among the compute commands of the layer, part of it that is done) when the value at a ``place``
    (``Layer.place``) is written."""
    tile, _, strip, pixel_tile = place
    commands = [c for c in map(unpack, program.commands)
                if c["opcode"] in (Opcode.CONV, Opcode.POOL) and c["tag"] == layer.tag]
    if commands[0]["opcode"] == Opcode.POOL:
        return strip, 1.0
    # A strip is complete when each filter tile has had all of its tiles of pixels.
    tiles, number, done, seen = len({t for t, _ in layer.slots}), 0, 0, 0
    for index, c in enumerate(commands):
        if not c["acc_last"]:
            continue
        count = -(-c["rows"] * c["pitch"] // layer.pixels)
        first = (c["start_y"] * c["pitch"] + c["start_x"]) // layer.pixels
        if number == strip and first <= pixel_tile < first + c["tiles"]:
            if seen == tile:
                return index, (pixel_tile - first + 1) / c["tiles"]
            seen += 1
        done += c["tiles"]
        if done == tiles * count:
            number, done = number + 1, 0
    return len(commands) - 1, 1.0       # several operations make the layer's output


def around(run: Run, index: int, program: Program, difference: Difference, path: str | Path) -> Window:
    """The cycles of image ``index``, whose run is ``run``, in which the first wrong value was computed."""
    layer = next(x for x in program.layers if x.name == difference.layer)
    number, part = command_of(program, layer, difference.place)
    ends = [cycle for cycle, event, tag in run.trace if event == Trace.DONE and tag == layer.tag]
    earlier = [cycle for cycle, event, _ in run.trace if event == Trace.DONE and cycle < ends[number]]
    begin = max(earlier, default=0)
    moment = round(begin + (ends[number] - begin) * part)
    return Window(index, max(0, moment - BEFORE), moment + AFTER, path)


def at_the_end(result: Result, path: str | Path) -> Window:
    """The last cycles of a run that broke off; of one that hangs those after which nothing was completed."""
    index = len(result.runs) - 1
    run = result.runs[index]
    moment = run.trace[-1][0] if run.hung and run.trace else run.cycles
    return Window(index, max(0, moment - BEFORE), moment + AFTER, path)
