"""The table of docs/robustness.md."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
import re

from spec.errors import AlloyError
from spec.files import read_bytes, write_text

from .kinds import KINDS
from .state import Torture

__all__ = ["put_into", "table"]

MARKS = re.compile(r"(<!-- torture: .*? -->\n).*(<!-- end of torture -->)", re.S)


def table(state: Torture, count: Callable[[str], int]) -> str:
    """Markdown of everything that was done; ``count`` gives the cases that there are of a kind."""
    rows = ["| what | cases | how they ended | longest wait for an interrupt, cycles |", "|---|---|---|---|"]
    for name, kind in KINDS.items():
        done, there, seen = state.done[name], count(name), Counter(state.seen[name]).most_common()
        rows.append(f"| `{name}`: {kind.text} | {done:,}{'' if done >= there else f' of {there:,}'} | "
                    f"{', '.join(f'{number:,} {outcome}' for outcome, number in seen) or '-'} | "
                    f"{state.worst[name]:,} |")
    return "\n".join([*rows, "", f"{sum(state.done.values()):,} cases, {state.failures:,} faults; {state.good_runs:,} "
                      f"good runs behind them, {state.good_cycles:,} cycles, all bit-exact.", ""])


def put_into(path: str | Path, text: str) -> None:
    """Put the table between the marks of a page."""
    page = read_bytes(path, "page").decode(errors="replace")
    if MARKS.search(page) is None:
        raise AlloyError(f"{path} has no table of a torture to replace: give docs/robustness.md")
    write_text(path, MARKS.sub(lambda found: found[1] + text + found[2], page))
