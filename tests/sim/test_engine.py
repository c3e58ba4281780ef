"""The engine in Python: built once, any program on any images, bit for bit as the golden model."""

from dataclasses import replace
import re

import numpy as np
import pytest

import alloy
from alloy import AlloyError, Engine, Network, compile
import boards
from sim.run import layer_network
from sim.verilator import Result, Run
from tests.networks import random_config, random_network
from tests.sim.verilator.test_engines import CONFIGS
from tests.verilated import shared_cache

CONFIG = random_config(np.random.default_rng(1), **CONFIGS["portable"])     # built for another test, too


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return Engine("pynq-z2", CONFIG, cache=shared_cache(tmp_path_factory), report=None)


def codes(network, count, seed=0):
    source = network.tensors[network.input]
    return np.random.default_rng(seed).integers(0, 1 << source.bits, (count, *source.shape))


def with_scale(network, scale=0.25, zero=1):
    """The same with an output that says what its codes stand for."""
    out = replace(network.tensors[network.output], scale=scale, zero=zero)
    return Network(name=network.name, input=network.input, output=network.output, nodes=network.nodes,
                   tensors={**network.tensors, out.name: out})


def test_programs_on_one_engine(engine):
    """Codes, real values and cycles of several networks; the simulator is built once."""
    built = engine.built
    for seed in (4, 5):
        network = with_scale(random_network(np.random.default_rng(seed), layers=3))
        images = codes(network, 3)
        program = compile(network, CONFIG, keep="all" if seed == 4 else ())
        found = engine.simulate(program, images)
        expected = network.codes(images)
        out = expected[network.output]
        assert (found.codes.reshape(out.shape) == out).all() and found.codes.dtype == np.int64
        assert (found.logits == network.logits(images)).all() and found.logits.dtype == np.float32
        assert all((value == expected[name]).all() for name, value in found.tensors.items())
        assert set(found.tensors) == (set(expected) - {network.input} if seed == 4 else {network.output})
        assert len(found.cycles) == 3 and found.fps == pytest.approx(100e6 / np.mean(found.cycles))
        assert engine.estimate(program) > program.command_count
        assert engine.built is built


def test_a_vector_has_no_map(engine):
    network = layer_network("1x1,4,5,1", CONFIG)
    found = engine.simulate(compile(network, CONFIG), codes(network, 2))
    assert found.codes.shape == (2, 5)
    with pytest.raises(AlloyError, match="keeps no scale of its output out, so its codes have no real values"):
        assert found.logits


@pytest.mark.parametrize("images, words", [
    (np.zeros((4, 6, 6), int), "are of shape (4, 6, 6): give at least one"), (np.zeros((0, 4, 6, 6), int), "(0, 4"),
    (np.zeros((1, 4, 7, 6), int), "is of shape (4, 7, 6), which is not that of the program's input"),
    (np.full((1, 4, 6, 6), 300), "holds no codes"), (np.zeros((1, 4, 6, 6)), "holds no codes")])
def test_images_that_are_refused(engine, images, words):
    program = compile(layer_network("3x3,4,4,6", CONFIG), CONFIG)
    with pytest.raises(AlloyError, match=re.escape(words)):
        engine.simulate(program, images)


def test_another_engine():
    """Before anything is built."""
    network = layer_network("3x3,4,4,6", CONFIG)
    with pytest.raises(AlloyError, match="was compiled for configuration"):
        Engine("pynq-z2", report=None).simulate(compile(network, CONFIG), codes(network, 1))
    with pytest.raises(AlloyError, match="there is no platform 'nowhere'"):
        Engine("nowhere")


def test_a_fault_of_the_engine(engine, monkeypatch):
    program = compile(layer_network("3x3,4,4,6", CONFIG), CONFIG)
    for result, words in ((Result([Run(0, True, 9, {}, [], [])], ""), "image 0: the engine hung after 9 cycles"),
                          (Result([], "no last beat"), "broke the bus protocol: no last beat")):
        monkeypatch.setattr(type(engine.built), "run", lambda *_, result=result, **__: result)
        with pytest.raises(AlloyError, match=words):
            engine.simulate(program, np.zeros((1, 4, 6, 6), int))


def test_objects_say_what_they_are(engine):
    """In a line, and as a table in notebooks; what a user called something is text there."""
    network = with_scale(layer_network("1x1,4,5,1", CONFIG))
    named = Network(name="<b>&", input=network.input, output=network.output, nodes=network.nodes,
                    tensors=network.tensors)
    program = compile(network, CONFIG)
    simulation = engine.simulate(program, codes(network, 2))
    for thing, words in ((named, "input 4 x 1 x 1"), (program, f"configuration {CONFIG.digest}"),
                         (boards.get("zcu102"), "clock 150 MHz"), (engine, "board pynq-z2"), (simulation, "images 2"),
                         (Engine(CONFIG, report=None), "filter slots 2 DSP, 1 LUT")):
        assert words in repr(thing) and len(repr(thing)) < 500 and "\n" not in repr(thing)
    for thing in (named, program, boards.get("zcu102"), engine, simulation, CONFIG):
        table = thing._repr_html_()
        assert table.count("<tr>") == table.count("</tr>") > 3 and "<b>&<" not in table
    assert "&lt;b&gt;&amp;" in named._repr_html_()


def test_scales_are_in_the_file(tmp_path):
    network = with_scale(layer_network("1x1,4,5,1", CONFIG))
    compile(network, CONFIG).save(tmp_path / "p")
    again = alloy.Program.load(tmp_path / "p")
    assert (again.scale, again.zero) == (0.25, 1) and again.real(np.array([1, 5])).tolist() == [0, 1]


def test_names_of_the_package():
    assert {"Engine", "compile", "quantize", "Network", "Program"} <= set(dir(alloy))
    with pytest.raises(AttributeError, match="has no attribute 'engine'"):
        assert alloy.engine
