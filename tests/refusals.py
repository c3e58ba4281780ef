"""``python -m tests.refusals build/coverage.json``: the places that refuse something and that no test has reached.

The file is what coverage measured (``make coverage``). Exit status 1 if there are any.
"""

import ast
import json
from pathlib import Path
import sys

__all__ = ["places", "main"]

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("spec", "quant", "compiler", "rtl", "sim", "boards", "examples", "alloy")


def places(path: Path) -> list[tuple[int, str]]:
    """Line and code of each ``raise AlloyError(...)`` of a file, and of each ``return AlloyError(...)`` that others
    raise."""
    text = path.read_text()
    lines = text.splitlines()
    found = []
    for node in ast.walk(ast.parse(text)):
        value = node.exc if isinstance(node, ast.Raise) else node.value if isinstance(node, ast.Return) else None
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "AlloyError":
            found.append((node.lineno, " ".join(lines[node.lineno - 1:node.end_lineno]).strip()))
    return sorted(found)


def main(report: str) -> int:
    """Print the places that were not executed; returns the exit status."""
    files = json.loads(Path(report).read_text())["files"]
    count, missed = 0, 0
    for path in sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py")):
        name = str(path.relative_to(ROOT))
        executed = files.get(name, {}).get("executed_lines", [])
        for line, code in places(path):
            count += 1
            if line not in executed:
                missed += 1
                print(f"{name}:{line}: {' '.join(code.split())[:120]}")
    print(f"{count - missed} of {count} refusals are reached by a test")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
