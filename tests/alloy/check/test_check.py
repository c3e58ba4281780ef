"""``alloy check``: every refusal in one walk, each with its place and a way out; what it takes; a documented form."""

from dataclasses import fields, replace
import json
from pathlib import Path
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import boards
from alloy.check import SCHEMA, Request, look
from alloy.check.__main__ import main
from alloy.check.report import Finding, Fit, Layer, Performance, Report, Risk
from compiler import compile
from quant import QuantNet, trace
from quant.capture import Apply
from quant.imports import examine
from quant.recipes import RECIPES, Request as Wish, VARIANTS, outline, variant
from quant.sensitivity import collect
from quant.sketch import SketchNet, sketch
from sim.estimate import layer_cycles
from spec.config import EngineConfig
from spec.errors import AlloyError, Unsupported

ROOT = Path(__file__).resolve().parents[3]
TINY = EngineConfig(name="tiny", ic=4, pixels=2, dsp_filters=2, lut_filters=1, dsp_device="dsp48e1", act_depth=64,
                    weight_depth=32, param_depth=4, tap_depth=16, ports=1, port_bits=64, addr_bits=32)


class Clean(nn.Module):
    """What everything supports."""

    def __init__(self):
        super().__init__()
        self.a, self.n, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1)
        self.l = nn.Linear(8, 5)

    def forward(self, x):
        x = F.relu(self.n(self.a(x)))
        return self.l(F.relu(self.b(x) + x).mean((2, 3)))


class Broken(Clean):
    """Several things that nothing supports, each in a line of its own, and layers that only depend on them."""

    def forward(self, x):
        x = F.relu(self.a(x))
        x = x.cumsum(1)             # line A
        x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        x = F.relu(self.b(x))
        x = F.gumbel_softmax(x, dim=1) if self.training else torch.logcumsumexp(x, 1)     # line B
        x = F.relu(self.b(x))
        x = x.transpose(0, 1).sort(0)[0].transpose(0, 1)    # line C
        x = self.b(x)
        return self.l(x.mean((2, 3)))


def ask(model, shape=(3, 8, 8), config=None, recipe="alloy", images=None):
    board = None if config else boards.get("zcu102")
    return look(Request("m", model.eval(), shape, board, config or board.config, recipe, variant(recipe), images))


def line(text):
    """Number of the line with this comment."""
    return next(n for n, row in enumerate(Path(__file__).read_text().splitlines(), 1) if row.endswith(f"# {text}"))


def test_every_refusal_in_one_walk():
    report = ask(Broken())
    found = [(one.operation, one.line) for one in report.refused]
    a, b, c = (line(f"line {name}") for name in "ABC")
    assert found == [("cumsum", a), ("logcumsumexp", b), (None, c), ("sort", c)]
    assert {(one.file, one.stage) for one in report.refused} == {(Path(__file__).name, "model")}
    assert all(one.reason and one.rewrite for one in report.refused)
    assert "mixes images" in report.refused[2].reason
    assert (report.fit, report.performance, report.accepted) == (None, None, False)


def test_trace_names_the_first_and_counts_the_others():
    with pytest.raises(Unsupported, match=r"^layer cumsum .*; 3 more things are not supported either, alloy check"):
        trace(Broken(), (3, 8, 8))
    with pytest.raises(AlloyError, match=r"layer cumsum .* are supported$"):
        trace(nn.Sequential(nn.Conv2d(3, 4, 1), type("C", (nn.Module,), {"forward": lambda _, x: x.cumsum(1)})()),
              (3, 4, 4))


def test_nothing_is_blamed_that_only_depends():
    """Kind: layers behind a value of unknown layout, several values or another number of images."""
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.c = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x):
            one, two = torch.sort(self.c(x), 1)
            one = one.reshape(-1, 8, 8, 4).permute(0, 3, 2, 1)
            x = F.relu(self.c(one + two))[:, :3]
            return x.cummax(1)[0], self.c(F.max_pool2d(self.c(one), 2)).flip(0)
    report = ask(Odd(), (4, 8, 8))
    assert [one.operation for one in report.refused] == ["sort", "cummax", None, None]
    assert "mixes images" in report.refused[2].reason
    assert report.refused[-1].layer is None and "several values" in report.refused[-1].reason


class Last(nn.Module):
    """A block of ConvNeXt: what is not supported keeps the channels last, as the linear layers behind it want them."""

    def __init__(self):
        super().__init__()
        self.n, self.a, self.b = nn.LayerNorm(4), nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x):
        return x + self.b(F.gelu(self.a(self.n(x.permute(0, 2, 3, 1))))).permute(0, 3, 1, 2)


