"""Scales: no value without effect decides one, outputs keep what counts in them, and multipliers are whole.

Kind: a value that cannot matter decides a range.
"""

import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from quant import QuantNet, Ratio, trace
from quant.equalize import equalize
from quant.integers import uncalibrated
from quant.ptq import reconstruct
from quant.ranges import search_logits
from quant.requantizer import requantizer
from quant.rounding import search_scales
from quant.sensitivity import collect, divergences
from spec.errors import AlloyError
from spec.numerics import Scheme


def photographs(count, channels=3, size=6, seed=0):
    """Smooth random images, uint8 (N, C, size, size)."""
    random = np.random.default_rng(seed)
    coarse = np.kron(random.normal(0, 50, (count, channels, size // 3 + 1, size // 3 + 1)), np.ones((1, 1, 3, 3)))[
        ..., :size, :size
    ]
    return np.clip(128 + coarse + random.normal(0, 10, coarse.shape), 0, 255).astype(np.uint8)


def quantized(model, images, *, logits=False, even=True, ratio=None, bits=5, **options):
    """(network in PyTorch, integer network, float outputs, quantized outputs), the last two (N, features)."""
    x = torch.from_numpy(images).float() / 255
    graph = trace(model, images.shape[1:], logits=logits)
    net = QuantNet(equalize(graph, x) if even else graph, ratio=ratio or Ratio(0, 1, 0), bits=bits)
    reconstruct(net, images, **options)
    with torch.no_grad():
        real = model.eval()(x).flatten(1)
    network, got = net.export(), net.eval()(x)
    codes = network.codes(images)[network.output].reshape(len(images), -1)
    assert np.allclose(
        (codes - net.zeros[net.graph.output]) * float(net.step(net.graph.output).detach()), got.numpy(), atol=1e-4
    )
    return net, network, real, got


def error(real, got):
    """Relative to how much the outputs differ from image to image."""
    return float((got - real).std() / real.std(0).mean())


def plain(dead=None, layer=2):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10)
    )
    if dead is not None:
        model[layer].bias.data[3] = dead
    return model


class Residual(nn.Module):
    def __init__(self, dead=None):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.d = nn.Conv2d(3, 16, 3, 1, 1), nn.Conv2d(16, 16, 3, 1, 1), nn.Conv2d(16, 16, 1)
        self.last = nn.Linear(576, 10)
        if dead is not None:
            self.b.bias.data[3], self.d.bias.data[4] = dead, dead

    def forward(self, x):
        x = torch.relu(self.a(x))
        return self.last(torch.flatten(torch.relu(self.b(x) + self.d(x)), 1))


@pytest.mark.parametrize("made, even", [
    (plain, True), (Residual, False), *(pytest.param(*case, marks=pytest.mark.slow)
                                        for case in ((plain, False), (Residual, True)))])
def test_the_bias_of_a_dead_channel(made, even):
    """-1e8 where ReLU makes 0 of it: as good as if the channel had -10."""
    images = photographs(64)
    small, huge = (quantized(made(dead), images, even=even) for dead in (-10.0, -1e8))
    assert min(int(node.mult.max()) for node in huge[1].nodes) > 1 << 12
    assert error(*huge[2:]) < 1.1 * error(*small[2:]) + 0.01


def test_the_weights_of_a_dead_channel():
    """A filter that is always off may be a million times as large as the others."""
    images, model = photographs(64), plain(-1e9)
    before = quantized(model, images, even=False)
    model[2].weight.data[3] *= 1e6
    after = quantized(model, images, even=False)
    assert torch.equal(before[2], after[2]) and error(*after[2:]) == pytest.approx(error(*before[2:]), rel=0.01)


