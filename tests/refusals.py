"""Which refusals do the tests reach? A plugin of pytest that writes down where each ``AlloyError`` is made, and the
program
that compares this with the code: ``make refusals``.

``python -m tests.refusals FOLDER`` prints the places in the code that no test has reached and returns 1 if there are
any.
"""

import ast
from collections.abc import Iterator
import os
from pathlib import Path
import sys

from spec.errors import AlloyError, Unsupported

__all__ = ["places", "missed", "main"]

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("spec", "quant", "compiler", "rtl", "sim", "boards", "driver", "examples", "alloy")
ERRORS = ("AlloyError", "Unsupported")
FOLDER = "ALLOY_REFUSALS"       # in the environment: the folder in which every process of the tests writes a file


def pytest_configure(config):
    """Called by pytest (``-p tests.refusals``)."""
    seen = set()

    def made(self, *words):
        frame = sys._getframe(1)
        if frame.f_code is Unsupported.__init__.__code__:
            frame = frame.f_back
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        if place not in seen:
            seen.add(place)
            with open(Path(os.environ[FOLDER], f"{os.getpid()}.txt"), "a") as file:
                file.write(place + "\n")
        ValueError.__init__(self, *words)
    AlloyError.__init__ = made


def places(path: Path) -> Iterator[tuple[int, int, str]]:
    """First line, last line and code of each ``AlloyError(...)`` or ``Unsupported(...)`` of a file."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
            yield node.lineno, node.end_lineno or node.lineno, " ".join((ast.get_source_segment(text, node)
                                                                         or "").split())


def missed(root: Path, reached: set[tuple[str, int]]) -> tuple[list[str], int]:
    """(a line for each place that is not among those ``reached`` as (file, line), number of places)."""
    lines, count = [], 0
    for path in sorted(p for room in ROOMS for p in (root / room).rglob("*.py")):
        for first, last, code in sorted(places(path)):
            count += 1
            if not any((str(path), line) in reached for line in range(first, last + 1)):
                lines.append(f"{path.relative_to(root)}:{first}: {code[:110]}")
    return lines, count


def main(folder: str) -> int:
    """Print the places that were not reached; returns the exit status."""
    reached = set()
    for path in Path(folder).glob("*.txt"):
        for line in path.read_text().splitlines():
            file, number = line.rsplit(":", 1)
            reached.add((file, int(number)))
    lines, count = missed(ROOT, reached)
    print(*lines, f"{count - len(lines)} of {count} refusals are reached by a test", sep="\n")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
