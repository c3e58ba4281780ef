"""The cycles of a waveform, against commands that are damaged on purpose."""

import numpy as np
import pytest

from sim import command_model, golden
from sim.compare import first_difference
from sim.verilator import Result, Run
from sim.waveform import AFTER, BEFORE, around, at_the_end, command_of
from spec.commands import Opcode, unpack
from spec.registers import Trace
from tests.sim.test_compare import CASES, pool, prepare, shortened


def compute_commands(program):
    """Their numbers in the program."""
    return [i for i, c in enumerate(map(unpack, program.commands)) if c["opcode"] in (Opcode.CONV, Opcode.POOL)]


@pytest.mark.parametrize("name", CASES)
def test_the_command_that_computes_a_value(name):
    """Of every value that changes when one command's results are all alike."""
    network, config, codes, program = prepare(name)
    expected = golden.run(network, codes[None])["out"][0]
    changed = 0
    for number, index in enumerate(compute_commands(program)):
        if not unpack(program.commands[index])["acc_last"]:
            continue
        got = command_model.run(shortened(program, index, lo=77, hi=77), config, codes)["out"]
        for at in np.argwhere(got != expected):
            found, part = command_of(program, program.layers[0], program.layers[0].place(*map(int, at)))
            assert found == number and 0 < part <= 1
            changed += 1
    assert changed > expected.size // 2


def test_a_pool_has_a_command_for_each_strip(monkeypatch):
    monkeypatch.setitem(CASES, "pool", (pool(6), {}))
    _, _, _, program = prepare("pool")
    layer = program.layers[0]
    assert command_of(program, layer, layer.place(3, 0, 0)) == (0, 1.0)


def outcome(trace, **values):
    return Run(**{"status": 2, "hung": False, "cycles": 5000, "counters": {}, "trace": trace, "regions": [], **values})


def test_window_around_a_difference():
    """Between the end of the command before and its own, as far as its tiles of pixels are done."""
    network, config, codes, program = prepare("strips")
    layer, commands = program.layers[0], compute_commands(program)
    expected = golden.run(network, codes[None])["out"][0]
    got = expected.copy()
    got[3, 4, 2] ^= 1
    difference = first_difference(program, {"out": expected}, {"out": got})
    number, part = command_of(program, layer, difference.place)
    assert 0 < number < len(commands) - 1
    ends = [3000 + 100 * i for i in range(len(commands))]
    trace = [(cycle, Trace.DONE, layer.tag) for cycle in ends] + [(ends[number] - 60, 0, layer.tag)]
    window = around(outcome(trace), 2, program, difference, "x.fst")
    moment = round(ends[number - 1] + 100 * part)
    assert (window.run, window.first, window.end) == (2, moment - BEFORE, moment + AFTER)


@pytest.mark.parametrize("values, moment", [
    ({"status": 0x2100}, 5000), ({"hung": True}, 1234), ({"hung": True, "trace": []}, 5000)])
def test_window_at_the_end(values, moment):
    run = outcome(**{"trace": [(7, Trace.DONE, 0), (1234, 0, 1)], **values})
    window = at_the_end(Result([outcome([]), run], ""), "x.fst")
    assert (window.run, window.first, window.end, window.path) == (1, moment - BEFORE, moment + AFTER, "x.fst")


def test_a_place_that_several_operations_make():
    """It is not looked for: the last command of the layer stands for it."""
    _, _, _, program = prepare("mixed")
    layer = program.layers[0]
    commands = [c for c in map(unpack, program.commands) if c["opcode"] == Opcode.CONV and c["tag"] == layer.tag]
    assert command_of(program, layer, (0, 0, 99, 0)) == (len(commands) - 1, 1.0)