@pytest.mark.parametrize("ratio, bits", [(Ratio(0, 1, 0), 5), (Ratio(0, 0, 1), 8), (Ratio(1, 0, 0), 5)])
def test_a_filter_of_zeros_takes_no_bits_of_the_others(ratio, bits):
    """Pruned filters beside small ones."""
    images, found = photographs(64), []
    for pruned in (False, True):
        model = plain()
        for index in (0, 2):
            for value in (model[index].weight, model[index].bias):
                value.data *= 1e-3
            model[index].weight.data[5] *= not pruned
        *_, network, real, got = quantized(model, images, even=False, ratio=ratio, bits=bits)
        found.append([max(node.mult[:5]).item().bit_length() for node in network.nodes])
    assert all(after >= before - 1 for before, after in zip(*found, strict=True)), found


def test_a_channel_that_nothing_reads():
    """Its filter is a hundred thousand times larger and the weights that read it are 0."""
    images, model = photographs(64), plain()
    model[2].weight.data[:, 3] = 0
    before = quantized(model, images)
    for value in (model[0].weight, model[0].bias):
        value.data[3] *= 1e5
    after = quantized(model, images)
    assert torch.equal(before[2], after[2]) and error(*after[2:]) == pytest.approx(error(*before[2:]))


@pytest.mark.parametrize("masked", [-1e4, -1e6, -1e9])
@pytest.mark.parametrize("one", [True, False])
def test_a_masked_class(masked, one):
    torch.manual_seed(0)
    front = [] if one else [nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU()]
    model, images = nn.Sequential(*front, nn.Flatten(), nn.Linear(108 if one else 576, 10)), photographs(128)
    model[-1].bias.data[4] = masked
    *_, real, got = quantized(model, images, logits=True, ratio=Ratio(0, 0, 1), bits=8)
    assert float((real.argmax(1) == got.argmax(1)).float().mean()) > 0.98 and not (got.argmax(1) == 4).any()


def test_logits_of_one_class_far_below():
    torch.manual_seed(0)
    logits = 3 * torch.randn(300, 10)
    step, zero = search_logits(logits, 255)
    logits[:, 7] = -1e7
    assert search_logits(logits, 255)[0] < 1.1 * step and 0 <= zero <= 255


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("weights", [True, False])
def test_weights_that_read_what_is_always_zero(weights, even):
    images, errors = photographs(128, 1, 8), []
    images[:, 0, 0] = 0
    for factor in (1, 10, 1000):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        model[1].weight.data[:, :8] *= factor
        errors.append(error(*quantized(model, images, weights=weights, even=even)[2:]))
    assert max(errors) < 1.05 * errors[0]


def test_scale_of_a_filter_whose_largest_weights_hardly_matter():
    torch.manual_seed(0)
    weight, importance = torch.randn(4, 60), torch.ones(4, 60)
    weight[:, :3] *= 20
    importance[:, :3] = 1e-5
    found = search_scales(weight, np.full(4, Scheme.FIXED4), importance)
    assert (found < 0.15 * weight.abs().amax(1) / 7).all()


@pytest.mark.parametrize("size", [1e-12, 1e-3, 1e12])
def test_scales_do_not_depend_on_the_size_of_weights(size):
    torch.manual_seed(0)
    weight, importance = torch.randn(5, 40), torch.rand(5, 40)
    one, two = (search_scales(weight * s, np.full(5, Scheme.FIXED4), importance) for s in (1.0, size))
    assert torch.allclose(two / size, one, rtol=1e-4)


@pytest.mark.parametrize("factor", [1e20, 1e25])
def test_values_beyond_what_can_be_squared(factor):
    model, images = plain(), photographs(16)
    model[0].weight.data[:8] *= factor
    x = torch.from_numpy(images).float() / 255
    for call in (
        lambda: equalize(trace(model, (3, 6, 6)), x),
        lambda: collect(trace(model, (3, 6, 6)), x),
        lambda: reconstruct(QuantNet(trace(model, (3, 6, 6))), images),
    ):
        with pytest.raises(
            AlloyError,
            match=r"(layer _0 makes values of up to .*scale its filters|NaN or infinite values of random images)",
        ):
            call()


def test_filters_of_very_different_size():
    model, images = plain(), photographs(64)
    for values in (model[0].weight, model[0].bias):
        values.data[:8] *= 1e10
    model[2].weight.data[:, :8] /= 1e10
    assert error(*quantized(model, images)[2:]) < 0.5


