"""Fake quantization, import and export."""

from itertools import combinations_with_replacement

from hypothesis import HealthCheck, given, settings, strategies as st
import numpy as np
import pytest
import torch
from torch import nn

from examples import paths
from quant import QuantNet, Ratio, assign, example, fit_codebook, trace
from quant.__main__ import main
from quant.assign import relative_variance
from quant.integers import uncalibrated
from quant.levels import best_levels
from quant.ptq import reconstruct
from quant.rounding import rounded
from spec.errors import AlloyError
from spec.network import Network
from spec.numerics import Scheme, check_weights, nearest_level
from tests.quant.parity import same_as_fake


def calibrate(net, images):
    """Rounding to nearest, ranges from real images."""
    reconstruct(net, (images * 255).round().byte().numpy(), weights=False)


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
    calibrate(net, images)
    codes = torch.floor(images * 255 + 0.5).long().numpy()
    network, expected = same_as_fake(net, codes)
    assert all(node.bounds.shape == (len(node.weight), 2) for node in network.nodes if node.kind == "conv")
    logits = net.eval()(images)
    assert torch.equal(logits, (torch.from_numpy(expected[network.output])
                                - net.zeros[network.output]).flatten(1).float()
                       * float(net.step(network.output).detach()))


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 1000))
def test_every_scheme_is_exact(seed):
    rng = np.random.default_rng(seed)
    graph = trace(Small(seed), (2, 9, 8))
    convs = {layer.name: layer.weight.numpy() for layer in graph.weighted}
    net = QuantNet(graph, schemes={name: rng.choice([int(s) for s in Scheme], len(w)).astype(np.uint8)
                                   for name, w in convs.items()},
                   codebooks={name: fit_codebook(w) for name, w in convs.items()})
    calibrate(net, torch.rand(4, 2, 9, 8))
    same_as_fake(net, rng.integers(0, 256, (3, 2, 9, 8)))
    net.train()(torch.rand(2, 2, 9, 8)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_fitted_codebook_beats_four_bits():
    weight = np.random.default_rng(2).laplace(0, 1, (6, 8, 3, 3))
    book = fit_codebook(weight)
    assert len(book) <= 16 and np.abs(book.astype(int)).max() <= 119 and (np.diff(book) > 0).all()

    def error(scheme, book=None):
        flat = torch.from_numpy(weight).float().flatten(1)
        return float((flat - rounded(flat, np.full(len(flat), scheme), codebook=book)[1]).square().sum())
    assert error(Scheme.CODEBOOK, book) < error(Scheme.FIXED4)
    assert (fit_codebook(np.zeros((3, 2, 1, 1))) == 0).all()
    with pytest.raises(AlloyError, match="17 levels"):
        fit_codebook(weight, 17)


def test_filters_of_zeros_stay_zero_without_the_level():
    """A code book need not hold 0; a filter that has nothing else must not become noise."""
    weight = torch.randn(4, 20)
    weight[2] = 0
    values = rounded(weight, np.full(4, Scheme.CODEBOOK), codebook=np.array([-119, -40, 40, 119]))[1]
    assert values[2].abs().max() < 2e-3 * values.abs().max()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=9), st.integers(1, 4), st.sampled_from([None, 0, 3]))
def test_levels_are_the_best(counts, size, first):
    """Against every way to cut the values into cells, also where none is below the first level."""
    counts, given = np.array([0] * (first or 0) + counts), first is not None
    values = np.arange(len(counts))

    def loss(levels):
        return float((counts * np.abs(values[:, None] - np.array(levels)).min(1) ** 2).sum())

    def centres(borders):
        cells = [range(a, b) for a, b in zip((0, *borders), (*borders, len(counts)), strict=True)]
        return [first if given and not i else float(np.average(cell, weights=counts[cell]))
                for i, cell in enumerate(cells) if given and not i or counts[cell].any()]
    choices = [centres(borders) for k in range(size)
               for borders in combinations_with_replacement(range(len(counts) + 1), k)]
    least = min(loss(levels) for levels in choices if levels) if given or counts.any() else 0.0
    found = best_levels(counts, size, first=first)
    assert len(found) <= size and (np.diff(found) > 0).all()
    assert (len(found) == 0 and not counts.any()) or loss(found) == pytest.approx(least)


class Inverted(nn.Module):
    """An inverted residual of MobileNet-V2: depthwise convolution, ReLU6, addition without ReLU."""
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 6, 1), nn.BatchNorm2d(6), nn.ReLU6(), nn.Conv2d(6, 6, 3, 1, 1, groups=6),
                                  nn.ReLU6(), nn.Conv2d(6, 2, 1))

    def forward(self, x):
        return self.body(x) + x


