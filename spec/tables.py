"""Objects as people see them: in one line, and as a table of HTML for notebooks."""

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["html", "short"]


def short(name: str, facts: Iterable[tuple[str, str]]) -> str:
    """``<Name fact value, ..>``."""
    return f"<{name} " + ", ".join(f"{fact} {value}" for fact, value in facts) + ">"


def html(title: str, facts: Iterable[tuple[str, str]], header: Sequence[str] = (),
         rows: Iterable[Sequence[str]] = ()) -> str:
    """A table of facts, and one of ``rows`` under its ``header``."""
    def line(cells, tag="td"):
        return f"<tr>{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in cells)}</tr>"
    found = [f"<b>{escape(title)}</b>", "<table>", *map(line, facts), "</table>"]
    if header:
        found += ["<table>", line(header, "th"), *map(line, rows), "</table>"]
    return "".join(found)
