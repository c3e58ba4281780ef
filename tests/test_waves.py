"""A failing bench leaves a waveform, opened with a reader that is not ours."""

import os
from pathlib import Path
import re
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCH = """
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
import pytest
from tests.rtl.axi_models import simulate

class Counter(wiring.Component):
    value: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.value.eq(self.value + 1)
        return m

calls = []

@pytest.mark.parametrize("last", LAST)
def test_count(last):
    counter = Counter()
    calls.append(last)

    async def body(ctx):
        for _ in range(5):
            await ctx.tick()
        assert ctx.get(counter.value) == last or last == 3 and len(calls) > 1
    simulate({"counter": counter}, body)

def test_no_bench():
    assert LAST == [5]
"""


def run(folder, last):
    """(exit status, output) of the tests of a bench that counts to 5 and should count to ``last``."""
    (folder / "test_bench.py").write_text(BENCH.replace("LAST", str(last)))
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "tests.waves", "-p", "no:cacheprovider", "."],
                          cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    return done.returncode, done.stdout


def test_failing_bench(tmp_path):
    status, text = run(tmp_path, [4])
    path = tmp_path / "build" / "vcd" / "test_count-4-.vcd"
    assert status == 1 and f"waveform of the bench: {path}" in text
    assert len(re.findall(r"^E +waveform", text, re.M)) == 1    # not for the test without a bench
    wave = path.read_text()
    code = re.search(r"\$var wire 8 (\S+) value", wave)[1]
    values = [int(bits, 2) for bits in re.findall(rf"^b([01]+) {re.escape(code)}$", wave, re.M)]
    assert values[:6] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("last, status, words", [
    ([5], 0, "2 passed"), ([3], 1, "the test passed when it was run again for a waveform")])
def test_no_waveform(tmp_path, last, status, words):
    found = run(tmp_path, last)
    assert found[0] == status and words in found[1]
    assert not list(tmp_path.rglob("*.vcd"))