def test_depthwise_and_relu6():
    torch.manual_seed(0)
    model, x = Inverted().eval(), torch.rand(3, 2, 9, 8)
    model.body[0].weight.data *= 20         # beyond 6
    net = QuantNet(trace(model, (2, 9, 8)), bits=8, ratio=Ratio(0, 0, 1))
    assert torch.allclose(net.tensors(x, quantized=False)[net.graph.output], model(x), atol=1e-4)
    calibrate(net, x)
    codes = np.round(x.numpy() * 255).astype(int)
    found = same_as_fake(net, codes)[1]
    real = (found[net.graph.output] - net.zeros[net.graph.output]) * float(net.step(net.graph.output).detach())
    assert np.abs(real - model(x).detach().numpy()).max() < 0.1 * float(model(x).detach().abs().max())


class Pools(nn.Module):
    """Padded max pool, average pool, one convolution used twice, a sum behind Identity."""
    def __init__(self):
        super().__init__()
        self.conv, self.max, self.avg = nn.Conv2d(2, 2, 3, 1, 1), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2)
        self.same = nn.Identity()

    def forward(self, x):
        x = self.max(self.conv(x))
        return self.avg(self.same(self.conv(x)) + x)


def test_layers_used_twice_and_pools():
    torch.manual_seed(0)
    model = Pools().eval()
    net, x = QuantNet(trace(model, (2, 9, 8))), torch.rand(3, 2, 9, 8)
    assert torch.allclose(net.tensors(x, quantized=False)[net.graph.output], model(x), atol=1e-5)
    calibrate(net, x)
    same_as_fake(net, np.random.default_rng(0).integers(0, 256, (3, 2, 9, 8)))


def test_folding_keeps_the_function():
    model = Small(3).eval()
    net = QuantNet(trace(model, (2, 9, 8)))
    x = torch.rand(5, 2, 9, 8)
    assert torch.allclose(net.tensors(x, quantized=False)[net.graph.output].flatten(1), model(x), atol=1e-5)


def test_eight_bits_follow_the_float_model():
    model = Small(4).eval()
    x = torch.rand(64, 2, 9, 8)
    net = QuantNet(trace(model, (2, 9, 8)), ratio=Ratio(0, 0, 1), bits=8)
    calibrate(net, x)
    real = model(x)
    assert float((net.eval()(x) - real).detach().abs().max()) < 0.1 * float(real.detach().abs().max())


