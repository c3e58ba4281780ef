"""Tensors are split into planes, as the strides of their readers want them."""

from dataclasses import replace
from typing import Any

from spec.config import EngineConfig

from ..graph import Graph, Value
from ..operations import Maximum, Operation, Sample

__all__ = ["planes", "split_phases"]

PLAIN = (1, 1)


def planes(phases: tuple[int, int]) -> str:
    """How a value's planes are named: "" for one."""
    return "".join(axis + (str(count) if count > 2 else "") for axis, count in zip("yx", phases, strict=True)
                   if count > 1)


def split_phases(graph: Graph, config: EngineConfig) -> Graph:
    """Each tensor is laid out for the stride of most of its readers; readers that want another layout get a copy.

    A copy can only be made of a tensor in one plane, and more than two planes in a direction only by a copy. It has
    only the pixels that are read, if windows are single pixels.
    """
    laid: dict[Value, Value] = {}
    copies: dict[Operation, list[Operation]] = {}       # before the operation that reads the first of them
    changed: dict[Operation, dict[str, Any]] = {}       # what reads a copy
    for value in graph.values:
        wanted: dict[tuple[int, int], list[Operation]] = {}
        for op in graph.ops:
            if op.input is value:
                wanted.setdefault(op.phases, []).append(op)
        layouts = sorted(wanted, key=lambda phases: -len(wanted[phases]))
        if len(layouts) > 1 or layouts and max(layouts[0]) > 2:
            layouts = [PLAIN, *(phases for phases in layouts if phases != PLAIN)]
        laid[value] = replace(value, phases=layouts[0] if layouts else PLAIN)
        for phases in layouts[1:]:
            name, first = f"{value.name}.{planes(phases)}", wanted[phases][0]
            if all(op.kernel == (1, 1) and op.padding == op.windows.end == (0, 0) for op in wanted[phases]):
                copy = replace(value, name=name, height=first.output.height, width=first.output.width, phases=PLAIN)
                made: Maximum = Sample(name, first.tag, value, copy, stride=phases)
                changed |= dict.fromkeys(wanted[phases], {"input": copy, "stride": (1, 1)})
            else:
                copy = replace(value, name=name, phases=phases)
                made = Maximum(name, first.tag, value, copy)
                changed |= dict.fromkeys(wanted[phases], {"input": copy})
            copies.setdefault(first, []).append(made)
    ops = [new for op in graph.ops for new in (*copies.get(op, ()), replace(op, **changed.get(op, {})))]
    return replace(graph, ops=tuple(ops)).mapped(lambda value: laid.get(value, value))
