"""``python -m tests.mutants``: code that is changed on purpose, and whether a test sees it.

A sample of the changes that cosmic-ray's operators can make in ``spec``, ``compiler``, ``sim`` and ``quant``, and those
of ``tests/mutants.json`` in ``rtl``; each runs against the tests of its room. What is done is kept in
``build/mutants``, so that a run that was cut off goes on. Exit status 1 if fewer than four of five are caught.
"""

from dataclasses import asdict, dataclass
from hashlib import sha256
import json
import os
from pathlib import Path
from random import Random
import shutil
import subprocess
import sys
from typing import Annotated

from cosmic_ray.ast import get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from typer import Option

from spec.entry import entry
from spec.progress import say

__all__ = ["Mutant", "sample", "by_hand", "main"]

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("spec", "compiler", "sim", "quant")
HAND = Path(__file__).with_name("mutants.json")
ENOUGH = 0.8


@dataclass(frozen=True)
class Mutant:
    """A changed file; ``change`` says how, ``tests`` are tried one after the other until one fails."""
    file: str
    change: str
    text: str
    tests: tuple[str, ...]

    @property
    def key(self) -> str:
        """Of the result, as long as the file is the same."""
        return sha256((self.file + self.text).encode()).hexdigest()[:16]


def _positions(text, operator):
    """Number of places that an operator can change."""
    count, nodes = 0, [get_ast(text)]
    while nodes:
        node = nodes.pop()
        count += len(list(operator.mutation_positions(node)))
        nodes += getattr(node, "children", [])
    return count


def _tests_of(path):
    """The file of the same name first, then the room."""
    room = path.parts[0]
    near = [p for p in (ROOT / "tests" / room).rglob("test_*.py") if p.stem == f"test_{path.stem}"]
    return *(str(p.relative_to(ROOT)) for p in near), f"tests/{room}"


def sample(count: int, seed: int) -> list[Mutant]:
    """Mutants drawn by seed: a file by its length, an operator, a place."""
    dice = Random(seed)
    files = sorted(p.relative_to(ROOT) for room in ROOMS for p in (ROOT / room).rglob("*.py"))
    texts = [(ROOT / p).read_text() for p in files]
    names = [name for name in sorted(operator_names()) if not get_operator(name).arguments()]
    found = {}
    while len(found) < count:
        path, text = dice.choices(list(zip(files, texts, strict=True)), [len(t) for t in texts])[0]
        name = dice.choice(names)
        operator = get_operator(name)()
        places = _positions(text, operator)
        if places:
            place = dice.randrange(places)
            changed = mutate_code(text, operator, place)
            if changed not in (None, text):
                mutant = Mutant(str(path), f"{name} {place}: {_line(text, changed)}", changed, _tests_of(path))
                found[mutant.key] = mutant
    return list(found.values())


def _line(text, changed):
    """The first line that differs, with its number."""
    for number, (old, new) in enumerate(zip(text.splitlines(), changed.splitlines(), strict=False), 1):
        if old != new:
            return f"line {number}: {new.strip()}"
    return "the end"


def by_hand() -> list[Mutant]:
    """Those of ``mutants.json``: file, text to be replaced, which is there once, its replacement, tests."""
    found = []
    for one in json.loads(HAND.read_text()):
        text = (ROOT / one["file"]).read_text()
        assert text.count(one["old"]) == 1, one
        changed = text.replace(one["old"], one["new"])
        found.append(Mutant(one["file"], f"by hand: {_line(text, changed)}", changed, tuple(one["tests"])))
    return found


def caught(mutant: Mutant, tree: Path, limit: float) -> str | None:
    """The tests in the copy ``tree`` of the repository that fail, or take longer than ``limit`` seconds; None: none."""
    original = (ROOT / mutant.file).read_text()
    (tree / mutant.file).write_text(mutant.text)
    try:
        for tests in mutant.tests:
            try:
                done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p",
                                       "no:cacheprovider", tests], cwd=tree, stdin=subprocess.DEVNULL,
                                      capture_output=True, timeout=limit, env=os.environ | {"OMP_NUM_THREADS": "1"})
            except subprocess.TimeoutExpired:
                return f"{tests}: time"
            if done.returncode not in (0, 5):       # 5: no test is there
                return tests
    finally:
        (tree / mutant.file).write_text(original)
    return None


def _copy(tree):
    """A copy of the repository to change."""
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", ".*_cache"))


@entry("python -m tests.mutants", "--count 20 --seed 1")
def main(
    count: Annotated[int, Option(min=0, help="mutants of the sample")] = 200,
    seed: Annotated[int, Option(help="of the sample")] = 0,
    limit: Annotated[float, Option(help="seconds that the tests of a room may take")] = 600,
    hand: Annotated[bool, Option(help="also those of tests/mutants.json")] = True,
) -> int:
    """Change the code on purpose and see whether a test notices."""
    folder = ROOT / "build" / "mutants"
    record, tree = folder / "results.json", folder / "tree"
    results = json.loads(record.read_text()) if record.exists() else {}
    mutants = [*sample(count, seed), *(by_hand() if hand else [])]
    _copy(tree)
    for number, mutant in enumerate(mutants, 1):
        if mutant.key not in results:
            results[mutant.key] = asdict(mutant) | {"text": "", "caught": caught(mutant, tree, limit)}
            record.write_text(json.dumps(results, indent=1) + "\n")
        found = results[mutant.key]["caught"]
        say(f"{number} of {len(mutants)}: {mutant.file}, {mutant.change}: {found or 'SURVIVED'}")
    survivors = [mutant for mutant in mutants if results[mutant.key]["caught"] is None]
    print(*(f"survived: {mutant.file}, {mutant.change}" for mutant in survivors), sep="\n")
    share = 1 - len(survivors) / max(len(mutants), 1)
    print(f"caught: {len(mutants) - len(survivors)} of {len(mutants)} ({share:.0%}, wanted {ENOUGH:.0%})")
    return int(share < ENOUGH)


if __name__ == "__main__":
    sys.exit(main())
