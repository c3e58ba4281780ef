"""The Verilator bench on a stand-in engine: it copies right, counts time, injects what it says and sees every breach of
the protocol."""

from pathlib import Path
import re
from types import SimpleNamespace

import numpy as np
import pytest

from sim import verilator
from sim.verilator import verilate
from spec.errors import AlloyError

BURSTS, BYTES = 8, 32           # of one run; bytes of a burst
CONFIG = SimpleNamespace(ports=1, port_bytes=8, addr_bits=40)
ENGINE = Path(__file__).with_name("copy_engine.v")
DEFECTS = {1: "read address changed", 2: "read address changed", 3: "read: burst crosses 4 KB",
           4: "read: burst size or type",
           5: "read: burst size or type", 6: "read: unaligned address", 7: "read: address outside the window",
           8: "WLAST at the wrong beat", 9: "write data changed", 10: "read address changed",
           11: "write address changed",
           13: "WLAST at the wrong beat", 14: "write data changed", 15: "transfers are outstanding",
           16: "read address changed",
           17: "response to a register read is not OKAY", 18: "response to a register read changed",
           19: "no answer to a register write",
           20: "response to a register write changed"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder whose name has what make, shells and compilers read as something else, in it a Verilator of such a
    path."""
    folder = tmp_path_factory.mktemp("bench") / "it's a $HOME \"path\" #1: 50%, \u00e9"
    folder.mkdir()
    (folder / "tool").symlink_to(verilate.tool()[1])
    return folder


@pytest.fixture(scope="module")
def model(cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verilate, "tool", lambda: (cache / "tool" / "bin" / "verilator_bin", cache / "tool"))
        return verilator.build({"alloy.v": ENGINE.read_text()}, CONFIG, cache / "cache", report=lambda line: None)


def program(defect=0, bursts=BURSTS, window=0x4000):
    """What the bench needs of a program: the image's codes are the bytes to copy."""
    return SimpleNamespace(image=bytes(0x1000), window_size=window, command_offset=defect, command_count=bursts,
                           input=SimpleNamespace(offset=0x1000), runs_on=lambda config: None,
                           pack_input=lambda codes: codes.astype(np.uint8).tobytes(),
                           outputs={"out": SimpleNamespace(offset=0x2000, size=bursts * BYTES)})


def images(count=2, bursts=BURSTS):
    return np.random.default_rng(5).integers(0, 256, (count, bursts * BYTES))


def run(model, *, defect=0, count=2, bursts=BURSTS, window=0x4000, **options):
    return model.run(program(defect, bursts, window), images(count, bursts), **{"limit": 20_000, **options})


@pytest.mark.parametrize("stall", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("seed", [1, 2])
def test_copies(model, stall, seed):
    result = run(model, count=3, stall=stall, seed=seed)
    assert result.violation == "" and len(result.runs) == 3
    for one, codes in zip(result.runs, images(3), strict=True):
        assert one.done and not one.hung and one.code == 0
        assert one.regions == [codes.astype(np.uint8).tobytes()]
        assert one.counters["digest"] == 0xC0DE and one.counters["commands"] == BURSTS
        assert [(event, tag) for _, event, tag in one.trace] == [(2, index) for index in range(BURSTS)]


def test_same_seed_same_cycles(model):
    first, again, other = (run(model, stall=0.4, seed=seed).runs[0].cycles for seed in (3, 3, 4))
    assert first == again != other


def test_latency_is_paid_by_each_read_and_each_write(model):
    cycles = {latency: run(model, count=1, latency=latency).runs[0].cycles for latency in (10, 11, 60)}
    assert cycles[11] - cycles[10] == 2 * BURSTS
    assert cycles[60] - cycles[10] == 2 * BURSTS * 50


@pytest.mark.parametrize("rate", [0.5, 1, 1.5])
def test_bandwidth_limits_the_bytes(model, rate):
    """The bucket holds four beats: no transfer is faster than that, and a slow one is not slower than its bytes (and
    its writes') take."""
    total, bucket = 32 * BYTES, 4 * 8
    free = run(model, count=1, bursts=32, latency=0).runs[0].cycles
    slow = run(model, count=1, bursts=32, latency=0, bytes_per_cycle=rate).runs[0].cycles
    assert free < 0.5 * total
    assert (total - bucket) / rate <= slow <= 2 * total / rate


@pytest.mark.parametrize("rate", [1, 2, 3])
def test_all_ports_share_what_the_memory_gives(model, rate):
    """Reads and writes take their bytes from one more bucket, of four beats for each port."""
    total, bucket = 2 * 32 * BYTES, 2 * 4 * 8
    cycles = run(model, count=1, bursts=32, latency=0, all_bytes_per_cycle=rate).runs[0].cycles
    assert (total - bucket) / rate <= cycles <= 1.3 * total / rate
    result = run(model, count=2, stall=0.3, all_bytes_per_cycle=rate)
    assert result.violation == "" and all(one.done for one in result.runs)


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_breach_is_seen(model, defect):
    """Without it the same run is clean (``test_copies``), so the finding is the defect's."""
    result = run(model, defect=defect, stall=0.6, seed=9)
    assert DEFECTS[defect] in result.violation
    assert " in cycle " in result.violation and len(result.runs) == 1


def test_hang_is_reported(model):
    result = run(model, defect=12, limit=3000)
    assert len(result.runs) == 1 and result.runs[0].hung and not result.runs[0].done


@pytest.mark.parametrize("fault, code", [("bad_read", 0x21), ("bad_write", 0x22)])
@pytest.mark.parametrize("beat", [0, 9])
def test_error_response_reaches_the_engine(model, fault, code, beat):
    first, second = run(model, **{fault: beat}).runs
    assert first.code == code and not first.done and len(first.trace) == beat // 4 + 1
    assert second.done and second.code == 0


def test_abort_and_reset(model):
    aborted = run(model, abort_at=100, latency=20).runs
    assert aborted[0].code == 0x24 and not aborted[0].done and aborted[1].done
    reset = run(model, reset_at=100, latency=20).runs
    assert not reset[0].done and reset[0].code == 0 and not reset[0].hung
    assert reset[1].done and reset[1].regions == [images()[1].astype(np.uint8).tobytes()]


def test_output_is_poisoned_between_runs(model):
    """A region that the engine did not write reads 0xEE, not the data of the image before."""
    first = run(model, abort_at=1, latency=20).runs[0]
    assert first.regions[0][BYTES:] == b"\xee" * (BURSTS - 1) * BYTES


def test_input_outside_the_window_is_refused(model):
    with pytest.raises(AlloyError, match=r"stopped with status 3: .* does not fit the window"):
        run(model, window=0x1010)


def test_finished_images_are_reported(model):
    seen = []
    run(model, count=3, report=seen.append)
    assert seen == [1, 2, 3]


def test_model_is_cached(model, cache):
    lines = []
    again = verilator.build({"alloy.v": ENGINE.read_text()}, CONFIG, cache / "cache", report=lines.append)
    assert again.program == model.program and lines == []


def test_the_compiler_says_what_it_does(model, cache, monkeypatch):
    """Every few seconds a line; here a build that is cut off has two files left to compile."""
    lines, folder = [], model.program.parent
    monkeypatch.setattr(verilate, "EVERY", 0.05)
    for name in ("bench", "bench_cpp.o", "Valloy.o"):
        (folder / name).unlink()
    verilator.build({"alloy.v": ENGINE.read_text()}, CONFIG, cache / "cache", report=lines.append)
    assert re.fullmatch(r"compiling 2 of \d+ files", lines[0]) and len(lines) > 5
    assert all(re.fullmatch(r"compiled \d+ of \d+ files, \d+ s.*", line) for line in lines[1:])


@pytest.mark.parametrize("name", ["file", "file/below", "/proc/none"])
def test_cache_that_cannot_be_written(cache, name):
    (cache / "file").write_text("")
    with pytest.raises(AlloyError, match="cannot be written .*: choose another cache"):
        verilator.build({"alloy.v": ENGINE.read_text()}, CONFIG, cache / name, report=lambda line: None)


def test_broken_verilog_is_one_sentence(cache):
    with pytest.raises(AlloyError, match="verilator_bin failed: .*syntax error"):
        verilator.build({"alloy.v": "module alloy (input clk; endmodule\n"}, CONFIG, cache, report=lambda line: None)
