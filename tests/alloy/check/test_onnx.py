"""``alloy check`` of ONNX files: every node that is not supported in one walk, as for models of PyTorch."""

import json

import numpy as np
import pytest

from alloy.check.__main__ import main
from quant.onnx import load
from spec.errors import AlloyError, Unsupported
from tests.quant.onnx.graphs import node, save

from .test_check import TINY

RNG = np.random.default_rng(0)
WEIGHTS = {"c.weight": RNG.standard_normal((4, 3, 3, 3)).astype(np.float32),
           "d.weight": RNG.standard_normal((4, 4, 3, 3)).astype(np.float32), "one": np.ones(4, np.float32),
           "wrong.weight": np.ones((4, 9, 1, 1), np.float32), "scales": np.float32([1, 1, 2, 2]),
           "axes": np.array([2, 3])}


def chain(*op_types):
    """Nodes one behind the other: (kind, further inputs, attributes)."""
    names = ["x", *(f"v{index}" for index in range(1, len(op_types))), "y"]
    return [node(op_type, [names[index], *more], [names[index + 1]], **attributes)
            for index, (op_type, more, attributes) in enumerate(op_types)]


CONV, NEXT = ("Conv", ["c.weight"], {}), ("Conv", ["d.weight"], {})
LRN, NORM = ("LRN", [], {"size": 3}), ("InstanceNormalization", ["one", "one"], {})
SOFTMAX, CUBIC = ("Softmax", [], {"axis": 1}), ("Resize", ["", "scales"], {"mode": "cubic"})
THING, DET, RELU = ("Thing", [], {"domain": "my.domain"}), ("Det", [], {}), ("Relu", [], {})
WRONG = ("Conv", ["wrong.weight"], {})


def listed(capsys, path, *more):
    """(exit status, [(operator or None, first word of the way out)], the report) of what the program refuses."""
    status = main([path, "--platform", "zcu102", "--json", *more])
    form = json.loads(capsys.readouterr().out)
    return status, [(one["layer"], one["operation"]) for one in form["refused"]], form


@pytest.mark.parametrize("op_types, expected", [
    ([CONV, LRN, NEXT, SOFTMAX, NORM], [("LRN_1", "LRN"), ("Softmax_3", "softmax"), (
        "InstanceNormalization_4", "InstanceNormalization")]),
    ([CONV, CUBIC, NEXT, SOFTMAX, RELU], [("Resize_1", None), ("Softmax_3", "softmax")]),
    ([CONV, SOFTMAX, THING, NEXT, DET, LRN], [("Softmax_1", "softmax"), ("Thing_2", "my.domain.Thing"), (
        "Det_4", "Det"), ("LRN_5", "LRN")]),
    ([THING, NEXT, RELU], [("Thing_0", "my.domain.Thing")]),
    ([CONV, NORM], [("InstanceNormalization_1", "InstanceNormalization")]),
    ([CONV, LRN, WRONG, RELU, NORM], [("LRN_1", "LRN"), ("wrong", None), (
        "InstanceNormalization_4", "InstanceNormalization")])])
def test_every_node(capsys, tmp_path, op_types, expected):
    path = save(tmp_path / "m.onnx", chain(*op_types), WEIGHTS, (3, 16, 16), domains=("my.domain",))
    status, found, form = listed(capsys, path)
    assert status == 1 and found == expected
    assert all(one["reason"] and one["rewrite"] and one["place"] for one in form["refused"])


def test_several_inputs_and_outputs(capsys, tmp_path):
    """Branches that end in what is not supported are read, and a node of several results is named once."""
    nodes = [*chain(CONV, RELU)[:1], node("TopK", ["v1", "k"], ["values", "places"], axis=1),
             node("Softmax", ["v1"], ["s"], axis=1), node("Conv", ["values", "e.weight"], ["e"]),
             node("Thing", ["e", "s"], ["y"], domain="my.domain")]
    weights = WEIGHTS | {"k": np.array([2]), "e.weight": np.ones((4, 2, 3, 3), np.float32)}
    path = save(tmp_path / "m.onnx", nodes, weights, (3, 16, 16), domains=("my.domain",))
    status, found, form = listed(capsys, path)
    assert found == [("TopK_1", "TopK"), ("Softmax_2", "softmax"), ("Thing_4", "my.domain.Thing")]
    assert form["layers"] == 2      # both convolutions were looked at by the compiler