class Tokens(nn.Module):
    """A transformer's block, on pixels as tokens."""

    def __init__(self):
        super().__init__()
        self.attention, self.n = nn.MultiheadAttention(4, 2, batch_first=True), nn.LayerNorm(4)
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = self.n(x) * 0.5 + x
        return (x + self.b(F.relu(self.a(x)))).transpose(1, 2).unflatten(2, (4, 6))


@pytest.mark.parametrize("model, expected", [
    (Last(), [("n", "layer_norm")]),
    (Tokens(), [("attention", "scaled_dot_product_attention"), ("n", "layer_norm")])])
def test_layouts_behind_what_is_not_supported(model, expected):
    """Layers that would take what it makes, the channels first or last, are not blamed; nor is one call for several
    reasons."""
    assert [(one.layer, one.operation) for one in ask(model, (4, 4, 6)).refused] == expected


def test_causes_behind_what_is_not_supported():
    """What no layout would make readable stays listed."""
    class Model(Last):
        def forward(self, x):
            x = self.n(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return F.adaptive_max_pool2d(x.flip(0), 5)
    report = ask(Model(), (4, 4, 4))
    assert [one.operation for one in report.refused] == ["layer_norm", None, None]
    assert "mixes images" in report.refused[1].reason and "several sizes" in report.refused[2].reason


@pytest.mark.parametrize("model, shape, words", [
    (Clean(), (4, 8, 8), "cannot run on images of 4x8x8"),
    (type("Branch", (Clean,), {"forward": lambda self, x: Clean.forward(self, x if x.sum() > 0 else -x)})(), (3, 8, 8),
     "cannot be traced")])
def test_the_model_as_a_whole(model, shape, words):
    report = ask(model, shape)
    assert [one.layer for one in report.refused] == [None] and words in report.refused[0].reason
    assert report.refused[0].rewrite


def test_accepted_networks_have_been_compiled():
    report = ask(Clean())
    graph = examine(Clean().eval(), (3, 8, 8))[0]
    network, plan, refused = sketch(graph, VARIANTS["alloy"], boards.get("zcu102").config)
    cycles = layer_cycles(network, "zcu102")
    assert report.accepted and refused == []
    assert [(x.name, x.cycles) for x in report.performance.layers] == [(n, round(c)) for n, c in cycles.items()]
    assert report.performance.fps == round(150e6 / report.performance.cycles, 1)
    assert report.fit.weights == sum(layer.weight.numel() for layer in graph.weighted)
    program = compile(network, boards.get("zcu102").config)
    assert (report.fit.image_bytes, report.fit.window_bytes) == (len(program.image), program.window_size)
    assert report.performance.macs == sum(node.macs(network) for node in network.nodes)


@pytest.mark.parametrize("recipe", sorted(VARIANTS))
def test_sketched_weights(recipe):
    """Of all number systems: 32 bits are near enough to find those that the quantizer finds with 64."""
    graph = examine(Clean().eval(), (3, 8, 8))[0]
    config = boards.get("zcu102").config
    plan = outline(VARIANTS[recipe].recipe, Wish(graph, {}, config, VARIANTS[recipe].options, None))
    net = SketchNet(graph, config, schemes=plan.schemes, codebooks=plan.codebooks, bits=plan.bits)
    for step in net.steps.parameters():
        step.data.fill_(0.0)
    for layer in graph.weighted:
        found, exact = net.integers(layer), QuantNet.integers(net, layer)
        assert np.abs(exact).max() > 0 and np.mean(found != exact) < 0.01


@pytest.mark.parametrize("config", [TINY, replace(TINY, act_depth=8, ic=1)])
def test_what_is_not_the_model_is_not_reported(monkeypatch, config):
    """The layers run beside the model while they are compiled: whatever the compiler says of them, nothing else than
    the difference counts."""
    right = Apply.apply
    monkeypatch.setattr(Apply, "apply", lambda op, *x: 1.01 * right(op, *x))
    report = ask(Clean(), config=config)
    one, = report.refused
    assert one.stage == "model" and one.layer == "a" and "computes something else" in one.reason
    assert report.fit is None and report.performance is None


@pytest.mark.parametrize("change, words, limit", [
    ({"weight_depth": 4, "ic": 1}, "channel groups", "weight_depth 4"),
    ({"tap_depth": 4}, None, None),
    ({"act_digit_bits": 3}, "two digits hold", "act_digit_bits 3"),
    ({"acc_width": 12}, None, None),        # the quantizer stays within
    ({"act_depth": 8, "ic": 1, "pixels": 2}, "does not fit the activation memories", "act_depth 8")])
def test_the_compiler_is_asked_of_every_layer(change, words, limit):
    """Each layer that an engine cannot run is named, not the first alone, whether the model is whole or not."""
    class Three(Clean):
        def forward(self, x):
            x = F.relu(self.a(x))
            x = F.relu(self.b(F.relu(self.b(x))))
            return self.l(x.mean((2, 3)))
    report = ask(Three(), config=replace(TINY, **change))
    assert report.accepted == (words is None)
    if words:
        assert len(report.refused) > 1 and {one.stage for one in report.refused} == {"compiler"}
        found = [one for one in report.refused if words in one.reason]
        assert len(found) > 1 and all(limit in one.limit and one.line for one in found)
    broken = ask(Broken(), config=replace(TINY, **change))
    assert ("compiler" in {one.stage for one in broken.refused}) == (words is not None)


def test_each_recipe_has_an_outline():
    """It takes what the recipe's plan takes: the same filters in each number system where the recipe says how many."""
    torch.manual_seed(0)
    graph, images = trace(Clean().eval(), (3, 8, 8), logits=True), torch.randn(32, 3, 8, 8)
    config = boards.get("zcu102").config
    statistics = collect(graph, images)
    for name in RECIPES:
        wish = Wish(graph, statistics, config, {}, images)
        plan, other = RECIPES[name].plan(wish), outline(name, Wish(graph, {}, config, {}, None))
        assert (plan.bits, plan.levels, plan.single_scale) == (other.bits, other.levels, other.single_scale)
        for layer in graph.weighted:
            one, two = (np.bincount(p.schemes[layer.name], minlength=12) for p in (plan, other))
            assert one.sum() == two.sum() and (name in ("alloy", "hbp") or (one == two).all()), name


def test_risks():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    with torch.no_grad():
        model[4].weight[0] *= 1000
    found = {risk.kind: risk.layers for risk in ask(model, images=20).risks}
    assert found == {"depthwise": ["_2"], "unequal_channels": ["_4"], "no_batch_norm": [], "few_images": [],
                     "dense_output": ["_4"]}
    assert {risk.kind for risk in ask(Clean(), images=500).risks} == set()
    assert "depthwise" not in {risk.kind for risk in ask(model, recipe="fixed8").risks}


def test_images_that_cannot_be_normalized():
    """What would end ``alloy quantize --mean`` later."""
    model = nn.Sequential(nn.MaxPool2d(2))
    assert [risk.kind for risk in ask(model).risks if "--mean" in risk.reason] == ["normalization"]
    assert not any("--mean" in risk.reason for risk in ask(Clean()).risks)


def test_form():
    """The JSON is what docs/check.md says, of accepted and refused models alike."""
    text = (ROOT / "docs" / "check.md").read_text()
    parts = {"": Report, "refused[].": Finding, "fit.": Fit, "performance.": Performance, "risks[]": Risk}
    for prefix, cls in parts.items():
        for name in (f.name for f in fields(cls)):
            assert f"`{prefix}{name}`" in text or f"`{name}`" in text, (prefix, name)
    assert all(f"`{f.name}`" in text for f in fields(Layer)) and f"| `schema` | {SCHEMA} |" in text
    for model in (Clean(), Broken()):
        form = json.loads(json.dumps(ask(model).form()))
        assert form["schema"] == SCHEMA and form["accepted"] == (not form["refused"])
        assert set(form) == {f.name for f in fields(Report)} | {"accepted"}


def test_program(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.py").write_text("from tests.alloy.check.test_check import Clean, Broken\n")
    assert main(["users:Clean", "--platform", "zcu102", "--size", "8", "--json"]) == 0
    form = json.loads(capsys.readouterr().out)
    assert form["accepted"] and form["shape"] == [3, 8, 8] and form["platform"] == "zcu102"
    assert main(["users:Clean", "--platform", "pynq-z2", "--shape", "3,9,7"]) == 0
    assert re.search(r"frames per second at 100 MHz \(batch 1, 1 image in flight", capsys.readouterr().out)
    assert main(["users:Broken", "--platform", "zcu102", "--size", "8"]) == 1
    out = capsys.readouterr().out
    assert out.count("not supported: ") == 4 and out.count("way out: ") == 4 and "4 things cannot run" in out


@pytest.mark.parametrize("words, text", [
    ("users:Clean --size 8", "an engine is needed"), ("users:Clean --platform zcu102", "size of the images is needed"),
    ("users:Clean --platform zcu102 --size 8 --shape 3,8,8", "say the same thing"),
    ("users:Clean --platform no --size 8", "there is no platform"),
    ("users:Clean --platform zcu102 --size 8 --recipe no", "there is no recipe"),
    ("users:Clean --platform zcu102 --shape 3,8", "is not CHANNELS,HEIGHT,WIDTH"),
    ("users:No --platform zcu102 --size 8", "No"), ("nowhere:No --platform zcu102 --size 8", "nowhere")])
def test_usage(capsys, tmp_path, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.py").write_text("from tests.alloy.check.test_check import Clean\n")
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and text in error
