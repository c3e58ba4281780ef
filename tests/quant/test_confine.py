"""What quantization returns for a board, the compiler takes: no sum can leave what the engine holds.

Kind: numbers that look right in PyTorch are refused, or wrong, in the engine.
"""

import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from compiler import compile
from quant import QuantNet, Training, quantize, trace
from quant.confine import confine
from quant.ptq import reconstruct
from quant.recipes import Variant
from quant.requantizer import requantizer
from sim import command_model
from spec.errors import AlloyError
from tests.compiler.graphs import engine
from tests.quant.test_scales import photographs

RECIPES = "fixed8", "alloy", "nonuniform", "ios_pot"
ROOMY = dict(act_depth=256, weight_depth=256, tables=2)


def small(width, **values):
    return engine(acc_width=width, **ROOMY, **values)


def wide(seed, channels=12, size=4, sign=True, kernel=3):
    """Many weights of one sign, a huge kernel, a linear layer over the whole map."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(),
                          nn.Conv2d(channels, 12, kernel, padding=kernel // 2), nn.ReLU(), nn.Flatten(),
                          nn.Linear(12 * size * size, 4))
    with torch.no_grad():
        for index in (2, 5) if sign else ():
            model[index].weight.copy_(model[index].weight.abs() * (1 if index == 2 else torch.tensor(
                [[1.0], [-1.0], [1.0], [-1.0]])) * torch.rand(model[index].weight.shape))
    return model.eval()


def compiled(model, images, config, **options):
    """(network, texts of warnings)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = quantize(model, images, board=config, report=None, **options)
    program = compile(network, config)
    codes = images[0]
    assert (command_model.run(program, config, codes)[network.output]
            == network.codes(codes[None])[network.output][0]).all()
    return network, [str(w.message) for w in caught if "could overflow" in str(w.message)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_small_accumulators(recipe):
    """The weights are coarser, and a warning says what it costs."""
    _, texts = compiled(wide(0), photographs(40, size=4), small(12), recipe=recipe)
    found = [re.fullmatch(r"(\d+) of the (\d+) filters of layer (\w+) could overflow the 12-bit accumulators of test "
                          r"\(by (\S+) times, filter \d+\): their weights are coarser now, with a relative error of "
                          r"(\S+) instead of (\S+); raise acc_width if that is too much", text) for text in texts]
    assert found and all(found) and any(float(match[5]) > float(match[6]) for match in found), texts


@pytest.mark.parametrize("seed", range(4))
def test_random_engines(seed):
    rng = np.random.default_rng(seed)
    config = small(int(rng.integers(12, 17)), dsp_device=("dsp48e1", "dsp48e2")[seed % 2],
                   act_digit_bits=int(rng.integers(4, 6)), dsp_filters=4, lut_filters=int(rng.choice([0, 2])))
    recipe = str(rng.choice(["fixed8", "fixed4"]))
    model = wide(seed, int(rng.integers(3, 20)), sign=bool(rng.integers(2)), kernel=int(rng.choice([1, 3, 5])))
    compiled(model, photographs(20, size=4, seed=seed), config, recipe=recipe)


def test_what_fits_still_answers():
    """Half a bit too small costs little."""
    model, images = wide(1, sign=False), photographs(40, size=4)
    with torch.no_grad():
        real = model(torch.from_numpy(images).float() / 255).numpy()
    roomy, none = compiled(model, images, small(22), recipe="fixed4")
    tight, texts = compiled(model, images, small(13), recipe="fixed4")

    def error(network):
        return np.abs(network.logits(images) - real).std() / real.std()
    assert texts and not none and error(tight) < 2 * error(roomy) + 0.05


def test_training_keeps_to_it():
    model, images = wide(2), photographs(40, size=4)
    labels = np.arange(40) % 4
    compiled(model, images, small(12), recipe="fixed4", labels=labels, logits=True,
             training=Training(epochs=1, batch=20))


def test_more_cycles_are_planned_with_what_fits():
    """A recipe that asks for cycles compiles networks that are not calibrated."""
    chosen = Variant("alloy", {"slack": 0.2})
    compiled(wide(3), photographs(40, size=4), small(12), recipe=chosen)


def test_rounding_to_nearest_too():
    images, config = photographs(20, size=4), small(12)
    net = QuantNet(trace(wide(4), (3, 4, 4)), bits=4, config=config)
    with pytest.warns(UserWarning, match="could overflow"):
        reconstruct(net, images, weights=False)
    confine(net)
    compile(net.export(), config)


def test_an_average_of_too_many():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AvgPool2d(12), nn.Flatten())
    images = photographs(20, size=12)
    with pytest.raises(AlloyError, match="layer _2 adds up 144 codes of 4 bits, more than the 12-bit accumulators of "
                                         "test hold: raise acc_width to 13 or pool in two steps"):
        quantize(model, images, board=small(12), recipe="fixed4", report=None)
    compiled(model, images, small(13), recipe="fixed4")


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-6, 1e6])
def test_weights_of_any_size(scale):
    """Filters whose output is a constant, and steps far from those of the input, need no more bits than there are."""
    model = wide(5, channels=5)
    with torch.no_grad():
        model[2].weight *= scale
        model[5].weight *= scale
        model[5].bias.copy_(torch.tensor([-3.0, 1.0, 2.0, 0.5]))
    compiled(model, photographs(20, size=4), small(12), recipe="fixed4", logits=False)


@pytest.mark.parametrize("seed", range(10))
def test_requantizers_hold_every_sum(seed):
    """48 bits hold the bias and the farthest sum, multipliers have 16 bits."""
    rng = np.random.default_rng(seed)
    for _ in range(100):
        factor, most = 10.0 ** rng.uniform(-16, 6, 4), 2.0 ** rng.uniform(0, 30)
        bias, zero = rng.choice([-1, 1], 4) * 10.0 ** rng.uniform(-3, 16, 4), int(rng.integers(0, 256))
        extra = float(rng.choice([0.0, 10.0 ** rng.uniform(-8, 3)]))
        found = requantizer(factor, bias, factor * most, extra=extra, other=255 * extra, low=-zero, high=255 - zero)
        whole = np.abs(np.round(found.bias * 2.0**found.shift))
        assert found.mult.max() < 1 << 16 and found.res_mult < 1 << 16 and whole.max() < 1 << 46
        farthest = whole + found.mult * most + 255 * found.res_mult + (zero + 0.5) * 2.0**found.shift
        assert farthest.max() < 2.0**47 or found.shift == 1 and most > 2.0**29
