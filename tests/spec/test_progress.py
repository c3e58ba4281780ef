"""A long step says every few seconds that it goes on."""

import itertools
import os
from pathlib import Path
import pty
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from spec.progress import Course, _Rest, going, telling

ROOT = Path(__file__).resolve().parents[2]


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


def test_what_is_left():
    """A text that counts says how long it still takes, measured since the count began."""
    rest = _Rest()
    assert rest.words("layer 1 of 5 (a)", 10.0) == "" and rest.words("no number", 11.0) == ""
    assert rest.words("layer 2 of 5 (b)", 12.0) == ", about 6 s left"
    assert rest.words("layer 4 of 5 (c)", 13.0) == ", about 1 s left"
    assert [rest.words("step 2 of 4", now) for now in (0.0, 6.0)] == ["", ""]       # waits, and goes on
    assert rest.words("step 3 of 4", 8.0) == ", about 8 s left"
    assert rest.words("step 3 of 4", 13.0) == ", about 3 s left"         # of a long step, five seconds later
    assert rest.words("step 3 of 4", 20.0) == ", about 0 s left"
    assert rest.words("image 4 of 1,005", 14.0) == ""                    # another count
    assert rest.words("image 5 of 1,005", 15.0) == ", about 1000 s left"
    assert rest.words("image 1 of 1,005", 16.0) == ""                    # from the beginning
    assert rest.words("5 of 4 parts", 17.0) == ""


def test_the_estimate_is_in_the_lines():
    lines, at = [], itertools.count(1)
    with going(lines.append, lambda: f"image {next(at)} of 50", 0.02):
        while len(lines) < 4:
            time.sleep(0.01)
    assert re.fullmatch(r"image \d+ of 50, 0 s, about [01] s left", lines[-1])


def test_texts_of_a_step():
    lines = []
    with telling(lines.append, "first", prefix="net: ", every=0.02) as step:
        time.sleep(0.05)
        step("second")
        time.sleep(0.05)
    assert lines[0] == "net: first, 0 s" and lines[-1] == "net: second, 0 s"
    with telling(None) as step:
        step("nobody hears it")


PROGRAM = """
import sys, time
from spec.progress import going, say, shown
with shown(batch="batch" in sys.argv):
    with going(say, "outer", 0.1):
        time.sleep(0.4)
        count = iter(range(1, 99))
        with going(say, lambda: f"inner {next(count)} of 99", 0.1):
            time.sleep(0.6)
            say("a line")
            time.sleep(0.5)
        time.sleep(0.5)
    print("result")
"""


def terminal(*arguments):
    """What the program prints to a terminal."""
    parent, child = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=child, stderr=child, text=True,
                               env=os.environ | {"TERM": "xterm", "COLUMNS": "90", "PYTHONPATH": str(ROOT)})
    os.close(child)
    found = b""
    while True:
        try:
            more = os.read(parent, 4096)
        except OSError:         # the other end is closed
            more = b""
        if not more:
            break
        found += more
    os.close(parent)
    assert process.wait() == 0
    return found.decode()


def test_a_line_that_moves():
    """On a terminal: the innermost step in one line with an estimate, which is gone at the end."""
    text = terminal()
    assert "outer, 0 s" in text and re.search(r"inner \d+ of 99, \d s, about \d+ s left", text)
    assert "a line" in text and "\x1b[2K" in text and "\x1b[?25h" in text[-60:]
    assert text.rindex("outer") > text.rindex("inner") and "result" in text


def test_plain_lines_on_a_terminal():
    text = terminal("batch")
    assert "\x1b" not in text and re.search(r"\[\d\d:\d\d:\d\d\] inner \d+ of 99", text)


@pytest.mark.parametrize("speed", [0.5, 1.0, 7.0])
def test_the_rest_of_a_course(speed):
    """Where time goes with work, the estimate is right from the first steps on, between steps too."""
    rng, now = np.random.default_rng(0), [100.0]
    stages = {"one": rng.uniform(1, 10, 8).tolist(), "two": rng.uniform(5, 50, 5).tolist()}
    course = Course(clock=lambda: now[0])
    assert not course
    course.begin(stages)
    order = [("one", work) for work in stages["one"]] + [("two", work) for work in stages["two"]]
    total = sum(work for _, work in order) / speed
    assert course.rest is None and str(course) == ""
    for number, (stage, work) in enumerate(order):
        now[0] += work / speed
        course.step(stage)
        if number > 2:
            assert course.rest == pytest.approx(100 + total - now[0], abs=1e-6)
    assert course.rest == 0
    course.step("one")
    course.step("unknown")
    assert course.rest == 0


def test_the_rest_between_steps_and_of_what_is_left_out():
    now = [0.0]
    course = Course(clock=lambda: now[0])
    course.begin({"one": [10, 10], "two": [20], "three": [300]})
    now[0] = 5.0
    course.step("one")
    assert course.rest == pytest.approx(165) and str(course) == ", about 3 min left"
    course.finish("three")
    assert course.rest == pytest.approx(15) and str(course) == ", about 15 s left"
    now[0] = 12.0
    assert course.rest == pytest.approx(8)
    now[0] = 100.0
    assert course.rest == 0
    course.step("one")
    assert course and course.rest == pytest.approx(100)
    lines = []
    with going(lines.append, "layer 3 of 4", 0.02, course):
        while not lines:
            time.sleep(0.01)
    assert lines[0] == "layer 3 of 4, 0 s, about 2 min left"
    course.finish("one")
    course.finish("two")
    assert not course
