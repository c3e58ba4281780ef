"""What the compiler made of a network, as text: the graph after the passes, the places of values, the schedule."""

from collections.abc import Iterator

from spec.commands import QUEUES
from spec.operators.windows import Window
from spec.program import Program

from .disassemble import disassemble
from .graph import Graph, Value
from .im2col import plain
from .layout import Placement
from .passes.phases import planes
from .plan import Plan, Step

__all__ = ["PARTS", "show_graph", "show_placement", "show_schedule"]

PARTS = ("graph", "placement", "schedule")
PLAIN = (1, 1)


def show_graph(graph: Graph) -> Iterator[str]:
    """One line for each operation: what it is, what it reads and makes, how its filters are spread over the columns."""
    windows = graph.im2col
    yield (f"graph: {_value(graph.input)} to {_value(graph.output)} (channels x rows x columns.bits; y, x: planes of "
           "every second row, column; ~: channels interleaved)")
    if windows != plain(windows.image, windows.fill):
        yield (f"  of each pixel's window of the image {windows.rows} rows of {windows.bytes} bytes are channels, "
               f"{windows.step} bytes further for the next one")
    for op in graph.ops:
        parts = [f"{op.tag:4} {op.name:16} {type(op).__name__:12} {_pair(op.kernel)} stride {_pair(op.stride)} "
                 f"padding {_around(op.windows)}", " + ".join(map(_value, op.reads)) + f" -> {_value(op.output)}"
                 + (f" channels {op.makes.start}..{op.makes.stop}" if op.at is not None else "")]
        columns = op.made_by()
        if columns is not None:
            parts.append(", ".join(f"{int((columns == held).sum())} {name}" for held, name in enumerate(
                ("lut", "dsp", "dsp pairs")) if (columns == held).any()))
        yield "  ".join(parts)


def show_placement(plan: Plan) -> Iterator[str]:
    """One line for each step, and one for each of its strips if there are several."""
    yield f"placement: input {_place(plan.input) if plan.input is not None else 'in DRAM'}"
    for step in plan.steps:
        dram = f"  in DRAM: {', '.join(sorted(value.name for value in step.dram))}" if step.dram else ""
        head = f"{step.op.tag:4} {step.op.name:16}"
        last = next(turn[-1] for turn in plan.turns if step in turn)
        turn = "" if step is last else f"  in turn with {last.op.name}"
        if len(step.strips) == 1:
            yield f"{head} {_operands(step, 0)}{dram}"
            continue
        yield f"{head} {len(step.strips)} strips{turn}{dram}"
        for number, strip in enumerate(step.strips):
            yield (f"       rows {strip.y0}..{strip.y1} columns {strip.x0}..{strip.x1} groups {strip.g0}..{strip.g1}: "
                   f"{_operands(step, number)}")


def show_schedule(program: Program) -> Iterator[str]:
    """How many commands each queue gets, then every command in program order with its semaphores."""
    lines = disassemble(program)
    queues = {queue: sum(f" {opcode.name} " in line for line in lines for opcode, of in QUEUES.items() if of == queue)
              for queue in dict.fromkeys(QUEUES.values())}
    yield f"schedule: {len(lines)} commands, " + ", ".join(f"{count} {queue}" for queue, count in queues.items())
    yield from lines


def _pair(sizes: tuple[int, int]) -> str:
    return f"{sizes[0]}x{sizes[1]}"


def _around(window: Window) -> str:
    """Padding and dilation."""
    end = "" if window.end == window.padding else f" to {_pair(window.end)}"
    return _pair(window.padding) + end + ("" if window.dilation == (1, 1) else f" dilation {_pair(window.dilation)}")


def _value(value: Value) -> str:
    marks = [planes(value.phases or PLAIN)]
    if value.order is not None and list(value.order) != sorted(value.order):
        marks.append("~")
    shape = f"{value.channels}x{value.height}x{value.width}.{value.bits}"
    return " ".join([value.name, shape, *filter(None, marks)])


def _place(place: Placement) -> str:
    return f"{'AB'[place.mem]}[{place.base}..{place.base + place.words}]"


def _operands(step: Step, number: int) -> str:
    strip = step.strips[number]
    reads = [strip.input] + ([strip.residual] if strip.residual is not None else [])
    return " + ".join(map(_place, reads)) + f" -> {_place(strip.output)}"
