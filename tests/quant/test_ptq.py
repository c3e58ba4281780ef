"""Post-training quantization: what is rounded, and that it is better than rounding to nearest."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from quant import QuantNet, Ratio, ptq, trace
from quant.graph import compute
from quant.ptq import columns, reconstruct
from quant.ranges import RULES, search_logits, search_range
from quant.rounding import Spread, round_weights, search_scales
from spec.errors import AlloyError
from spec.numerics import Scheme, levels
from tests.quant.parity import same_as_fake


def problem(seed, groups=1, filters=6, size=20, count=400):
    """Weights (G, F, K), schemes, scales and correlated columns (G, N, K)."""
    torch.manual_seed(seed)
    x = torch.randn(groups, count, size) @ torch.randn(groups, size, size) + 1
    weight = torch.randn(groups, filters, size)
    schemes = np.resize([int(s) for s in (Scheme.POT4, Scheme.FIXED4, Scheme.FIXED3, Scheme.FIXED8)],
                        groups * filters).astype(np.uint8)
    scale = search_scales(weight.reshape(-1, size), schemes, torch.ones(1, size)).reshape(groups, filters)
    return weight, schemes, scale, x


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("groups", [1, 3])
def test_compensation_beats_nearest(seed, groups):
    weight, schemes, scale, x = problem(seed, groups)
    rounded, before = round_weights(weight, scale, schemes, Spread.of(x.transpose(1, 2) @ x))
    nearest, again = torch.empty_like(weight), torch.empty_like(weight)
    for index, scheme in enumerate(schemes):
        g, f = divmod(index, weight.shape[1])
        table = torch.from_numpy(levels(Scheme(int(scheme)))).float()
        for out, real in ((rounded, None), (nearest, weight), (again, before)):
            if real is not None:
                out[g, f] = table[(real[g, f, :, None] / scale[g, f] - table).abs().argmin(1)] * scale[g, f]
            assert torch.isclose(out[g, f, :, None] / scale[g, f], table, atol=1e-4).any(1).all()

    def error(out):
        return float(((out - weight) @ x.transpose(1, 2)).square().mean())
    assert error(rounded) < 0.9 * error(nearest)
    assert torch.allclose(rounded, again)       # what training starts from rounds to the same


def test_columns_are_what_the_convolution_reads():
    conv = nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 1), groups=2)
    graph = trace(nn.Sequential(conv), (4, 7, 6))
    layer, x = graph.layers[0], torch.randn(3, 4, 7, 6)
    expected = (conv(x) - conv.bias[:, None, None]).permute(0, 2, 3, 1).reshape(-1, 2, 3)
    got = torch.einsum("gnk,gfk->ngf", columns(x, layer, torch.arange(len(expected))), layer.weight.reshape(2, 3, -1))
    assert torch.allclose(got, expected, atol=1e-5)


class Strange(nn.Module):
    """A dead filter, a constant filter, an input channel that is always zero, a depthwise layer and a residual."""
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b, self.c = nn.Conv2d(2, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Conv2d(8, 8, 1)
        with torch.no_grad():
            self.a.weight[0], self.a.bias[0], self.a.weight[1], self.a.bias[2] = 0, -1, 0.5, -100

    def forward(self, x):
        y = torch.relu(self.a(x))
        return torch.relu(self.c(torch.relu(self.b(y))) + y)


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("ratio", ["1:0:0", "0:1:0", "0:0:1", "35:60:5"])
def test_strange_layers(ratio, weights):
    graph = trace(Strange(), (2, 6, 6))
    net = QuantNet(graph, ratio=Ratio.parse(ratio), bits=8, input_zero=100)
    images = np.random.default_rng(0).integers(0, 256, (20, 2, 6, 6)).astype(np.uint8)
    images[:, 1] = 100
    reconstruct(net, images, weights=weights)
    network, found = same_as_fake(net, images)
    codes = found[network.output]
    float_out = Strange().eval()((torch.from_numpy(images).float() - 100) / 255).detach().numpy()
    error = (codes - network.tensors[network.output].zero) * float(net.step(network.output).detach()) - float_out
    assert np.abs(error).mean() < 0.15 * np.abs(float_out).mean()


def test_not_a_number_is_refused_with_the_layer():
    for value in (float("nan"), float("inf")):
        model = Strange()
        model.b.weight.data[3, 0, 1, 1] = value
        with pytest.raises(AlloyError, match="layer b has weights or biases that are NaN"):
            trace(model, (2, 6, 6))


def test_same_seed_same_network():
    images = np.random.default_rng(0).integers(0, 256, (300, 2, 9, 9)).astype(np.uint8)
    nets = []
    for _ in range(2):
        net = QuantNet(trace(Strange(), (2, 9, 9)))
        reconstruct(net, images)
        nets.append(net.export())
    assert all((a.weight == b.weight).all() and (a.bias == b.bias).all() and (a.mult == b.mult).all()
               for a, b in zip(nets[0].nodes, nets[1].nodes, strict=True))


def test_ranges():
    """min-max holds everything, a percentile all but the largest, least squares has the least error."""
    torch.manual_seed(0)
    value = torch.cat([torch.randn(50_000), torch.tensor([40.0, -3.0])])
    for zero, top in ((128, 255), (16, 31)):
        steps = {rule: search_range(value, value, zero, top, rule=rule) for rule in RULES}

        def error(step, zero=zero, top=top):
            return float(((torch.clamp(torch.floor(value / step + 0.5) + zero, 0, top) - zero) * step
                          - value).square().mean())
        assert steps["minmax"] == pytest.approx(40 / (top - zero)) and steps["percentile"] < steps["minmax"] / 5
        assert error(steps["mse"]) <= min(error(steps["minmax"]), error(steps["percentile"])) * 1.05
    assert search_range(torch.zeros(9), torch.zeros(9), 0, 31, rule="percentile") > 0


def test_unknown_range():
    with pytest.raises(AlloyError, match="no rule 'best' for ranges: choose mse, minmax, percentile"):
        reconstruct(QuantNet(trace(nn.Sequential(nn.Conv2d(1, 1, 1)), (1, 3, 3))),
                    np.arange(9, dtype=np.uint8).reshape(1, 1, 3, 3), ranges="best")


def test_mirrored_images_are_images_once_more():
    def quantized(images, mirror):
        net = QuantNet(trace(Strange(), (2, 6, 6)))
        reconstruct(net, images, mirror=mirror)
        return net.export().nodes

    def alike(a, b):
        return all((x.weight == y.weight).all() and (x.mult == y.mult).all() for x, y in zip(a, b, strict=True))
    images = np.random.default_rng(0).integers(0, 256, (20, 2, 6, 6)).astype(np.uint8)
    both = np.concatenate([images, images[..., ::-1]])
    mirrored = quantized(images, True)
    assert alike(quantized(both, False), mirrored) and not alike(quantized(images, False), mirrored)


def test_mirrored_images_are_held_out_together(monkeypatch):
    # 46 are no fives: a pair could be torn.
    images, seen = np.random.default_rng(0).integers(0, 256, (23, 2, 6, 6)).astype(np.uint8), []
    right = ptq.gram
    monkeypatch.setattr(ptq, "gram", lambda columns: seen.append(columns) or right(columns))
    for some in (images, images[..., ::-1].copy()):
        reconstruct(QuantNet(trace(Strange(), (2, 6, 6))), some, mirror=True)
    fitted, turned = (seen[at].square().sum((0, 2)).sort()[0] for at in (0, len(seen) // 2))
    assert len(fitted) == 36 * 2 * (23 - 5) and torch.allclose(fitted, turned)


def test_batches_change_nothing(monkeypatch):
    images = np.random.default_rng(1).integers(0, 256, (23, 2, 6, 6)).astype(np.uint8)
    x, layer = torch.from_numpy(images).float(), trace(Strange(), (2, 6, 6)).layers[0]
    picks = torch.randperm(23 * 36, generator=torch.Generator().manual_seed(0))[:300]
    whole = columns(x, layer, picks)
    nets = []
    for values in (ptq.VALUES, 5 * 2 * 36, 1):        # all images, five, one
        monkeypatch.setattr(ptq, "VALUES", values)
        assert torch.equal(columns(x, layer, picks), whole)
        net = QuantNet(trace(Strange(), (2, 6, 6)), bits=5)
        reconstruct(net, images)
        nets.append(net.export().codes(images)[net.graph.output])
    assert all(np.abs(nets[0] - other).max() <= 1 for other in nets[1:])        # sums of products in another order


def divergence(logits, step, zero, target):
    codes = torch.clamp(torch.floor(logits / step + 0.5) + zero, 0, 255)
    answers, exact = F.log_softmax((codes - zero) * step, 1), F.log_softmax(target, 1)
    ties = (codes == codes.amax(1, keepdim=True)).sum(1).gt(1).float().mean()
    return float(F.kl_div(answers, exact, log_target=True, reduction="batchmean")), ties


@pytest.mark.parametrize("power", [False, True])
def test_codes_of_logits_tell_classes_apart(power):
    torch.manual_seed(0)
    target = torch.randn(500, 200) * 4
    target[torch.arange(500), torch.randint(0, 200, (500,))] += 15 * torch.rand(500)
    step, zero = search_logits(target, 255, power=power)
    wide = (target.max() - target.min()) / 255
    wide = 2.0 ** np.ceil(np.log2(float(wide))) if power else wide
    loss, ties = divergence(target, step, zero, target)
    plain, more = divergence(target, wide, torch.round(-target.min() / wide), target)
    assert loss < 0.7 * plain and ties < more and (not power or float(np.log2(step)).is_integer())


def test_logits_that_are_all_alike():
    for value in (0.0, -3.0, 3.0):
        step, zero = search_logits(torch.full((4, 3), value), 255)
        assert step > 0 and 0 <= zero <= 255


class Sum(nn.Module):
    """A convolution whose output is added to another tensor."""
    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.a, self.b = nn.Conv2d(2, 8, 3, 1, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x):
        x = self.a(x)
        return self.b(x) + x


def test_errors_of_what_is_added_are_undone():
    """What can be told from the convolution's input: the mean error is left to the bias."""
    net, torch_random = QuantNet(trace(Sum(), (2, 8, 8)), ratio=Ratio(0, 0, 1)), torch.Generator().manual_seed(0)
    for step in net.steps.parameters():
        step.data.fill_(-7.0)
    layer, (x, exact) = net.graph.layers[1], (torch.rand(60, 8, 8, 8, generator=torch_random) for _ in range(2))
    given = exact - F.conv2d(x, 0.1 * torch.randn(8, 8, 1, 1, generator=torch_random)) - 1.0
    with torch.no_grad():
        rounded_weights = (ptq._quantize_layer(net, layer, x, x, residual, 60, torch.Generator().manual_seed(0), True)
                           for residual in (None, (exact, given)))
        alone, both = (layer.apply(torch, x, weight=weight) for weight in rounded_weights)
    goal = layer.apply(torch, x) + exact

    def error(out):
        return float((out + given - goal).var((0, 2, 3)).mean())
    assert error(both) < 0.1 * error(alone)


