"""What synthesis writes computes what the Verilog does: the netlist of an engine, cells of the vendor in the place of
everything, runs networks in Verilator."""

from dataclasses import replace
from pathlib import Path
import re

import numpy as np
import pytest

from compiler import compile
from rtl.generate import generate
from rtl.tools import find_yosys
from rtl.tools.synth import prepare, run_yosys
from sim import verilator
from sim.torture.subject import CONFIG
from spec.children import Children
from spec.devices import family
from tests.networks import random_network

FAMILY = family("xc7")
SMALL = replace(CONFIG, portable_dsp=False, dsp_device=FAMILY.multiplier.name)
OWN = {"CARRY4", "LUT6_2"}
RAM = Path(__file__).with_name("ramb18e1.v")


def netlist(folder, config):
    """Verilog of the engine after every step that gives its resources, module by module."""
    prepare(folder)
    (folder / "alloy.v").write_text(generate(config)["alloy.v"].replace("module alloy(", "module top_module("))
    steps = [step.format(source="alloy.v", mapper=FAMILY.area) for step in FAMILY.steps]
    with Children() as children:
        wrong = run_yosys(children, "flat", "top.json", *steps, "write_verilog -noattr netlist.v", folder=folder)
    assert wrong is None, wrong
    return (folder / "netlist.v").read_text().replace("module top_module(", "module alloy(")


def with_models(text):
    """Cells of a netlist, and files of it with a model of each: those that a user gets with the engine, which know the
    modes that it uses itself, and for what the synthesis has mapped Yosys' own."""
    used = set(re.findall(r"^  ([A-Z][A-Z0-9_]+) (?:#\(|\S+ +\()", text, re.M))
    library = (find_yosys() / "share" / "xilinx" / "cells_sim.v").read_text()
    found = dict(re.findall(r"^module (\w+)\b(.*?^endmodule)", library, re.M | re.S))
    contents = "".join(f"parameter {name}_{n:02X} = 0;\n" for name, count in (("INIT", 64), ("INITP", 8))
                       for n in range(count))
    models = {"ramb18e1.v": RAM.read_text().replace("// more parameters", contents)}
    for name in used - OWN - {"RAMB18E1"}:
        body = re.sub("^ *specify.*?endspecify", "", found[name], flags=re.M | re.S)
        models[f"{name}.v"] = f"module MAPPED_{name}{body}\n"
        text = re.sub(rf"^  {name} ", f"  MAPPED_{name} ", text, flags=re.M)
    return used, {"alloy.v": text, **models}


@pytest.mark.slow
def test_a_netlist_runs_networks(tmp_path):
    text = netlist(tmp_path, SMALL)
    used, files = with_models(text)
    assert used >= {"FDRE", "LUT6", "CARRY4", "DSP48E1", "RAM32M", "RAMB18E1"}
    # Nothing is left but cells, modules of them, and wires.
    assert not re.search(r"\balways\b|^ *(reg|initial)\b", text, re.M)
    model = verilator.build(files, SMALL, tmp_path / "cache", optimize="-O0")
    rng, cycles = np.random.default_rng(5), 0
    for turn in range(6):
        network = random_network(rng, layers=3, max_size=6, max_channels=6)
        images = rng.integers(0, 256, (2, *network.tensors["image"].shape))
        program, expected = compile(network, SMALL, keep="all"), network.codes(images)
        result = model.run(program, images, stall=0.3 * (turn % 2), seed=turn)
        assert result.violation == ""
        for index, one in enumerate(result.runs):
            assert one.done and not one.hung and one.code == 0
            for name, data in zip(program.outputs, one.regions, strict=True):
                assert (program.unpack(name, data) == expected[name][index]).all(), (turn, name)
            cycles += one.cycles
    assert cycles > 10_000
