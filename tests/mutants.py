"""``python -m tests.mutants``: code that is changed on purpose, and whether a test sees it.

A sample of the changes that cosmic-ray's operators can make in ``spec``, ``compiler``, ``sim`` and ``quant``, each
against the tests of its room that run the changed statement; and those of ``tests/mutants.json`` in ``rtl``, against
the tests named there. What is done is kept in ``build/mutants``, so that a run that was cut off goes on. Those that
nothing sees stand in ``docs/results/mutants.md``, with the reasons of ``tests/survivors.json``. Exit status 1 if fewer
than four of five are caught.
"""

from compileall import compile_dir
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from itertools import accumulate
import json
import os
from pathlib import Path
from py_compile import PycInvalidationMode
from random import Random
import shutil
import sys
from typing import Annotated

from cosmic_ray.ast import get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from typer import Option

from spec.entry import entry
from spec.errors import AlloyError
from spec.files import write_text
from spec.progress import say

from .forked import load_libraries, run_tests
from .touched import Touched, statement

__all__ = ["Mutant", "sample", "by_hand", "reasons", "main"]

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("spec", "compiler", "sim", "quant")
HAND = Path(__file__).with_name("mutants.json")
REASONS = Path(__file__).with_name("survivors.json")
REPORT = "docs/results/mutants.md"
ENOUGH = 0.8
INTERNAL = 3            # status of pytest
PATIENCE = 3, 120.0     # times what tests compute, and seconds of a processor, after which they hang