# -- outputs
# -------------------------------------------------------------------------------------------------------------


def autoencoder(images):
    """A linear autoencoder of 16 principal components, through a ReLU that it stays above."""
    flat = torch.from_numpy(images).float().flatten(1) / 255
    mean = flat.mean(0)
    basis = torch.linalg.svd(flat - mean, full_matrices=False)[2][:16]
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 32), nn.ReLU(), nn.Linear(32, 108))
    with torch.no_grad():
        model[1].weight.copy_(torch.cat([basis, -basis]))
        model[1].bias.copy_(torch.cat([-basis @ mean, basis @ mean]))
        model[3].weight.copy_(torch.cat([basis.T, -basis.T], 1))
        model[3].bias.copy_(mean)
    return model


def ranking(inlier, outlier):
    """Area under the curve: how often an outlier's error is the larger one."""
    return float((outlier[:, None] > inlier[None]).float().mean())


def test_an_autoencoder_ranks_by_its_error():
    """Outputs that are no logits keep a small error, unless the user says that they are logits."""
    images = photographs(256, seed=1)
    model, images = autoencoder(images[:200]), images
    others = np.random.default_rng(2).integers(60, 200, (56, 3, 6, 6)).astype(np.uint8) // 2 + images[200:] // 2
    areas = {}
    for logits in (False, True):
        net, *_ = quantized(model, images[:200], logits=logits, ratio=Ratio(0, 0, 1), bits=8)

        def errors(some, function):
            x = torch.from_numpy(some).float() / 255
            with torch.no_grad():
                return (function(x).flatten(1) - x.flatten(1)).square().mean(1)

        areas[logits] = ranking(*(errors(some, net) for some in (images[200:], others)))
        real = ranking(*(errors(some, model) for some in (images[200:], others)))
    assert areas[False] > real - 0.02 and real > 0.8


def test_a_regression_keeps_its_largest_values():
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(108, 16), nn.ReLU(), nn.Linear(16, 108)), photographs(100)
    model[3].weight.data *= 30
    found = {}
    for logits in (False, True):
        net, network, real, got = quantized(model, images, ratio=Ratio(0, 0, 1), bits=8, logits=logits)
        found[logits] = error(real, got), float((got - real).abs().max() / real.std())
    assert net.bits[net.graph.output] == 8 and found[False][0] < 0.05 and found[False][1] < 0.2
    assert found[True][1] > 2 * found[False][1], "or the test tries nothing"


