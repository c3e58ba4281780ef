"""``alloy diff``: every comparison finds a fault that is planted, where it is planted, and none where there is none."""

from dataclasses import replace
import json

import pytest
import torch

from alloy.diff import __main__ as program
from alloy.diff.__main__ import main
from quant.kept import load_net
from quant.quantize import float_graph
from spec.errors import AlloyError
from tests.alloy.diff.faults import diff
from tests.alloy.folder import options


def test_nothing_differs(here, capsys):
    """From the folder of a flow, on the Verilated engine; a picture is written, and the result is all there."""
    assert diff("flow", "--compare", 5, "--picture", "errors.png", "--trace", "none.fst", "--json", "diff.json") == 0
    shown, result = capsys.readouterr().out, json.loads((here / "diff.json").read_text())
    assert "integers: 3 of 3 tensors equal" in shown and "RTL: 6 of 6 tensors equal, 2 images" in shown
    worst = max(result["stages"]["float"]["layers"], key=lambda one: one["own"]["relative"])["name"]
    last = f"float: layer {worst} has the largest error of its own; integer: equal; rtl: equal"
    assert shown.splitlines()[-1] == last
    stages = result["stages"]
    assert list(stages) == ["float", "integer", "rtl"] and result["different"] == [] and result["status"] == 0
    assert [layer["name"] for layer in stages["float"]["layers"]] == ["conv", "adaptive_avg_pool2d", "fc"]
    assert stages["float"]["images"] == 5 and stages["float"]["model_error"] < 1e-5
    assert 30 < stages["float"]["layers"][2]["own"]["sqnr"] < 60
    assert stages["integer"]["codes"]["first"] is None and stages["rtl"]["first"] is None
    assert (here / "errors.png").read_bytes().startswith(b"\x89PNG") and not (here / "none.fst").exists()


def test_without_a_flow_and_without_an_engine(here, capsys):
    """Float and integers alone, of a model that is quantized now; a picture as SVG."""
    (here / "few.yaml").write_text(options("mine_to_diff", calibration=20, count=6))
    assert diff("--options", "few.yaml", "--picture", "errors.svg") == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1].endswith(" has the largest error of its own; integer: equal")
    assert "<svg" in (here / "errors.svg").read_text()


@pytest.mark.parametrize("arguments, words", [
    ([], "no model is given"),
    (["flow", "--from", "fly"], "there is no comparison 'fly': choose float, integer, rtl"),
    (["flow", "--from", "rtl", "--to", "float"], "--from rtl comes after --to float"),
    (["flow", "--recipe", "ratio"], "--recipe ratio is that of the flow in flow: leave it out"),
    (["flow", "--picture", "e.txt"], "e.txt is no picture that can be written: name a file that ends with .png"),
    (["flow", "--picture", "e.png", "--from", "integer"], "--picture e.png is of the errors of float"),
    (["flow", "--trace", "e.fst", "--to", "integer"], "--trace e.fst is of a difference in RTL"),
    (["flow", "--network", "none.npz"], "there is no network file none.npz"),
    (["flow", "--program", "flow/network.npz"], "is not a whole Alloy program"),
    (["flow", "--picture", "flow/network.npz"], "is no picture"),
    (["flow/network.npz", "--images", "photos"], "is an integer network, of which there is no float one"),
    (["mine_to_diff:Net", "--images", "photos", "--size", "8", "--to", "rtl"], "an engine is needed: give --platform"),
    (["mine_to_diff:Net"], "there is a model and no images")])
def test_refusals(here, capsys, arguments, words):
    """One sentence, status 2, and nothing is written."""
    before = sorted(path.name for path in here.iterdir())
    assert diff(*arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and sorted(path.name for path in here.iterdir()) == before


def test_a_flow_that_has_not_come_far(here, capsys):
    (here / "begun").mkdir()
    (here / "begun" / "flow.yaml").write_text((here / "flow" / "flow.yaml").read_text())
    assert diff("begun", "--to", "integer") == 2
    error = capsys.readouterr().err
    assert "the flow in begun has not come to its integer network: run alloy flow --out begun" in error


def test_without_a_compiler(here, capsys, monkeypatch):
    """Float and integers are compared all the same; what was asked for by name is refused."""
    gone = [replace(thing, find=lambda: None) if thing.name == "C++ compiler" else thing for thing in program.THINGS]
    monkeypatch.setattr(program, "THINGS", gone)
    assert main(["flow"]) == 0
    shown = capsys.readouterr().out
    assert "RTL is not compared: C++ compiler is not here" in shown
    assert shown.splitlines()[-1].endswith("integer: equal")
    assert diff("flow", "--to", "rtl") == 2
    assert "RTL needs C++ compiler, which is not here" in capsys.readouterr().err


def test_what_a_flow_keeps(here, subject):
    """The network in PyTorch of another model is refused, and so is damage."""
    data = (here / "flow" / "state.pt").read_bytes()
    job = subject.job
    graph = float_graph(job.model, job.shape, job.mean, job.std, None)[1]
    for name, content in (("cut.pt", data[:len(data) // 2]), ("text.pt", b"no"), ("empty.pt", b"")):
        (here / name).write_bytes(content)
        with pytest.raises(AlloyError, match=f"{name} is not the whole file of this model's quantized network"):
            load_net(here / name, graph)
    values = torch.load(here / "flow" / "state.pt", weights_only=True)
    torch.save({**values, "format": 9}, here / "new.pt")
    with pytest.raises(AlloyError, match="new.pt has format 9 and this Alloy reads 1: quantize again"):
        load_net(here / "new.pt", graph)
    values["float"]["fc"]["weight"] = values["float"]["fc"]["weight"][:2]
    torch.save(values, here / "less.pt")
    with pytest.raises(AlloyError, match="layer fc has weights of 3x6x1x1, and those kept are 2x6x1x1"):
        load_net(here / "less.pt", graph)
    with pytest.raises(AlloyError, match="there is no file of a quantized network"):
        load_net(here / "none.pt", graph)
    net = load_net(here / "flow" / "state.pt", graph)
    assert all((one.form()[1][key] == other.form()[1][key]).all() for one, other in zip(
        net.export().nodes, subject.network.nodes, strict=True) for key in one.form()[1])
