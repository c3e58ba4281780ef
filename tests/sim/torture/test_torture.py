"""The torture of the engine: a share of it, that it sees what it looks for, goes on where it ended, and can be shown
again."""

import json
from random import Random

import numpy as np
import pytest

from sim.engine import Engine
from sim.torture import CONFIG, KINDS, Fault, Runner, Subject, Torture, jobs
from sim.torture.__main__ import main
from sim.torture.page import put_into, table
from sim.torture.programs import allowed, damaged, extremes, fields, with_commands
from sim.torture.state import LATENCIES, STALLS
from spec.commands import FIELDS, Error, Opcode, pack, unpack
from spec.errors import AlloyError
from tests.verilated import shared_cache


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return Engine(CONFIG, cache=shared_cache(tmp_path_factory), report=None, arbitrary=True)


@pytest.fixture
def line(engine, tmp_path, monkeypatch):
    """Of the command, which need not make its engine."""
    def same(config, *, cache, arbitrary):
        assert config == CONFIG and arbitrary
        return engine
    monkeypatch.setattr("sim.torture.__main__.Engine", same)
    return ["--cache", str(tmp_path), "--out", str(tmp_path / "state.json")]


@pytest.fixture(scope="module")
def made():
    return jobs()


def test_a_share(line, tmp_path, capsys):
    """Some of each kind; the same command goes on, and then has nothing left to do."""
    line += ["--share", "0.01"]
    assert main([*line, "--seconds", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 cases, 0 faults")
    assert main([*line, "--json", str(tmp_path / "result.json")]) == 0, capsys.readouterr().out
    said = capsys.readouterr().out
    state = json.loads((tmp_path / "state.json").read_text())
    assert state == {k: v for k, v in json.loads((tmp_path / "result.json").read_text()).items() if k != "status"}
    assert state["failures"] == 0 and not state["faults"] and all(state["done"][name] >= 1 for name in KINDS)
    assert state["done"]["programs"] == 100 and state["good_runs"] >= sum(state["done"].values())
    assert sum(sum(seen.values()) for seen in state["seen"].values()) == sum(state["done"].values())
    assert "100 of 10,000 cases" in said and said.rstrip().endswith("bit-exact")
    assert main(line) == 0 and json.loads((tmp_path / "state.json").read_text()) == state


def test_no_run_is_much_shorter_than_the_least(engine, made):
    """Kind: an abort that is said to be in the middle of a run and is behind it, on a faster bus than was measured."""
    measured = Runner(engine, made, Torture(1, CONFIG.digest)).measured
    for latency in LATENCIES:
        for stall in sorted({*STALLS}):
            with Subject(engine, made, stall=stall, latency=latency, seed=latency) as subject:
                assert all(subject.count(one.job)[0] > 0.9 * one.least for one in measured), (latency, stall)
    assert all(one.least < 0.8 * one.cycles for one in measured)


@pytest.mark.parametrize("number", [158, 194])
def test_a_start_behind_an_abort(line, capsys, number):
    """On the fastest bus, as late as it comes."""
    assert main([*line, "--only", f"starts:{number}"]) == 0
    assert "1 behind an abort: ABORT" in capsys.readouterr().out


def test_a_start_at_the_interrupt(line, capsys):
    """A program may take longer than the engine takes to stop."""
    assert main([*line, "--only", "starts:3"]) == 0
    assert "starts: 4 of 200 cases, 1 at the interrupt: done again" in capsys.readouterr().out


def test_a_fault_is_seen_and_shown_again(line, monkeypatch, capsys):
    """The number in the report leads to the same fault."""
    kind = KINDS["starts"]

    def case(subject, rng, number, measured):
        if number in (1, 3):
            raise Fault(f"it is wrong {rng.random()}")
        return kind.case(subject, rng, number, measured)
    monkeypatch.setitem(KINDS, "starts", type(kind)(kind.text, case, kind.count))
    assert main([*line, "--only", "starts", "--share", "0.03"]) == 1
    said = capsys.readouterr().out
    first, second = [text for text in said.splitlines() if text.startswith("fault: starts:")]
    assert "fault: starts:1: it is wrong" in first and "starts:3" in second
    assert "(again: --seed 1 --only starts:1)" in first
    assert "6 cases, 2 faults" in said
    assert main([*line, "--only", "starts:3"]) == 1
    assert second in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("change, words", [
    (lambda s, job: job.expected[s._image + 1 - len(job.inputs) * (s._image + 1 == len(job.inputs))]["out"].__iadd__(1),
     "the tensor out is not that of the golden model"),
    (lambda s, job: s.processor.spoil(0, 2, 3), "it ended with READ and not with NONE"),
    (lambda s, job: s.processor.spoil(s.config.ports, 0, 0), "it ended with TIMEOUT and not with NONE")])
def test_a_run_that_is_not_good(engine, change, words):
    own = jobs()
    with Subject(engine, own) as subject:
        subject.good()
        subject.turn = 0
        change(subject, own[0])
        with pytest.raises(Fault, match=words):
            subject.good()


def test_what_statuses_mean(engine, made):
    with Subject(engine, made) as subject:
        assert subject.code(2) is Error.NONE and subject.code(4 | Error.FIELD << 8) is Error.FIELD
        for status in (0, 6, 4, 2 | Error.READ << 8, 4 | 77 << 8):
            with pytest.raises(Fault, match="STATUS is"):
                subject.code(status)
        with pytest.raises(Fault, match="no interrupt within 50 cycles"):
            subject.wait(50)


def test_registers_begin_with_anything(engine, made):
    """What the seed changes is not what is computed: the same programs in the same cycles."""
    found = set()
    for seed in range(3):
        with Subject(engine, made, seed=seed) as subject:
            found.add((*(subject.count(job)[0] for job in made), subject.read("SIZE")))
    assert len(found) == 1


def test_programs_have_every_command(made):
    opcodes = {unpack(command)["opcode"] for job in made for command in job.commands}
    assert opcodes == set(Opcode)
    weights = [c for job in made for c in map(unpack, job.commands) if c["opcode"] == Opcode.LOAD_WEIGHTS]
    assert any(c["beats"] for c in weights) and not all(c["beats"] for c in weights)
    assert all(len(np.unique(codes)) > 1 for job in made for codes in job.expected[0].values())
    for job in made:
        assert allowed(job.commands, CONFIG, job.program.window_size) == {Error.NONE, Error.SEMAPHORE, Error.TIMEOUT}


def test_damage_reaches_every_field(made):
    """All fields in as many cases as there are, and every way of damage."""
    job, rng, ways, changed = made[0], Random(1), set(), set()
    known = fields(job)
    for number in range(3000):
        commands, image, way = damaged(rng, job, number)
        ways.add(way)
        assert len(image) == len(job.program.image) and len(commands) == len(job.commands)
        assert way == "data" or with_commands(job, commands) == image
        if way == "field":
            opcode, name = known[number % len(known)]
            at, = [n for n, (old, new) in enumerate(zip(job.commands, commands, strict=True)) if old != new] or [0]
            different = int.from_bytes(job.commands[at], "little") ^ int.from_bytes(commands[at], "little")
            assert different & ~(FIELDS[name].mask << FIELDS[name].lo) == 0
            changed |= {(opcode, name)} if different else set()
    assert ways == {"data", "field", "bits", "order", "truncated", "nonsense", "start"}
    assert changed == set(known)
    assert len(extremes(job)) > 80 and len(set(map(tuple, extremes(job)))) > 60


@pytest.mark.parametrize("change, codes", [
    (lambda c: c[:-1], {Error.OPCODE, Error.SEMAPHORE, Error.TIMEOUT}),
    (lambda c: c[1:], {Error.PROGRAM}),
    (lambda c: [c[0], bytes(128), *c[2:]], {Error.OPCODE, Error.SEMAPHORE, Error.TIMEOUT}),
    (lambda c: [*c[:-1], pack(Opcode.STORE_ACT, dram=0, rows=1, cols=1, out_groups=1, stride=4), c[-1]],
     set(Error) - {Error.READ, Error.WRITE, Error.ABORT})])
def test_what_a_damaged_program_may_end_with(made, change, codes):
    job = made[0]
    assert allowed(change(job.commands), CONFIG, job.program.window_size) == codes


@pytest.mark.parametrize("line, words", [
    ("--only nothing", "there is nothing 'nothing' to do to an engine: give one of responses, "),
    ("--only soak:x", "or one of them with a number"), ("--share 2", "less than or equal to 1")])
def test_refusals(capsys, tmp_path, line, words):
    assert main([*line.split(), "--out", str(tmp_path / "none.json")]) == 2
    error = capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert words in error and error.count("\n") == 1


@pytest.mark.parametrize("text", ['{"seed": 1}', '{"seed": 2, "digest": "", "done": {}, "seen": {}, "worst": {}, '
                                  '"good_runs": 0, "good_cycles": 0, "failures": 0, "faults": []}'])
def test_another_state(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(AlloyError, match="is not the state of a torture of this engine with seed 1: give another"):
        Torture.load(tmp_path / "state.json", 1, CONFIG.digest)


def test_the_page(tmp_path):
    state = Torture(1, CONFIG.digest)
    state.done["aborts"], state.seen["aborts"] = 12, {"ABORT": 10, "done before it": 2}
    text = table(state, lambda name: 200)
    assert "| `aborts`: abort in a random cycle | 12 of 200 | 10 ABORT, 2 done before it | 0 |" in text
    (tmp_path / "page.md").write_text("a\n<!-- torture: python -m x -->\nold\n<!-- end of torture -->\nb\n")
    put_into(tmp_path / "page.md", text)
    assert (tmp_path / "page.md").read_text() == (
        f"a\n<!-- torture: python -m x -->\n{text}<!-- end of torture -->\nb\n")
    (tmp_path / "page.md").write_text("a\n")
    with pytest.raises(AlloyError, match="has no table of a torture to replace"):
        put_into(tmp_path / "page.md", text)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_everything(engine, made, seed):
    """All cases of all kinds."""
    state = Torture(seed, CONFIG.digest)
    runner = Runner(engine, made, state)
    for name in KINDS:
        runner.run(name, runner.count(name), lambda: True)
    assert not state.faults and state.done == {name: runner.count(name) for name in KINDS}
    assert state.done["programs"] == 10_000 and state.good_cycles > 1_000_000
