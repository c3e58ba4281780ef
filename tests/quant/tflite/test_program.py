"""TFLite files in the programs."""

import json

import numpy as np

from alloy.check.__main__ import main as check
from quant.models import load_model
from quant.tflite import load

from .build import Builder
from .test_networks import residual


def test_check(tmp_path, capsys):
    """A network that fits, and one of which three things are not supported."""
    builder = Builder()
    path = builder.save(tmp_path / "good.tflite", residual(builder, np.random.default_rng(0))[0])
    assert check([path, "--platform", "zcu102", "--json", str(tmp_path / "good.json")]) == 0
    assert "everything is supported" in capsys.readouterr().out
    found = load_model(path)
    assert (found.channels, found.size) == (3, (15, 13)) and load(path).shape == (3, 15, 13)
    builder = Builder()
    x = builder.input((1, 8, 8, 3), np.int8, 0.1)
    one = builder.op("SIN", [x], (1, 8, 8, 3), 0.1)
    two = builder.op("COS", [x], (1, 8, 8, 3), 0.1)
    path = builder.save(tmp_path / "bad.tflite", builder.op("ADD", [one, two], (1, 8, 8, 3), 0.1))
    assert check([path, "--platform", "zcu102", "--json", str(tmp_path / "bad.json")]) == 1
    text = capsys.readouterr().out
    assert "(SIN operator 0) is SIN, which is not supported" in text and "2 things cannot run" in text
    refused = json.loads((tmp_path / "bad.json").read_text())["refused"]
    assert [(one["layer"], one["place"]) for one in refused] == [("t_1", "SIN operator 0"), ("t_2", "COS operator 1")]
