"""Integers against fake quantization: the field, the filter and the first code."""

from dataclasses import replace
import json

import numpy as np
import pytest

from alloy.diff.integers import compare_codes, compare_numbers
from spec.network import Network
from tests.alloy.diff.faults import changed, diff
from tests.networks import random_network


def test_a_wrong_weight_in_the_saved_network(here, capsys):
    network = Network.load("flow/network.npz")
    weight = network.nodes[0].weight.copy()
    weight[4, 1, 2, 0] += 40 if weight[4, 1, 2, 0] < 40 else -40
    changed(network, "conv", weight=weight, bounds=np.zeros((0, 2), np.int64)).save("wrong.npz")
    assert diff("flow", "--network", "wrong.npz", "--to", "integer", "--json", "wrong.json") == 1
    shown, result = capsys.readouterr().out, json.loads((here / "wrong.json").read_text())
    right = network.nodes[0].weight[4, 1, 2, 0]
    assert (f"layer conv: weight of filter 4, channel 1, row 2, column 0 is {weight[4, 1, 2, 0]}, fake quantization "
            f"has {right}") in shown
    assert result["different"] == ["integer"]
    first = result["stages"]["integer"]["codes"]["first"]
    assert (first["layer"], first["tensor"], first["channel"]) == ("conv", "conv", 4)
    assert shown.splitlines()[-1].endswith("integer: differ in layer conv")


@pytest.mark.parametrize("field, change", [("bias", lambda value, shift: value + (3 << shift)),
                                           ("mult", lambda value, shift: value // 2),
                                           ("shift", lambda value, shift: value - 1)])
def test_wrong_numbers(subject, field, change):
    """The layer, the field and the filter; every other layer is right, for it reads what the wrong one has made."""
    network, codes = subject.network, subject.codes(4)
    node = network.nodes[2]
    value = getattr(node, field)
    if isinstance(value, np.ndarray):
        new = value.copy()
        new[1] = change(value[1], node.shift)
    else:
        new = change(value, node.shift)
    wrong = changed(network, "fc", **{field: new})
    numbers = compare_numbers(subject.net, wrong)
    assert len(numbers) == 1 and numbers[0].startswith(f"layer fc: {field} ")
    assert isinstance(value, int) or f"of filter 1 is {new[1]}, fake quantization has {value[1]}" in numbers[0]
    found = compare_codes(subject.net, wrong, codes)
    assert (found.first.layer, found.first.image) == ("fc", 0) and found.equal == found.tensors - 1 == 2
    right = compare_codes(subject.net, network, codes)
    assert right.first is None and right.equal == 3 and compare_numbers(subject.net, network) == []
    place = found.first.image, found.first.channel, found.first.row, found.first.column
    assert found.first.found == wrong.codes(codes)["fc"][place] and found.first.expected == network.codes(codes)["fc"][
        place]


def test_another_network(subject):
    other = random_network(np.random.default_rng(3))
    assert "its layers are others than those of the model" in compare_numbers(subject.net, other)[0]
    short = replace(subject.network, nodes=[replace(node, name="gc") if node.name == "fc" else node
                                            for node in subject.network.nodes])
    assert compare_numbers(subject.net, short) == ["its layers are others than those of the model (fc)"]
