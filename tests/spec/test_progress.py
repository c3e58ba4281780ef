"""A long step says every few seconds that it goes on."""

import re
import threading
import time

import pytest

from spec.progress import going


def test_lines_come_while_it_works_and_end_with_it():
    lines, count = [], iter(range(100))
    with going(lines.append, lambda: f"done {next(count)}", 0.02):
        while len(lines) < 3:
            time.sleep(0.01)
    seen, threads = len(lines), threading.active_count()
    time.sleep(0.1)
    assert len(lines) == seen and threads == threading.active_count()
    assert [re.fullmatch(r"done (\d), 0 s", line)[1] for line in lines[:3]] == ["0", "1", "2"]


def test_an_error_ends_it():
    lines = []
    with pytest.raises(ZeroDivisionError), going(lines.append, "work", 0.02):
        raise ZeroDivisionError
    seen = len(lines)
    time.sleep(0.1)
    assert len(lines) == seen


def test_nobody_reads(capsys):
    """The thread of a program whose output is closed ends without a traceback; the program finds out itself."""
    def report(text):
        raise BrokenPipeError
    with going(report, "work", 0.01):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""