@dataclass(frozen=True)
class Mutant:
    """A changed file; ``change`` says how, ``line`` is the first that differs. ``tests`` are what may see it; none: the
    tests of the file's room that run the line."""
    file: str
    change: str
    line: int
    text: str
    tests: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Of the result, as long as the file is the same."""
        return sha256((self.file + self.text).encode()).hexdigest()[:16]

    @property
    def lines(self) -> tuple[str, str]:
        """The first line that differs, as it is and as the mutant has it."""
        was, now = ((text.splitlines()[self.line - 1:] or [""])[0].strip()
                    for text in ((ROOT / self.file).read_text(), self.text))
        return was, now


_tree = cache(get_ast)      # of a text: a second or so


def _positions(text, operator):
    """Number of places that an operator can change."""
    count, nodes = 0, [_tree(text)]
    while nodes:
        node = nodes.pop()
        count += len(list(operator.mutation_positions(node)))
        nodes += getattr(node, "children", [])
    return count


def sample(count: int, seed: int) -> list[Mutant]:
    """Mutants drawn by seed: a file by its length, an operator, a place. Each is drawn for itself, so that a change of
    some files leaves most of them as they are."""
    files = sorted(p.relative_to(ROOT) for room in ROOMS for p in (ROOT / room).rglob("*.py"))
    texts = [(ROOT / p).read_text() for p in files]
    names = [name for name in sorted(operator_names()) if not get_operator(name).arguments()]
    found, number = {}, 0
    while len(found) < count:
        dice, number = Random(f"{seed}/{number}"), number + 1
        path, text = dice.choices(list(zip(files, texts, strict=True)), [len(t) for t in texts])[0]
        name = dice.choice(names)
        operator = get_operator(name)()
        places = _positions(text, operator)
        if places:
            place = dice.randrange(places)
            changed = mutate_code(text, operator, place)
            if changed not in (None, text):
                mutant = _mutant(str(path), f"{name} {place}", text, changed)
                found[mutant.key] = mutant
    return list(found.values())


def _mutant(file, change, text, changed, tests=()):
    """With the number and the text of the first line that differs."""
    lines = enumerate(zip(text.splitlines(), changed.splitlines(), strict=False), 1)
    number, new = next(((number, new.strip()) for number, (old, new) in lines if old != new), (1, "the end"))
    return Mutant(file, f"{change}: line {number}: {new}", number, changed, tuple(tests))


def by_hand() -> list[Mutant]:
    """Those of ``mutants.json``: file, text to be replaced, which is there once, its replacement, tests."""
    found = []
    for one in json.loads(HAND.read_text()):
        text = (ROOT / one["file"]).read_text()
        assert text.count(one["old"]) == 1, one
        found.append(_mutant(one["file"], "by hand", text, text.replace(one["old"], one["new"]), one["tests"]))
    return found


def reasons() -> dict[tuple[str, str, str], str]:
    """Why nothing can see a mutant: (file, line as it is, line as the mutant has it) -> reason, of ``survivors.json``.

    Raises :class:`AlloyError` for a line that is not there any more.
    """
    found = {}
    for one in json.loads(REASONS.read_text()):
        if one["was"] not in map(str.strip, (ROOT / one["file"]).read_text().splitlines()):
            raise AlloyError(f"{REASONS.name} has a reason for {one['was']!r}, which is no line of {one['file']} any "
                             "more: take it out")
        found[one["file"], one["was"], one["now"]] = one["reason"]
    return found


class _Chosen:
    """A plugin that keeps some tests, in their order."""

    def __init__(self, order):
        self.order = {test: place for place, test in enumerate(order)}

    def pytest_collection_modifyitems(self, items):
        items[:] = sorted((i for i in items if i.nodeid in self.order), key=lambda i: self.order[i.nodeid])


class Judge:
    """Tries mutants in a copy of the repository; ``folder`` keeps it, the simulators that tests build from the code as
    it is, and which lines tests run. Tests of the sample take up to about ``seconds`` each, 0: as long as all take."""

    def __init__(self, folder: Path, seconds: float = 0):
        self.seconds = seconds
        self.tree, self.built, self.lent = folder / "tree", folder / "simulators", folder / "lent"
        self.log, self._sound = folder / "log", {}
        shutil.rmtree(self.tree, ignore_errors=True)
        shutil.copytree(ROOT, self.tree,
                        ignore=shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", ".*_cache"))
        # By their text, not by its date: changes come within a second.
        compile_dir(self.tree, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
        self.built.mkdir(parents=True, exist_ok=True)
        load_libraries()
        self.touched: dict[str, Touched] = {}

    def caught(self, mutant: Mutant) -> str | None:
        """What fails, or takes too long; None: nothing."""
        if mutant.tests:
            return next(filter(None, (self._fails(mutant, tests) for tests in mutant.tests)), None)
        room = Path(mutant.file).parts[0]
        if room not in self.touched:
            self.touched[room] = Touched(self.tree, self.tree.parent / "touched", room,
                                         {"ALLOY_TEST_CACHE": str(self.built)}, say)
        touched = self.touched[room]
        tests = self._tests(mutant, touched)
        files = list(dict.fromkeys(test.split("::")[0] for test in tests))
        times, more = PATIENCE
        limit = times * sum(touched.seconds[test] for test in tests) + more
        return self._tried(mutant, files, limit, lambda run: run(_Chosen(tests))) if tests else None

    def _fails(self, mutant, tests):
        """``tests`` if they see the mutant; they pass without it."""
        if tests not in self._sound:
            self._sound[tests] = self._run([tests], 3600.0)
        if self._sound[tests]:
            raise AlloyError(f"{tests} fail as the code is ({self.log}): no change can be tried against them")
        nearest = sorted((self.tree / tests).rglob(f"test_{Path(mutant.file).stem}.py"))
        return self._tried(mutant, [*map(str, nearest), tests], 3600.0)

    def _tests(self, mutant, touched):
        """Tests of the room that run the changed statement, or all of the room if it runs when the file is loaded:
        those of the file of the same name first, then those that run more of the file, then the quickest."""
        file = Path(mutant.file)
        first, last, inside = statement((ROOT / file).read_text(), mutant.line)
        some = touched.tests(mutant.file, first, last)
        tests = some if some or inside else set(touched.seconds)
        users = {test.split("::")[0] for test in touched.tests_of(mutant.file)}
        seconds = {}
        for test in tests:
            of_file = test.split("::")[0]
            seconds[of_file] = seconds.get(of_file, 0.0) + touched.seconds[test]

        def rank(test):
            of_file = test.split("::")[0]
            near = Path(of_file).stem == f"test_{file.stem}"
            return not near, of_file not in users, seconds[of_file], of_file, touched.seconds[test], test
        ranked = sorted(tests, key=rank)
        taken = [0.0, *accumulate(touched.seconds[test] for test in ranked)]
        return [test for test, before in zip(ranked, taken, strict=False) if not self.seconds or before < self.seconds]

    def _tried(self, mutant, tests, limit, inside=lambda run: run()):
        """The test that fails with the mutant in place."""
        original = (ROOT / mutant.file).read_text()
        (self.tree / mutant.file).write_text(mutant.text)
        try:
            status = self._run(["-x", *tests], limit, inside)
        finally:
            (self.tree / mutant.file).write_text(original)
        if status is None:
            return "time"
        if status == INTERNAL:      # as a plugin does that fails over a test which ran out of time
            if self._run(["-x", *tests], limit, inside) != INTERNAL:
                return "pytest itself, which does not fail without the mutant"
            raise AlloyError(f"pytest itself fails ({self.log}), which says nothing of {mutant.file}, {mutant.change}: "
                             "try it again")
        if status in (0, 5):        # 5: no test is there
            return None
        lines = self.log.read_text(errors="replace").splitlines()
        return next((line for line in lines if line.startswith(("FAILED", "ERROR "))), f"status {status}")

    def _run(self, arguments, limit, inside=lambda run: run()):
        """pytest, with simulators that what it builds does not stay with."""
        shutil.rmtree(self.lent, ignore_errors=True)
        shutil.copytree(self.built, self.lent, copy_function=os.link)
        return run_tests(self.tree, arguments, limit, environment={"ALLOY_TEST_CACHE": str(self.lent)}, log=self.log,
                         inside=inside)


def _report(mutants, results, why, command):
    """The text of :data:`REPORT`."""
    tried, drawn = [mutant for mutant in mutants if mutant.key in results], any(not one.tests for one in mutants)
    lines = ["# Changes on purpose", "",
             f"`{command}` changes the code and runs the tests that may see it: {'a' if drawn else 'no'} sample of the "
             "changes that",
             f"cosmic-ray makes, {'and' if drawn else 'only'} those of `tests/mutants.json`. The second table has what "
             "no test sees; the reasons",
             "are those of `tests/survivors.json`.", "",
             f"{len(tried)} of {len(mutants)} were tried" + (
                 ": the others have no verdict." if len(tried) < len(mutants) else "."), "",
             "| folder | changes | tried | caught |", "|---|---|---|---|"]
    for room in sorted({Path(mutant.file).parts[0] for mutant in mutants}):
        mine = [mutant for mutant in mutants if Path(mutant.file).parts[0] == room]
        done = [results[mutant.key]["caught"] is not None for mutant in mine if mutant.key in results]
        lines.append(f"| {room} | {len(mine)} | {len(done)} | {sum(done)} |")
    lines += ["", "| file | line | as it is | as the mutant has it | why no test fails |", "|---|---|---|---|---|"]
    for mutant in tried:
        if results[mutant.key]["caught"] is None:
            was, now = mutant.lines
            cells = (mutant.file, mutant.line, f"`{was}`", f"`{now}`", why.get((mutant.file, was, now), "no test yet"))
            lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


@entry("python -m tests.mutants", "--count 20 --seed 1")
def main(
    count: Annotated[int, Option(min=0, help="mutants of the sample")] = 200,
    seed: Annotated[int, Option(help="of the sample")] = 0,
    hand: Annotated[bool, Option(help="also those of tests/mutants.json")] = True,
    seconds: Annotated[float, Option(min=0, help="of tests that each of the sample is tried against, the nearest "
                                     "first; 0: all")] = 0,
    most: Annotated[int | None, Option(min=0, help="that are tried now (default: all that are not yet)")] = None,
    room: Annotated[str, Option(help="only try those of this folder")] = "",
    again: Annotated[bool, Option("--again", help="try those that survived once more: there are other tests now")] =
    False,
) -> int:
    """Change the code on purpose and see whether a test notices."""
    folder, why = ROOT / "build" / "mutants", reasons()
    record = folder / "results.json"
    results = json.loads(record.read_text()) if record.exists() else {}
    if again:
        results = {key: result for key, result in results.items() if result["caught"] is not None}
    mutants, judge = [*sample(count, seed), *(by_hand() if hand else [])], None
    wanted = [m for m in mutants if m.key not in results and m.file.startswith(room)][:most]
    for number, mutant in enumerate(mutants, 1):
        if mutant in wanted:
            judge = judge or Judge(folder, seconds)
            results[mutant.key] = asdict(mutant) | {"text": "", "caught": judge.caught(mutant)}
            record.write_text(json.dumps(results, indent=1) + "\n")
        if mutant.key in results:
            found = results[mutant.key]["caught"]
            say(f"{number} of {len(mutants)}: {mutant.file}, {mutant.change}: {found or 'SURVIVED'}")
    tried = [mutant for mutant in mutants if mutant.key in results]
    survivors = [mutant for mutant in tried if results[mutant.key]["caught"] is None]
    print(*(f"survived: {mutant.file}, {mutant.change}" for mutant in survivors), sep="\n")
    command = f"python -m tests.mutants --count {count} --seed {seed}" + f" --seconds {seconds:g}" * bool(seconds)
    write_text(ROOT / REPORT, _report(mutants, results, why, command))
    share = 1 - len(survivors) / max(len(tried), 1)
    print(f"caught: {len(tried) - len(survivors)} of {len(tried)} ({share:.0%}, wanted {ENOUGH:.0%})")
    return int(share < ENOUGH)


if __name__ == "__main__":
    sys.exit(main())
