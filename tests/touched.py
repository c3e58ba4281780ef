"""Which tests run which lines, and what they compute: what a change of a line has to be tried against."""

import ast
from collections import defaultdict
from hashlib import sha256
import json
import os
from pathlib import Path

import coverage
import pytest

from .forked import run_tests

__all__ = ["Touched", "statement"]

WIDE = "fixture "       # before the name of a fixture that several tests share, among those who run lines
LIMIT = 3600.0          # seconds for a file of tests


class _Recorder:
    """A plugin that says who runs lines: a test, or a fixture that is not made anew for each."""

    def __init__(self, measured):
        self.measured, self.seconds, self.failed, self.shared = measured, {}, set(), defaultdict(list)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        began = _computed()
        self.measured.switch_context(item.nodeid)
        for name in item.fixturenames:
            self.shared[WIDE + name].append(item.nodeid)
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = round(_computed() - began, 2)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        if fixturedef.scope == "function":
            return (yield)
        before = self.measured.switch_context(WIDE + fixturedef.argname)
        try:
            return (yield)
        finally:
            self.measured.switch_context(before)

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.add(report.nodeid)

    def found(self):
        """The record of a file of tests: seconds by test, tests by file and line. Those that fail say nothing."""
        for test in self.failed:
            self.seconds.pop(test, None)
        lines, data = {}, self.measured.get_data()
        for name in data.measured_files():
            lines[name] = of_file = {}
            for line, contexts in data.contexts_by_lineno(name).items():
                tests = {test for context in contexts for test in self.shared.get(context, [context])}
                if tests & self.seconds.keys():
                    of_file[line] = sorted(tests & self.seconds.keys())
        return {"seconds": self.seconds, "lines": lines}


class Touched:
    """The records of all tests of a room of ``tree``, of the files of that room, made where they are missing and kept
    in ``folder``."""

    def __init__(self, tree: Path, folder: Path, room: str, environment: dict, report=print):
        self.seconds: dict[str, float] = {}
        self._lines: dict[str, list] = defaultdict(list)
        folder.mkdir(parents=True, exist_ok=True)
        sources = sha256("".join(path.read_text() for path in sorted((tree / room).rglob("*.py"))).encode())
        files = sorted((tree / "tests" / room).rglob("test_*.py"))
        for number, path in enumerate(files, 1):
            name = str(path.relative_to(tree))
            key = sources.copy()
            key.update((name + path.read_text()).encode())
            record = folder / f"{key.hexdigest()[:16]}.json"
            if not record.exists():
                report(f"which lines the tests run: {number} of {len(files)}, {name}")
                _measure(tree, name, room, record, environment)
            if record.exists():
                found = json.loads(record.read_text())
                self.seconds |= found["seconds"]
                for file, lines in found["lines"].items():
                    self._lines[str(Path(file).relative_to(tree))].append(lines)

    def tests(self, file: str, first: int, last: int) -> set[str]:
        """Tests that run any of the lines ``first`` to ``last`` of a file."""
        return {test for record in self._lines[file] for line in range(first, last + 1)
                for test in record.get(str(line), ())}

    def tests_of(self, file: str) -> set[str]:
        """Tests that run any line of a file, but what is run when it is loaded."""
        return {test for record in self._lines[file] for tests in record.values() for test in tests}


def _computed():
    """Seconds of a processor, of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def _measure(tree, name, room, record, environment):
    """Write the ``record`` of a file of tests."""
    def inside(run):
        measured = coverage.Coverage(data_file=None, config_file=False, source=[str(tree / room)])
        recorder = _Recorder(measured)
        measured.start()
        status = run(recorder)
        measured.stop()
        partial = record.with_suffix(".part")
        partial.write_text(json.dumps(recorder.found()))
        partial.rename(record)
        return status
    run_tests(tree, [name], LIMIT, environment=environment, inside=inside)


def statement(text: str, line: int) -> tuple[int, int, bool]:
    """(first line, last line, whether a function has it) of the statement, or the head of one, that has ``line``."""
    first, last, inside = line, line, False
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            begins = min([_line_of(node), *(one.lineno for one in getattr(node, "decorator_list", ()))])
            ends = max(_end_of(node), begins)
            body = getattr(node, "body", None)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _line_of(body[0]) <= line <= ends:
                inside = True
            if isinstance(body, list) and body:
                ends = max(begins, _line_of(body[0]) - 1)
            if begins <= line <= ends:
                first, last = begins, ends      # outer statements come first
    return first, last, inside


def _line_of(node):
    return node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno


def _end_of(node):
    return node.body[-1].end_lineno if isinstance(node, ast.match_case) else node.end_lineno