def test_sensitivity_of_outputs_that_are_no_classes():
    """The mean squared error in units of the outputs' spread, whatever constant is added to all of them."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 5)), torch.rand(40, 3, 2, 2)
    graph = trace(model, (3, 2, 2))
    changed = graph.layers[1].weight * 1.1
    found = divergences(graph, x, [(graph.layers[1].name, changed, None)])[0]
    with torch.no_grad():
        exact = model(x[-10:])
        moved = exact + 0.1 * (exact - model[3].bias)
    assert found == pytest.approx(float(((moved - exact) / exact.std()).square().sum() / 2 / 10), rel=1e-3)
    gain = collect(graph, x)[graph.layers[1].name].gain
    with torch.no_grad():
        assert gain.mean() == pytest.approx(float(1 / model(x).var()), rel=0.3)


# -- multipliers
# ---------------------------------------------------------------------------------------------------------


def test_multipliers_of_layers_with_a_residual_are_whole():
    """The scale of an 8-bit filter beside a residual of a large multiplier is one that the engine has."""
    torch.manual_seed(1)
    model = Residual()
    model.d.weight.data *= 0.02
    images = photographs(64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net, network, real, got = quantized(model, images, ratio=Ratio(0, 0, 1), bits=8, even=False)
    layer = next(layer for layer in net.graph.layers if layer.residual)
    node = next(node for node in network.nodes if node.name == layer.name)
    assert node.mult.max() < 128, "or the test tries nothing"
    scale = (
        node.mult * 2.0**-node.shift * float(net.step(layer.output).detach()) / float(net.step(layer.input).detach())
    )
    stands = torch.from_numpy(node.weight * scale[:, None, None, None]).float()
    assert torch.allclose(net.quantized_weight(layer).detach(), stands, rtol=1e-4, atol=1e-7)
    assert torch.allclose(net.scales[layer.name].detach(), torch.from_numpy(scale).float(), rtol=1e-4)
    assert error(real, got) < 0.06


@pytest.mark.parametrize("size, words", [(0.002, True), (0.1, False)])
def test_multipliers_of_few_bits_are_a_warning(size, words):
    """If what it costs matters: the outputs of the layer with real scales instead differ by that much. A residual that
    is ten times as large as what is added to it costs too little."""
    torch.manual_seed(1)
    model = Residual()
    model.d.weight.data *= size
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, network, *_ = quantized(model, photographs(64), ratio=Ratio(0, 0, 1), bits=8, even=False)
    texts = [str(w.message) for w in caught if "multipliers" in str(w.message)]
    pattern = re.compile(r"the multipliers of layer (\w+) have so few bits \(the largest is (\d+)\) that its outputs "
                         r"are off by (\S+) %; look for a channel or a residual of much larger values")
    found = [pattern.fullmatch(text) for text in texts]
    assert bool(texts) == words and all(found), texts
    for match in found:
        node = next(node for node in network.nodes if node.name == match[1])
        share, mult = float(match[3]) / 100, node.mult.astype(float)
        weight = node.weight.reshape(len(mult), -1).astype(float)
        random = np.random.default_rng(0)
        acc = random.integers(0, 256, (500, weight.shape[1])) @ weight.T
        off = acc * random.uniform(-0.5, 0.5, (500, len(mult)))
        expected = np.sqrt(np.square(off).sum() / np.square(acc * mult).sum())
        assert node.mult.max() == int(match[2]) and expected / 2 < share < expected * 2


def brute(mult, bias, shift, res_mult, low, high, acc, res):
    return np.clip((acc * mult + res * res_mult + round(bias * 2.0**shift) + (1 << shift - 1)) >> shift, low, high)


def test_requantizer_of_any_bias():
    """The clipped bias and the multiplier of 0 give the code that real arithmetic gives, for everything the accumulator
    can be."""
    random = np.random.default_rng(0)
    for _ in range(200):
        factor = 10.0 ** random.uniform(-6, 0, 5)
        bias = random.choice([-1, 1], 5) * 10.0 ** random.uniform(-2, 12, 5)
        most, low, high = random.integers(1, 4000), int(random.integers(-128, 1)), int(random.integers(1, 256))
        extra = float(random.choice([0.0, 0.7]))
        found = requantizer(factor, bias, factor * most, extra=extra, other=extra * 31, low=low, high=high)
        assert found.mult.max(initial=0) < 1 << 16 and np.abs(np.round(found.bias * 2.0**found.shift)).max() < 1 << 46
        for f, b, mult, kept in zip(factor, bias, found.mult, found.bias, strict=True):
            acc, res = random.integers(-most, most + 1, 50), random.integers(-31, 32, 50)
            exact = np.clip(np.floor(acc * f + res * extra + b + 0.5), low, high)
            got = brute(int(mult), float(kept), found.shift, found.res_mult, low, high, acc, res)
            close = most * np.abs(f - mult * 2.0**-found.shift) + 0.01 if mult else 0.01
            assert (np.abs(got - exact) <= 1 + close).all()
            if mult == 0:
                assert len(set(exact)) == 1 and (got == exact).all()


# -- calibration
# ---------------------------------------------------------------------------------------------------------


def test_a_network_that_is_not_calibrated():
    net = QuantNet(trace(plain(), (3, 6, 6)))
    for call in (net.export, lambda: net.eval()(torch.rand(2, 3, 6, 6))):
        with pytest.raises(AlloyError, match="has no scale: calibrate the network first, with quant.ptq.reconstruct"):
            call()
    sketch = uncalibrated(net)
    assert [node.weight.shape for node in sketch.nodes] == [layer.weight.shape for layer in net.graph.layers]
    with pytest.raises(AlloyError, match="has no scale"):
        net.export()


@pytest.mark.parametrize(
    "images",
    [np.zeros((1, 3, 6, 6)), np.full((9, 3, 6, 6), 200), np.ones((20, 3, 6, 6)) * np.arange(20)[:, None, None, None]],
)
def test_images_that_show_nothing(images):
    with pytest.raises(AlloyError, match="is one flat colour"):
        reconstruct(QuantNet(trace(plain(), (3, 6, 6))), images.astype(np.uint8))


@pytest.mark.parametrize(
    "images, words", [(photographs(20) // 200, "numbers from 0 to 1"), (photographs(2), "2 images to calibrate with")]
)
def test_images_that_show_little(images, words):
    with pytest.warns(UserWarning, match=words):
        reconstruct(QuantNet(trace(plain(), (3, 6, 6))), images)


def test_forgotten_normalization_shows_at_the_first_batch_norm():
    """Trained on images of mean 0 and deviation 1, calibrated with codes / 255."""
    images = photographs(64)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16, momentum=None), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10)
    )
    mean, std = images.mean() / 255, images.std() / 255
    model.train()(((torch.from_numpy(images).float() / 255) - mean) / std)
    graph = trace(model, (3, 6, 6))
    with pytest.warns(UserWarning, match="its batch norm did not see in training"):
        reconstruct(QuantNet(graph), images)
    x = torch.from_numpy(images).float() / 255
    with pytest.warns(UserWarning, match="its batch norm did not see in training"):
        reconstruct(QuantNet(equalize(graph, x)), images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reconstruct(QuantNet(graph, input_scale=1 / 255 / std, input_zero=round(255 * mean)), images)


def test_calibrating_again_keeps_signed_tensors_signed():
    model, images = Residual(), photographs(64)
    net = QuantNet(trace(model, (3, 6, 6)), bits=8, ratio=Ratio(0, 0, 1))
    reconstruct(net, np.maximum(images, 1))
    net.zeros |= dict.fromkeys(net.signed, 0)
    reconstruct(net, images)
    assert all(net.zeros[name] > 0 for name in net.signed)


def test_a_dead_channel_does_not_make_the_others_look_alike():
    """Beside a bias of -1e8 every other range is next to nothing; they are evened as if it were not there."""
    x, ratios = torch.from_numpy(photographs(40)).float() / 255, []
    for dead in (-10.0, -1e8):
        model = Residual(dead)
        for module in (model.b, model.d):
            module.weight.data *= torch.logspace(-1, 1, 16)[:, None, None, None]
        graph = trace(model, (3, 6, 6))
        index = [layer.name for layer in graph.layers].index("b")
        scale = (graph.layers[index].weight / equalize(graph, x).layers[index].weight).abs().amax((1, 2, 3))
        others = torch.arange(16) > 4
        ratios.append(scale[others] / scale[others].max())
    assert torch.allclose(*ratios, rtol=0.1) and ratios[0].min() < 0.3


def test_a_class_for_every_position():
    """Segmentation: the classes of a position compete, not those of different positions."""
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 4, 1)), photographs(60)
    model[2].bias.data[2] = -1e5
    x = torch.from_numpy(images).float() / 255
    graph = trace(model, (3, 6, 6), logits=True)
    with torch.no_grad():
        real = model(x)
        assert graph.answers(real).shape == (60 * 36, 4) and torch.equal(graph.answers(real)[37], real[1, :, 0, 1])
        net, *_, got = quantized(model, images, logits=True, ratio=Ratio(0, 0, 1), bits=8)
    agree = (got.reshape(real.shape).argmax(1) == real.argmax(1)).float().mean()
    assert agree > 0.98
    assert collect(graph, x)["_2"].gain.shape == (4,)
    found = divergences(graph, x, [("_2", None, None), ("_2", graph.layers[1].weight * 1.5, None)])
    assert found[0] == 0 < found[1]
