"""RTL against integers: the command and the place that made the first difference, and the waveform around it."""

from dataclasses import replace
import json
import re

import numpy as np
import pytest

from alloy.diff.hardware import Engine, compare_rtl
from alloy.diff.programs import with_all_tensors
from compiler import compile
from sim import command_model
from sim.verilator import Result, Run
from spec.commands import Opcode, unpack
from spec.errors import AlloyError
from spec.network import Network
from spec.program import Program
from tests.alloy.diff.faults import changed, damaged, diff, loads
from tests.alloy.folder import CONFIG
from tests.networks import random_config, random_network
from tests.sim.verilator.test_waveform import changes


def test_a_wrong_byte_in_the_program(here, subject, modelled, capsys):
    """Of weights: the command that loads it, its slot and channel; the tensors tell the layer, filter and lane."""
    modelled()
    made = Program.load("flow/program.alloy")
    index, load = next((i, c) for i, c in loads(made, Opcode.LOAD_WEIGHTS) if c["tag"] == 0)
    whole, codes = compile(subject.network, CONFIG, keep="all"), subject.codes(1)
    right = subject.network.codes(codes)["conv"][0]

    def shows(bad):
        try:
            got = command_model.run(with_all_tensors(bad, made, whole), CONFIG, codes[0])["conv"]
        except AlloyError:      # a weight that no number system has
            return False
        return (got != right).any()
    # Some filters are dead, and some bits mean nothing.
    bad = next(bad for at in range(load["dram"], load["dram"] + 200) if shows(bad := damaged(made, at, 4)))
    bad.save("bad.alloy")
    assert diff("flow", "--program", "bad.alloy", "--from", "rtl", "--json", "bad.json") == 1
    shown, result = capsys.readouterr().out, json.loads((here / "bad.json").read_text())
    assert f"not what the compiler makes: command {index} LOAD_WEIGHTS of layer conv loads other data (1 by" in shown
    first = result["stages"]["rtl"]["first"]
    assert (first["layer"], first["command"]["opcode"], first["command"]["tag"]) == ("conv", "CONV", 0)
    slot = int(re.search(r"loads other data .*: word \d+, slot (\d+), input channel \d is ", shown)[1])
    assert result["stages"]["rtl"]["all_tensors"] and first["command"]["slot"] == first["slot"] == slot // 2 * 2
    assert whole.layers[0].slots[first["channel"]] == (first["filter_tile"], first["slot"])
    assert f"column {first['column']}, command {first['command']['index']} CONV, tile " in shown
    assert shown.splitlines()[-1] == "rtl: differs in layer conv"


@pytest.mark.parametrize("seed", range(3))
def test_rtl_that_is_wrong(modelled, seed):
    """One value of the second image of a random network; the waveform is of its command."""
    rng = np.random.default_rng(seed)
    while True:
        network, config = random_network(rng), random_config(rng)
        try:
            whole = compile(network, config, keep="all")
            break
        except AlloyError:
            continue
    name = str(rng.choice(list(whole.outputs)))
    region = whole.outputs[name]
    at = int(rng.integers(region.size)) // region.group_bytes * region.group_bytes        # the first of a group
    codes = rng.integers(0, 256, (2, *network.tensors["image"].shape))

    def wrong(tensor, image, data):
        if (tensor, image) == (name, 1):
            data[at] ^= 1
        return data
    engine = modelled(config, wrong)
    found = compare_rtl(network, codes, Engine(config), None, lambda text: None, "w.fst")
    assert (found.equal, found.tensors, found.image, found.first.tensor) == (
        2 * len(whole.outputs) - 1, 2 * len(whole.outputs), 1, name)
    assert found.first.wrong == 1 and found.first.expected ^ found.first.got == 1 and found.program == []
    origin = found.first.origin
    command = unpack(whole.commands[origin.index])
    assert command["opcode"] == origin.opcode and command["tag"] == origin.tag
    (window,), ordinal = engine.windows, sum(
        c["opcode"] in (Opcode.CONV, Opcode.POOL) for c in map(unpack, whole.commands[:origin.index]))
    assert window.run == 1 and window.first < 1000 * (ordinal + 1) and window.end > 1000 * ordinal


def test_a_program_of_another_network(modelled, subject):
    modelled()
    other = compile(random_network(np.random.default_rng(5), layers=1), CONFIG, keep="all")
    with pytest.raises(AlloyError, match="the program writes a tensor .* of another network, compile it again"):
        compare_rtl(subject.network, subject.codes(1), subject.engine, other, lambda text: None)
    with pytest.raises(AlloyError, match="the program was compiled for configuration"):
        compare_rtl(subject.network, subject.codes(1), replace(subject.engine, config=replace(CONFIG, ic=4)),
                    subject.program, lambda text: None)


def test_an_engine_that_hangs(modelled, subject, monkeypatch):
    engine = modelled()
    monkeypatch.setattr(engine, "run", lambda *_, **options: Result([Run(0, True, 77, {}, [], [])], ""))
    found = compare_rtl(subject.network, subject.codes(1), subject.engine, None, lambda text: None)
    assert found.fault == "image 0: the engine hung after 77 cycles" and found.first is None and found.tensors == 0


@pytest.mark.slow
def test_trace_of_a_difference(here, capsys):
    """The simulator runs the flow's program, and the network has another bias: the waveform is around the command."""
    network = Network.load("flow/network.npz")
    bias = network.nodes[0].bias + (4 << network.nodes[0].shift)      # of every channel: some are always off
    changed(network, "conv", bias=bias).save("moved.npz")
    assert diff("flow", "--network", "moved.npz", "--program", "flow/program.alloy", "--from", "rtl", "--trace",
                "moved.fst", "--json", "moved.json") == 1
    first = json.loads((here / "moved.json").read_text())["stages"]["rtl"]["first"]
    assert (first["layer"], first["command"]["opcode"]) == ("conv", "CONV")
    assert changes(here / "moved.fst")
    assert "first difference: image 0: layer conv: tensor conv" in capsys.readouterr().out
