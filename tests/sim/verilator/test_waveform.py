"""Waveforms of the Verilated bench: opened with a reader of FST files that is not ours."""

from pathlib import Path

import pylibfst
import pytest

from sim import verilator
from sim.verilator import Window
from spec.errors import AlloyError
from tests.sim.verilator.test_bench import CONFIG, ENGINE, images, program
from tests.verilated import shared_cache


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return verilator.build({"alloy.v": ENGINE.read_text()}, CONFIG, shared_cache(tmp_path_factory), waveform=True,
                           report=lambda line: None)


def changes(path: Path) -> dict[str, list[tuple[int, str]]]:
    """Signal -> (time, value) of each change."""
    file = pylibfst.lib.fstReaderOpen(str(path).encode())
    assert file != pylibfst.ffi.NULL
    _, signals = pylibfst.get_scopes_signals2(file)
    found: dict[int, list[tuple[int, str]]] = {signal.handle: [] for signal in signals.by_name.values()}

    def change(_, time, handle, value):
        found[handle].append((time, pylibfst.string(value)))
    pylibfst.lib.fstReaderSetFacProcessMaskAll(file)
    pylibfst.fstReaderIterBlocks(file, change)
    pylibfst.lib.fstReaderClose(file)
    return {name.split(" ")[0]: found[signal.handle] for name, signal in signals.by_name.items()}


def test_window(model, tmp_path):
    """Two values of the clock in each cycle of the window and no other; what the engine did in it; the same result."""
    plain = model.run(program(), images(3), stall=0.3, seed=4, limit=20_000)
    first, end = 20, 320
    window = Window(1, first, end, tmp_path / "w.fst")
    result = model.run(program(), images(3), stall=0.3, seed=4, limit=20_000, window=window)
    assert result == plain
    found = changes(tmp_path / "w.fst")
    clock = dict(next(values for name, values in found.items() if name.endswith("aclk")))
    assert set(clock) == set(range(2 * first, 2 * end))
    assert all(value == str(time % 2) for time, value in clock.items())
    valid = next(values for name, values in found.items() if name.endswith("trace_valid"))
    shown = [cycle for cycle, _, _ in result.runs[1].trace if first < cycle < end]
    high = [time for time, value in valid if value == "1"]
    assert len(shown) > 1 and [time // 2 for time in high] == shown


def test_window_that_no_run_reaches(model, tmp_path):
    """A file without a change, and nothing in place of an earlier one but a whole one."""
    model.run(program(), images(1), limit=20_000, window=Window(5, 0, 10, tmp_path / "w.fst"))
    assert (tmp_path / "w.fst").exists()


def test_a_model_without_waveforms(model, tmp_path):
    plain = verilator.Model(model.program, model.config)
    with pytest.raises(AlloyError, match="built without waveforms: build it with waveform=True"):
        plain.run(program(), images(1), window=Window(0, 0, 10, tmp_path / "w.fst"))