def test_the_compiler_is_asked_of_the_others(capsys, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(TINY.to_dict() | {"act_depth": 8, "ic": 1}))
    path = save(tmp_path / "m.onnx", chain(CONV, LRN, NEXT), WEIGHTS, (3, 16, 16))
    assert main([path, "--config", str(config), "--json"]) == 1
    stages = [one["stage"] for one in json.loads(capsys.readouterr().out)["refused"]]
    assert stages[0] == "model" and "compiler" in stages


def test_quantized_files(capsys, tmp_path):
    """Operators behind what is not supported are named, too; what only depends on it is not blamed."""
    scales = {"s": np.float32(0.05), "z": np.uint8(100), "w": np.ones((3, 3, 1, 1), np.float32)}
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["d"]),
             node("Conv", ["d", "w"], ["c"]), node("QuantizeLinear", ["c", "s", "z"], ["e"]),
             node("DequantizeLinear", ["e", "s", "z"], ["f"]), node("LRN", ["f"], ["g"], size=3),
             node("Relu", ["g"], ["h"]), node("Det", ["h"], ["y"])]
    status, found, form = listed(capsys, save(tmp_path / "m.onnx", nodes, scales, (3, 4, 4)))
    assert status == 1 and found == [("Conv_2", None), ("LRN_5", "LRN"), ("Det_7", "Det")]
    assert "float weights" in form["refused"][0]["reason"]


def test_loading_names_the_first(tmp_path):
    path = save(tmp_path / "m.onnx", chain(CONV, LRN, NORM), WEIGHTS, (3, 16, 16))
    with pytest.raises(Unsupported, match=r"^layer LRN_1 .*; 1 more thing is not supported either, alloy check"):
        load(path)
    model = load(path, partly=True)
    assert len(model.refused) == 2 and model.module is not None
    with pytest.raises(AlloyError, match="does not depend on the image"):
        load(save(tmp_path / "m.onnx", [node("Relu", ["one"])], WEIGHTS, (3, 4, 4)), partly=True)


def test_roundings(capsys, tmp_path):
    """Of a quantized file: which nodes are not what the file says, by how much, and what becomes of that; nothing of
    those that are exact."""
    rng = np.random.default_rng(1)
    weights = {"s": np.float32(1 / 255), "z": np.uint8(0), "t": np.float32(0.11374), "u": np.float32(0.13193),
               "w1_s": rng.uniform(0.0005, 0.02, 8).astype(np.float32), "w2_s": np.full(4, 2 ** -6, np.float32),
               **{name: rng.integers(-127, 128, shape).astype(np.int8) for name, shape in (
                   ("w1", (8, 3, 5, 5)), ("w2", (4, 8, 1, 1)))}}
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["d"]),
             *(node("DequantizeLinear", [f"w{at}", f"w{at}_s"], [f"v{at}"], axis=0) for at in (1, 2)),
             node("Conv", ["d", "v1"], ["c"]), node("QuantizeLinear", ["c", "t", "z"], ["e"]),
             node("DequantizeLinear", ["e", "t", "z"], ["f"]), node("Conv", ["f", "v2"], ["g"]),
             node("QuantizeLinear", ["g", "u", "z"], ["h"]), node("DequantizeLinear", ["h", "u", "z"])]
    path = save(tmp_path / "m.onnx", nodes, weights, (3, 12, 12))
    assert main([path, "--platform", "zcu102", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["roundings"]
    expected = [one for one in load(path).findings if not one.exact]
    assert [one["layer"] for one in found] == [*(one.layer for one in expected), None] and found[0]["layer"] == "Conv_4"
    assert all(one["most"] == 1 and 0 < one["share"] < 0.01 and one["reason"].endswith(" of its sums") and one[
        "place"].startswith("Conv node ") for one in found[:-1])
    whole = found[-1]["reason"]
    assert whole.startswith("all layers together: the output ") and "on 8 random images" in whole
    main([path, "--platform", "zcu102"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("rounding: ")]
    assert sorted(lines) == sorted(f"rounding: {one['reason']}" for one in found)
