"""What can be read, as a table for people: from the operators and the readers themselves."""

from spec.operators import LAYERS

from .elementwise import NORM
from .moves import JOINS, MOVES
from .nodes import READERS

__all__ = ["supported_table"]


def supported_table() -> list[str]:
    """Lines of Markdown: for each operator, and for what has no operator of its own, names of functions of ATen."""
    rows: dict[str, set] = {}
    for layer in LAYERS:
        rows.setdefault(layer.__module__.rpartition(".")[2].replace("_", " "), set()).update(layer.calls)
    named = {name for calls in rows.values() for name in calls}
    rows["fused into them, or layers of each value"] = {*READERS} - named - JOINS - MOVES
    rows["moves of values"] = {*MOVES, *JOINS} - named
    lines = [f"| {what} | {', '.join(f'`{name}`' for name in sorted({*map(_known, calls)}))} |"
             for what, calls in rows.items() if calls]
    return ["| what | functions |", "|---|---|", *lines]


def _known(name):
    """The name that users know a function by."""
    return "batch_norm" if name == NORM else name.removeprefix("_")
