"""Float against fake quantization: the layer and the channel that err, and by how much."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from alloy.diff import __main__ as main_of_diff
from alloy.diff.layers import compare_layers, values_of
from alloy.diff.model import ModelError, compare_model
from alloy.diff.subject import Subject
from alloy.diff.words import float_lines, worst_of
from quant.graph import FloatNet, compute
from quant.imports import trace
from quant.normalize import Normalization
from quant.quantize import float_graph
from tests.alloy.diff.faults import diff
from tests.user import trained


@pytest.mark.parametrize("layer, channel", [("conv", 4), ("fc", 1)])
def test_a_wrong_bias_or_weight_in_fake_quantization(subject, layer, channel):
    """The layer and the channel are named; the layers behind it have errors of their own as before."""
    net, codes = subject.net, subject.codes(4)
    before = {one.name: one for one in compare_layers(net, codes)[0]}
    with torch.no_grad():
        net.biases[layer][channel] += 8 * net.step(layer)
    errors, outputs = compare_layers(net, codes)
    worst = worst_of(errors)
    assert (worst.name, worst.channel) == (layer, channel)
    assert worst.own.relative > 3 * before[layer].own.relative and worst.own.sqnr < before[layer].own.sqnr - 6
    assert all(one.own == before[one.name].own for one in errors if one.name != layer)
    assert np.allclose(outputs, subject.outputs(4), atol=1e-5)
    real, fake, step, zero, top = values_of(net, layer, codes)
    assert abs(fake - real)[:, channel].mean() > step and real.shape == fake.shape and 0 <= zero < top


def test_errors_are_what_they_say(subject):
    """Against plain sums over the values, whatever the batches."""
    codes = subject.codes(4)
    errors, _ = compare_layers(subject.net, codes)
    for one in errors:
        real, fake = (value.astype(float) for value in values_of(subject.net, one.name, codes)[:2])
        noise = np.square(fake - real)
        assert one.own.sqnr == pytest.approx(10 * np.log10(np.square(real).sum() / noise.sum()), abs=1e-4)
        assert one.own.relative == pytest.approx(np.sqrt(noise.mean()) / real.std(), rel=1e-5)
        assert one.channels == pytest.approx(np.sqrt(noise.mean((0, 2, 3))) / real.std(), rel=1e-5)


def test_a_float_network_that_is_not_the_model(here, capsys):
    """Other weights in the file than those that were quantized."""
    model = trained()
    with torch.no_grad():
        model.fc.weight[2, 3] += 0.5
    torch.save(model.state_dict(), here / "other.pth")
    text = (here / "flow" / "flow.yaml").read_text()
    (here / "moved").mkdir()
    for name in ("network.npz", "state.pt", "program.alloy"):
        (here / "moved" / name).write_bytes((here / "flow" / name).read_bytes())
    (here / "moved" / "flow.yaml").write_text(text.replace("net.pth", "other.pth"))
    assert diff("moved", "--to", "float") == 1
    assert "the float network is not the model: their outputs are up to" in capsys.readouterr().out


@pytest.mark.parametrize("mean, padded", [
    ((0.2, 0.2, 0.2), True), ((128 / 255,) * 3, True), ((0.2, 0.4, 0.2), False), ((0.485, 0.456, 0.406), False)])
def test_zero_padding_that_is_not_the_mean(mean, padded):
    """0.2 is pixel 51. Only what lies at the border differs."""
    normalization = Normalization.of(mean, (0.25,) * 3, 3)
    graph = trace(nn.Conv2d(3, 2, 3, padding=1), (3, 6, 6))
    codes = torch.randint(0, 256, (4, 3, 6, 6))
    read = {False: normalization.real(codes), True: (codes - normalization.zero) / 255}
    one, two = (compute(net.layers[0], {net.input: read[folded]}) for folded, net in (
        (False, graph), (True, normalization.folded(graph))))
    assert torch.allclose(one, two, atol=1e-5) == normalization.padded == padded
    assert torch.allclose(one[..., 1:-1, 1:-1], two[..., 1:-1, 1:-1], atol=1e-5)


class Bordered(nn.Module):
    """Most of what it computes is at the border of the image."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=2), nn.Linear(4 * 6 * 6, 5)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).flatten(1))


class Pictures(list):
    """Of an array."""

    def some(self, which):
        return SimpleNamespace(codes=lambda: np.stack([self[at] for at in which]))


def job_of(model, mean, shape=(3, 4, 4)):
    """As much of a subject as the comparison with the model looks at."""
    images = np.random.default_rng(0).integers(0, 256, (6, *shape), np.uint8)
    job = SimpleNamespace(model=model.eval(), shape=shape, mean=mean, std=(0.229, 0.224, 0.225), test=Pictures(images),
                          options=SimpleNamespace(logits=None))
    network = SimpleNamespace(input="x", tensors={"x": SimpleNamespace(shape=shape, channels=3)})
    subject = Subject(None, job, None, network, None, None)
    normalization, graph = float_graph(model, shape, mean, job.std, None)
    outputs = FloatNet(graph)((torch.from_numpy(images).float() - normalization.zero) / 255).detach().numpy()
    return subject, outputs


@pytest.mark.parametrize("mean, padded", [((0.2, 0.2, 0.2), True), ((0.485, 0.456, 0.406), False)])
def test_padding_is_no_fault_of_the_network(mean, padded):
    """Kind: a known difference that reads like a fault, however large; a fault beside it is still one."""
    model = Bordered()
    subject, outputs = job_of(model, mean)
    found = compare_model(subject, 6, outputs)
    assert found.off < 1e-5 and (found.border == 0) == padded and found.pixel == (51 if padded else 114)
    assert padded or found.border > 0.05
    other = outputs.copy()
    other[3, 2] += 0.01 * outputs.std()
    assert compare_model(subject, 6, other).off == pytest.approx(0.01, rel=0.1)
    with torch.no_grad():
        model.conv.weight[1, 2, 0, 0] += 0.5
    assert compare_model(subject, 6, outputs).off > 0.01


def test_an_import_that_computes_something_else(monkeypatch):
    """Though the float network is that of the import."""
    model = Bordered()
    subject, outputs = job_of(model, (0.485, 0.456, 0.406))
    monkeypatch.setattr(Subject, "outputs", lambda self, count: 1.01 * outputs)
    assert compare_model(subject, 6, outputs).off > 0.01


def test_padding_that_is_off_is_said(here, capsys, monkeypatch):
    monkeypatch.setattr(main_of_diff, "compare_model", lambda *_: ModelError(0.0, 0.06, 114))
    assert diff("flow", "--to", "float") == 0
    assert ("outputs are up to 0.06 standard deviations from the model's: zero padding of the image is pixel 114, "
            "which is not the mean of every channel") in capsys.readouterr().out


def test_the_worst_of_none(subject):
    errors, _ = compare_layers(subject.net, subject.codes(1))
    exact = [replace(one, own=replace(one.own, sqnr=None, relative=None)) for one in errors]
    assert worst_of(exact) is None
    assert any(line.split()[1:3] == ["-", "-"] for line in float_lines(exact, None, 0.0, 1.0))