class Sums(nn.Module):
    """A convolution that only sums read, two of them, and others."""
    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.a, self.b, self.c, self.d, self.e = (nn.Conv2d(2, 8, 1), *(nn.Conv2d(8, 8, 1) for _ in range(4)))
        with torch.no_grad():
            self.b.bias[3], self.b.bias[4] = -300, 200

    def forward(self, x):
        x = torch.relu(self.a(x))
        once = self.b(x)
        return self.e(torch.relu(self.c(x) + once) + torch.relu(self.d(x) + once))


def test_sums_take_the_middle_of_what_they_add():
    """The network is the same, and each channel that only sums read is as far above 0 as below."""
    graph, images = trace(Sums(), (2, 6, 6)), np.random.default_rng(0).integers(0, 256, (20, 2, 6, 6)).astype(np.uint8)
    net = QuantNet(graph, ratio=Ratio(0, 0, 1), bits=8)
    before = {layer.name: layer.bias.clone() for layer in net.graph.layers}
    real, tensors = torch.from_numpy(images).float() / 255, {}
    reconstruct(net, images)
    tensors[net.graph.input], layers = real, {layer.name: layer for layer in net.graph.layers}
    for layer in net.graph.layers:
        tensors[layer.output] = compute(layer, tensors)
    assert torch.allclose(tensors[net.graph.output], Sums().eval()(real), rtol=1e-3, atol=1e-3)
    alone = tensors[layers["b"].output]
    least, most = alone.amin((0, 2, 3)), alone.amax((0, 2, 3))
    assert torch.allclose(least, -most, atol=1e-3) and most.min() > 0
    moved = before["b"] - layers["b"].bias
    assert moved[3] < -200 and moved[4] > 100
    for name in ("c", "d"):
        assert torch.allclose(layers[name].bias - before[name], moved, rtol=1e-5, atol=1e-4)
    assert all(torch.equal(layers[name].bias, before[name]) for name in ("a", "e"))
