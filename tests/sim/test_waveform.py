"""The cycles of a waveform."""

import pytest

from sim.compare import first_difference
from sim.verilator import Result, Run
from sim.waveform import AFTER, BEFORE, around, at_the_end
from spec.commands import Opcode, unpack
from spec.registers import Trace
from tests.sim.test_compare import prepare


def outcome(trace, **values):
    return Run(**{"status": 2, "hung": False, "cycles": 5000, "counters": {}, "trace": trace, "regions": [], **values})


def test_window_around_a_difference():
    """Between the end of the command before and its own, as far as its tiles of pixels are done."""
    network, config, codes, program = prepare("strips")
    commands = [c for c in map(unpack, program.commands) if c["opcode"] == Opcode.CONV]
    expected = network.codes(codes[None])["out"][0]
    got = expected.copy()
    got[3, 2, 2] ^= 1
    origin = first_difference(program, {"out": expected}, {"out": got}, config).origin
    number, tag = origin.number, program.layers[0].tag
    assert 0 < number < len(commands) - 1 and 0 < origin.part < 1
    ends = [3000 + 100 * i for i in range(len(commands))]
    trace = [(cycle, Trace.DONE, tag) for cycle in ends] + [(ends[number] - 60, 0, tag)]
    window = around(outcome(trace), 2, origin, "x.fst")
    moment = round(ends[number - 1] + 100 * origin.part)
    assert (window.run, window.first, window.end) == (2, moment - BEFORE, moment + AFTER)


@pytest.mark.parametrize("values, moment", [
    ({"status": 0x2100}, 5000), ({"hung": True}, 1234), ({"hung": True, "trace": []}, 5000)])
def test_window_at_the_end(values, moment):
    run = outcome(**{"trace": [(7, Trace.DONE, 0), (1234, 0, 1)], **values})
    window = at_the_end(Result([outcome([]), run], ""), "x.fst")
    assert (window.run, window.first, window.end, window.path) == (1, moment - BEFORE, moment + AFTER, "x.fst")
