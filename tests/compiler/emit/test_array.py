"""Commands of the array: it begins before all of an input that is loaded is there; which k-words are loaded, and how
filters are cut into tiles."""

from random import Random

import numpy as np
import pytest

from compiler import compile
from sim import command_model
from spec.commands import Opcode, unpack
from spec.operators.average_pool import AveragePool
from tests.compiler.graphs import engine, layer, network


@pytest.mark.parametrize("size", [(24, 24), (31, 9), (5, 40)])
def test_an_input_is_loaded_in_parts(size):
    """Only that of the first layer comes from DRAM; each part has commands of its own, that wait for its rows alone."""
    net = network({"image": (4, *size), "a": (4, *size), "out": (4, *size)},
                  *(layer(one, two, 4, 4, (3, 3), padding=(1, 1)) for one, two in (("image", "a"), ("a", "out"))))
    config = engine(act_depth=512)
    program = compile(net, config)
    found = [unpack(record) for record in program.commands]
    count = {tag: sum(c["opcode"] == Opcode.CONV and c["tag"] == tag for c in found) for tag in (0, 1)}
    loads = [at for at, c in enumerate(found) if c["opcode"] == Opcode.LOAD_ACT]
    first = next(at for at, c in enumerate(found) if c["opcode"] == Opcode.CONV)
    assert count[0] > 1 and count[1] == 1 and len(loads) > 1 and first < loads[-1]
    codes = np.random.default_rng(0).integers(0, 16, (1, 4, *size))
    assert (command_model.run(program, config, codes[0])["out"] == net.codes(codes)["out"][0]).all()


def compiled(net, config):
    """The commands of a network by opcode; its codes are those of the golden model."""
    program = compile(net, config)
    codes = np.random.default_rng(3).integers(0, 16, net.tensors[net.input].shape)
    found = command_model.run(program, config, codes, Random(1).randrange(100))
    expected = net.codes(codes[None])
    assert all((found[name] == expected[name][0]).all() for name in found)
    commands = [unpack(record) for record in program.commands]
    return {opcode: [c for c in commands if c["opcode"] == opcode] for opcode in Opcode}


@pytest.mark.parametrize("kernel, tap_depth, weight_depth", [(3, 128, 64), (4, 128, 4), (4, 5, 64)])
def test_words_that_all_taps_share_are_loaded_once(kernel, tap_depth, weight_depth):
    """An average: also where its words would not fit the buffer, or its taps come in parts."""
    config = engine(tap_depth=tap_depth, weight_depth=weight_depth)
    net = network({"image": (9, kernel, kernel), "out": (9, 1, 1)},
                  AveragePool(name="mean", input="image", output="out", kernel=(kernel, kernel), mult=256, shift=12,
                              hi=15))
    commands = compiled(net, config)
    assert all(c["shared"] for c in commands[Opcode.CONV])
    assert {c["count"] for c in commands[Opcode.LOAD_WEIGHTS]} == {commands[Opcode.CONV][0]["depth"]}


def test_words_that_differ_are_all_loaded():
    weight = np.arange(1, 10, dtype=np.int16).reshape(1, 1, 3, 3) % 7
    net = network({"image": (1, 3, 3), "a": (1, 3, 3), "out": (1, 1, 1)}, layer("image", "a", 1, 1),
                  layer("a", "out", 1, 1, weight=weight))
    commands = compiled(net, engine())
    assert not any(c["shared"] for c in commands[Opcode.CONV])
    assert [c["count"] for c in commands[Opcode.LOAD_WEIGHTS]] == [1, 9]


def test_filters_of_one_channel_each_read_one_group():
    """Two groups for each tap would take twice the cycles; where all channels are read, tiles take two groups."""
    rng = np.random.default_rng(1)
    deep = layer("image", "out", 8, 1, weight=rng.integers(-7, 8, (8, 1, 3, 3)).astype(np.int16), padding=(1, 1))
    whole = layer("image", "out", 8, 8, weight=rng.integers(-7, 8, (8, 8, 3, 3)).astype(np.int16), padding=(1, 1))
    for node, depth, straddles in ((deep, 1, False), (whole, 2, True)):
        convs = compiled(network({"image": (8, 5, 5), "out": (8, 5, 5)}, node), engine(lut_filters=0, dsp_filters=6)
                         )[Opcode.CONV]
        assert {c["depth"] for c in convs} == {depth} and any(c["straddle"] for c in convs) == straddles
