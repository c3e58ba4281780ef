"""Fake quantization, import and export."""

from hypothesis import HealthCheck, given, settings, strategies as st
import numpy as np
import pytest
import torch
from torch import nn

from quant import QuantNet, Ratio, assign, trace
from quant.__main__ import main
from quant.assign import best_scale
from sim import golden
from spec.errors import AlloyError
from spec.network import Network
from spec.numerics import Scheme, check_weights


class Small(nn.Module):
    """Everything that can be imported, with sizes drawn by seed."""
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        a, b, k, s = (int(v) for v in (rng.integers(2, 9), rng.integers(2, 9), rng.choice([1, 3]), rng.integers(1, 3)))
        self.stem = nn.Sequential(nn.Conv2d(2, a, 3, 1, 1, bias=False), nn.BatchNorm2d(a), nn.ReLU(), nn.MaxPool2d(2))
        self.conv1, self.bn1, self.relu = nn.Conv2d(a, b, k, s, k // 2), nn.BatchNorm2d(b), nn.ReLU()
        self.conv2 = nn.Conv2d(b, b, 3, 1, 1)
        self.down = nn.Conv2d(a, b, 1, s)
        self.last = nn.ReLU()
        self.pool, self.flat, self.line = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(b, 3)
        for m in self.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.running_mean.normal_(0, 0.2)
                m.running_var.uniform_(0.5, 1.5)

    def forward(self, x):
        x = self.stem(x)
        y = self.conv2(self.relu(self.bn1(self.conv1(x)))) + self.down(x)
        return self.line(self.flat(self.pool(self.last(y))))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 1000), st.integers(2, 8), st.sampled_from(["1:1:1", "0:1:0", "1:0:0", "0:0:1", "35:60:5"]))
def test_fake_quantization_equals_golden(seed, bits, ratio):
    net = QuantNet(trace(Small(seed), (2, 9, 8)), ratio=Ratio.parse(ratio), bits=bits)
    images = torch.rand(4, 2, 9, 8)
    net.calibrate(images)
    codes = torch.floor(images * 255 + 0.5).long().numpy()
    network, exact = net.export(), net.eval().codes(codes)
    expected = golden.run(network, codes)
    assert set(exact) == set(expected)
    assert all((exact[name] == expected[name]).all() for name in expected)
    logits = net(images)
    assert torch.equal(logits, (torch.from_numpy(expected[network.output]) - net.zeros[network.output]).flatten(1).float()
                       * float(net.step(network.output).detach()))


def test_folding_keeps_the_function():
    model = Small(3).eval()
    net = QuantNet(trace(model, (2, 9, 8)))
    x = torch.rand(5, 2, 9, 8)
    assert torch.allclose(net._run(x, quantized=False)[net.graph.output].flatten(1), model(x), atol=1e-5)


def test_eight_bits_follow_the_float_model():
    model = Small(4).eval()
    x = torch.rand(64, 2, 9, 8)
    net = QuantNet(trace(model, (2, 9, 8)), ratio=Ratio(0, 0, 1), bits=8)
    net.calibrate(x)
    real = model(x)
    assert float((net.eval()(x) - real).abs().max()) < 0.1 * float(real.abs().max())


def test_training_reaches_every_parameter():
    net = QuantNet(trace(Small(5), (2, 9, 8)))
    net.calibrate(torch.rand(4, 2, 9, 8))
    net.train()(torch.rand(4, 2, 9, 8)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@given(st.integers(1, 200), st.tuples(*[st.integers(0, 9)] * 3).filter(any))
def test_ratio_counts(filters, shares):
    counts = Ratio(*shares).counts(filters)
    assert counts.sum() == filters and (counts >= 0).all()
    assert all(c == 0 for c, s in zip(counts, shares) if s == 0) or filters >= 8


def test_assignment_follows_variance_and_ratio():
    weight = np.random.default_rng(0).normal(0, 1, (20, 4, 3, 3)) * np.linspace(0.1, 2, 20)[:, None, None, None]
    scheme = assign(weight, Ratio(35, 60, 5))
    assert (scheme == Scheme.POT4).sum() == 7 and (scheme == Scheme.FIXED8).sum() == 1
    variance = weight.reshape(20, -1).var(1)
    assert variance[scheme == Scheme.POT4].max() < variance[scheme != Scheme.POT4].min()


def test_best_scale_is_no_worse_than_the_full_range():
    weight = np.random.default_rng(1).normal(0, 1, 100)
    from spec.numerics import nearest_level

    def error(scale):
        return ((weight - scale * nearest_level(weight / scale, Scheme.FIXED4)) ** 2).sum()
    assert error(best_scale(weight, Scheme.FIXED4)) <= error(np.abs(weight).max() / 7) + 1e-9


def test_network_file(tmp_path):
    network = QuantNet(trace(Small(6), (2, 9, 8))).export()
    network.save(tmp_path / "n.npz")
    again = Network.load(tmp_path / "n.npz")
    codes = np.random.default_rng(0).integers(0, 256, (2, 2, 9, 8))
    assert all((a == b).all() for a, b in zip(golden.run(network, codes).values(), golden.run(again, codes).values()))
    assert all(check_weights(w, Scheme(int(s))) for node in again.nodes if node.kind == "conv" for w, s in zip(node.weight, node.scheme))
    data = (tmp_path / "n.npz").read_bytes()
    (tmp_path / "n.npz").write_bytes(data[:-200])
    with pytest.raises(AlloyError, match="not a whole Alloy network"):
        Network.load(tmp_path / "n.npz")


@pytest.mark.parametrize("model, words", [
    (nn.Sequential(nn.Conv2d(2, 4, 3, groups=2)), "grouped"), (nn.Sequential(nn.Conv2d(2, 4, 3), nn.Sigmoid()), "Sigmoid"),
    (nn.Sequential(nn.ReLU()), "ReLU"), (nn.Sequential(nn.AvgPool2d(3, padding=1)), "padding")])
def test_unsupported_layers(model, words):
    with pytest.raises(AlloyError, match=words):
        trace(model, (2, 9, 8))


def test_shipped_example(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "n.npz")]) == 0
    lines = dict(line.split()[1:3] for line in capsys.readouterr().out.splitlines() if line.startswith("accuracy"))
    real, integer = (float(lines[k].rstrip("%")) for k in ("float", "integer"))
    assert real >= 92 and integer >= real - 1
    assert (tmp_path / "n.npz").exists()


def test_truncated_weights(tmp_path, capsys):
    from quant import example, qat
    data = (example.FOLDER / "fashion_mnist" / "qat.npz").read_bytes()
    (tmp_path / "w.npz").write_bytes(data[:len(data) // 2])
    with pytest.raises(AlloyError, match="truncated"):
        qat.load(None, tmp_path / "w.npz")
    assert main(["--example", "nothing", "--out", str(tmp_path / "n.npz")]) == 2
    assert "there is no example" in capsys.readouterr().err and not (tmp_path / "n.npz").exists()