def test_training_reaches_every_parameter():
    net = QuantNet(trace(Small(5), (2, 9, 8)))
    calibrate(net, torch.rand(4, 2, 9, 8))
    net.train()(torch.rand(4, 2, 9, 8)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@given(st.integers(1, 200), st.tuples(*[st.integers(0, 9)] * 3).filter(any))
def test_ratio_counts(filters, shares):
    counts = Ratio(*shares).counts(filters)
    assert counts.sum() == filters and (counts >= 0).all()
    assert all(c == 0 for c, s in zip(counts, shares, strict=True) if s == 0) or filters >= 8


def test_assignment_follows_relative_variance_and_ratio():
    random = np.random.default_rng(0)
    weight = random.normal(0, 1, (20, 4, 3, 3)) ** random.choice([1, 3, 5], (20, 1, 1, 1))
    weight /= np.abs(weight).max((1, 2, 3), keepdims=True)
    sized = weight * 2.0 ** random.integers(-4, 5, (20, 1, 1, 1))
    scheme, variance = assign(sized, Ratio(35, 60, 5)), weight.var((1, 2, 3))
    assert (scheme == Scheme.POT4).sum() == 7 and (scheme == Scheme.FIXED8).sum() == 1
    assert variance[scheme == Scheme.POT4].max() < variance[scheme != Scheme.POT4].min()


def test_filters_of_zeros_have_no_variance():
    weight = np.stack([np.resize(values, (3, 2, 2)) for values in ([0.0], [0.5], [-1e-30, 1e-30], [-7, 7])])
    assert relative_variance(weight).tolist() == pytest.approx([0, 0, 1, 1])


def test_best_scale_is_no_worse_than_the_full_range():
    weight = np.random.default_rng(1).normal(0, 1, (1, 100))
    full = np.abs(weight).max() / 7
    best = rounded(torch.from_numpy(weight).float(), np.array([Scheme.FIXED4]))[1].numpy()
    assert ((weight - best) ** 2).sum() <= ((weight - full * nearest_level(weight / full, Scheme.FIXED4)) ** 2).sum()


def test_network_file(tmp_path):
    network = uncalibrated(QuantNet(trace(Small(6), (2, 9, 8))))
    network.save(tmp_path / "n.npz")
    again = Network.load(tmp_path / "n.npz")
    codes = np.random.default_rng(0).integers(0, 256, (2, 2, 9, 8))
    assert all((a == b).all() for a, b in zip(network.codes(codes).values(), again.codes(codes).values(),
                                              strict=True))
    assert all(check_weights(w, Scheme(int(s))) for node in again.nodes if node.kind == "conv"
               for w, s in zip(node.weight, node.scheme, strict=True))
    data = (tmp_path / "n.npz").read_bytes()
    (tmp_path / "n.npz").write_bytes(data[:-200])
    with pytest.raises(AlloyError, match="not a whole Alloy network"):
        Network.load(tmp_path / "n.npz")


@pytest.mark.parametrize("model, words", [
    (nn.Sequential(nn.Conv2d(2, 4, 3), nn.Softmax(3), nn.Conv2d(4, 2, 1)), "layer 1 is softmax"),
    (nn.Sequential(nn.AdaptiveMaxPool2d(5)), "several sizes")])
def test_unsupported_layers(model, words):
    with pytest.raises(AlloyError, match=words):
        trace(model, (2, 9, 8))


def _model(forward, **modules):
    """A model of ``modules`` whose forward is ``forward(model, x)``."""
    class Model(nn.Module):
        def forward(self, x):
            return forward(self, x)
    model = Model()
    for name, module in modules.items():
        model.add_module(name, module)
    return model


def _conv():
    return nn.Conv2d(2, 2, 1)


def _read_before_the_sum(m, x):
    y = m.a(x)
    return m.c(y) + (y + torch.relu(m.b(x)))


@pytest.mark.parametrize("model, words", [
    (_model(lambda m, x: m.bn(m.a(x)), a=_conv(), bn=nn.BatchNorm2d(2, track_running_stats=False)), "is not supported"),
    (_model(lambda m, x: (m.a(x), x), a=_conv()), "return one tensor"),
])
def test_what_would_change_the_function_is_refused(model, words):
    with pytest.raises(AlloyError, match=words):
        trace(model, (2, 9, 8))


@pytest.mark.parametrize("model", [
    _model(_read_before_the_sum, a=_conv(), b=_conv(), c=_conv()),
    _model(lambda m, x: torch.add(m.a(x), x, alpha=2), a=_conv()),
    _model(lambda m, x: m.bn(m.a(x) + x), a=_conv(), bn=nn.BatchNorm2d(2)),
    _model(lambda m, x: m.relu(m.a(x)), a=_conv(), relu=nn.Sigmoid())])
def test_what_no_convolution_takes(model):
    """It gets a layer of its own, and computes what the model does."""
    images = torch.randn(3, 2, 9, 8)
    model.eval()
    graph = trace(model, (2, 9, 8))
    assert len(graph.layers) > len(graph.weighted)
    torch.testing.assert_close(graph.tensors(images)[graph.output], model(images), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_shipped_example(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "n.npz")]) == 0
    lines = dict(line.split()[1:3] for line in capsys.readouterr().out.splitlines() if line.startswith("accuracy"))
    real, integer = (float(lines[k].rstrip("%")) for k in ("float", "integer"))
    assert real >= 92 and integer >= real - 1
    assert (tmp_path / "n.npz").exists()


@pytest.mark.slow
def test_shipped_network_without_training_code():
    loaded = example.load("fashion_mnist")
    network, images, labels = loaded.quantized(report=None), loaded.images, loaded.labels
    assert network.tensors[network.input].shape == images.shape[1:] == (1, 28, 28)
    assert images.min() >= 0 and images.max() <= 255
    assert (network.run(images[:100]).argmax(1) == labels[:100]).mean() > 0.8
    for node in network.nodes:
        if node.kind == "conv":
            assert {Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8} == {Scheme(int(s)) for s in node.scheme}


def test_damaged_images(tmp_path):
    for name in ("float.npz", "training.npz", "images.npz"):
        (tmp_path / name).write_bytes((paths("fashion_mnist")[0].parent / name).read_bytes())
    (tmp_path / "images.npz").write_bytes((tmp_path / "images.npz").read_bytes()[:1000])
    with pytest.raises(AlloyError, match="truncated"):
        example.load("fashion_mnist", tmp_path)
    np.savez(tmp_path / "images.npz", images=np.zeros((2, 1, 28, 28), np.uint8), labels=np.zeros(3, np.uint8))
    with pytest.raises(AlloyError, match="one label for each image"):
        example.load("fashion_mnist", tmp_path)


def test_output_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--out", str(tmp_path / "file" / "n.npz")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "cannot be written" in error


def test_truncated_weights(tmp_path, capsys):
    data = paths("fashion_mnist")[0].read_bytes()
    (tmp_path / "w.npz").write_bytes(data[:len(data) // 2])
    with pytest.raises(AlloyError, match="truncated"):
        example.load_float(None, tmp_path / "w.npz")
    assert main(["--example", "nothing", "--out", str(tmp_path / "n.npz")]) == 2
    assert "there is no example" in capsys.readouterr().err and not (tmp_path / "n.npz").exists()
