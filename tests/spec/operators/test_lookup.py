"""Tables: the node, what it refuses, and its program beside the golden model, behind what it is merged into or not."""

from dataclasses import replace

import numpy as np
import pytest

from compiler import compile
from sim import command_model
from spec.errors import AlloyError
from spec.network import Network
from spec.operators.lookup import Lookup
from tests.networks import random_config, random_network


def with_tables(seed, share=0.6):
    """A random network in which tables follow some of its tensors, and those that read them read the tables."""
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    tensors, nodes, named = dict(network.tensors), [], {}

    def looked_up(name):
        out = replace(tensors[name], name=f"{name}x", bits=int(rng.integers(1, 9)), zero=0)
        out = replace(out, zero=int(rng.integers(0, 1 << out.bits)) if rng.random() < 0.5 else 0)
        tensors[out.name] = out
        nodes.append(Lookup(name=out.name, input=name, output=out.name,
                            table=rng.integers(0, 1 << out.bits, 256).astype(np.uint8)))
        return out.name
    if rng.random() < 0.3:
        named["image"] = looked_up("image")
    for node in network.nodes:
        old = tensors[node.input]
        node = replace(node, input=named.get(node.input, node.input))
        new = tensors[node.input]
        if getattr(node, "op", None) == "max" and (old.bits, old.zero) != (new.bits, new.zero):
            node = replace(node, input=old.name)
        nodes.append(node)
        if rng.random() < share:
            named[node.output] = looked_up(node.output)
            if rng.random() < 0.3:      # a table behind a table
                named[node.output] = looked_up(named[node.output])
    return Network(name="tables", input="image", output=named.get(network.output, network.output), tensors=tensors,
                   nodes=[replace(node, bounds=np.zeros((0, 2), np.int64)) if hasattr(node, "bounds") else node
                          for node in nodes])


@pytest.mark.parametrize("seed", range(14))
def test_the_program_computes_the_codes(seed):
    network = with_tables(seed)
    rng = np.random.default_rng(seed + 100)
    config = random_config(rng, act_depth=512, acc_width=27)
    codes = rng.integers(0, 256, (1, *network.tensors["image"].shape))
    truth = network.codes(codes)
    for keep in ("all", ()):
        program = compile(network, config, keep=keep)
        got = command_model.run(program, config, codes[0])
        assert network.output in got
        for name, values in got.items():
            assert np.array_equal(values, truth[name][0]), name
        assert {layer.output for layer in program.layers} >= got.keys()


def test_the_file(tmp_path):
    network = with_tables(3)
    network.save(tmp_path / "network.npz")
    again = Network.load(tmp_path / "network.npz")
    codes = np.random.default_rng(0).integers(0, 256, (2, *network.tensors["image"].shape))
    assert np.array_equal(again.run(codes), network.run(codes))
    assert any(isinstance(node, Lookup) for node in again.nodes)


@pytest.mark.parametrize("table", [np.zeros(255, np.uint8), np.full(256, 8), np.full(256, -1), np.zeros((2, 128), int)])
def test_tables_that_are_none(table):
    network = with_tables(3)
    node = next(node for node in network.nodes if isinstance(node, Lookup))
    tensors = network.tensors | {node.output: replace(network.tensors[node.output], bits=3, zero=0)}
    nodes = [replace(n, table=table) if n is node else n for n in network.nodes]
    with pytest.raises(AlloyError, match="has a table that is not 256 codes of the 3 bits of its output"):
        Network(name="bad", input="image", output=network.output, tensors=tensors, nodes=nodes)


def test_engines_without_tables():
    network = with_tables(3)
    with pytest.raises(AlloyError, match="has a table for its codes, the configuration has none: raise tables"):
        compile(network, random_config(np.random.default_rng(0), tables=0, act_depth=512))
