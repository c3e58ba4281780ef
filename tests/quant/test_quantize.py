"""The public call as a user writes it: accuracy, normalization, files, what is refused and what is warned of.

Kind: something that the user forgot or got wrong costs accuracy without a word.
"""

from collections import Counter
import copy
from dataclasses import replace
from pathlib import Path
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import boards
from quant import Network, Training, quantize
from quant.quantize import CALIBRATION, Source
from quant.recipes import VARIANTS, Variant
from spec.errors import AlloyError
from tests.quant.colours import CLASSES, MEAN, STD, answered, colours, quick, refused, state, unchanged


@pytest.fixture(scope="module")
def task():
    return answered()


@pytest.fixture(scope="module")
def network(task):
    return quick(task[0], task[1], mean=MEAN, std=STD)


# -- what it gives
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe, least", [("fixed8", 0.99), ("alloy", 0.95), ("ratio", 0.95)])
def test_the_obvious_call(task, recipe, least):
    model, images, labels, expected = task
    before, random = state(model), torch.get_rng_state()
    network = quantize(model, images, recipe=recipe, board="zcu102", mean=MEAN, std=STD)
    assert unchanged(model, before) and torch.equal(torch.get_rng_state(), random)
    codes, logits = network.run(images), network.logits(images)
    assert (
        codes.dtype == np.int64
        and codes.shape == logits.shape == (300, CLASSES)
        and codes.min() >= 0
        and codes.max() <= 255
    )
    assert logits.dtype == np.float32 and (logits.argmax(1) == codes.argmax(1)).all()
    assert (logits.argmax(1) == expected.argmax(1)).mean() >= least and (logits.argmax(1) == labels).mean() > 0.85
    if recipe == "fixed8":
        assert np.abs(logits - expected).mean() < 0.05 * np.abs(expected).mean()


def test_a_file_keeps_it_all(task, tmp_path):
    model, images, *_ = task
    network = quick(model, images, mean=MEAN, std=STD, name="colours")
    network.save(tmp_path / "n.npz")
    again = Network.load(tmp_path / "n.npz")
    assert (
        again.name == "colours"
        and again.tensors == network.tensors
        and (again.logits(images) == network.logits(images)).all()
    )
    source, out = again.tensors[again.input], again.tensors[again.output]
    assert source.scale == pytest.approx(1 / 255) and source.zero == round(255 * np.mean(MEAN)) and out.scale > 0
    assert all(
        tensor.scale is None for name, tensor in again.tensors.items() if name not in (again.input, again.output)
    )
    assert (again.run(images)[:7] == again.run(images[:7])).all() and again.run(images[:0]).shape == (0, CLASSES)
    bare = replace(again, tensors={name: replace(tensor, scale=None) for name, tensor in again.tensors.items()})
    assert (bare.run(images[:3]) == again.run(images[:3])).all()
    with pytest.raises(AlloyError, match="network colours keeps no scale of its output"):
        bare.logits(images)


@pytest.mark.parametrize(
    "wrong, words",
    [
        (lambda images: images[0], r"are of shape \(3, 12, 12\): the network reads \(N, 3, 12, 12\)"),
        (lambda images: images[:, :1], "are of shape"),
        (lambda images: images / 255, "float64, are no codes"),
        (lambda images: images.astype(int) - 300, "are no codes"),
        (lambda images: 5, "are of shape"),
    ],
)
def test_images_to_run_on(task, network, wrong, words):
    with pytest.raises(AlloyError, match=words):
        network.run(wrong(task[1]))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan"), 1, "1"])
def test_scales(network, scale):
    out = network.tensors["input"]
    with pytest.raises(
        AlloyError, match="must be finite and above 0|scale is .*: it must be a number with a point or nothing"
    ):
        replace(out, scale=scale)


def test_tensors_arrays_and_modes_are_alike(task):
    """Tensors of PyTorch, a model in training mode, channels in any memory order."""
    model, images, labels, _ = task
    one = quick(model, images, mean=MEAN, std=STD)
    twin = copy.deepcopy(model).train()
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    before = state(twin)
    for other in (
        quick(twin, torch.from_numpy(images), mean=torch.tensor(MEAN), std=np.array(STD)),
        quick(twin, last, mean=list(MEAN), std=STD),
    ):
        assert (one.run(images) == other.run(images)).all()
    assert unchanged(twin, before)


def test_a_grey_network_of_one_value():
    """Mean and std may be numbers, for any number of channels."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    images = colours(40)[0]
    one, three = quick(model, images, mean=0.4, std=0.3), quick(model, images, mean=[0.4] * 3, std=[0.3] * 3)
    assert (one.run(images) == three.run(images)).all()


@pytest.mark.slow
def test_many_images_are_drawn_by_seed(task):
    """Whatever order they are in; the same seed gives the same network."""
    model, images, *_ = task
    assert len(images) > CALIBRATION
    order = np.argsort([image.sum() for image in images])
    nets = [
        quick(model, some, mean=MEAN, std=STD, seed=seed)
        for some, seed in ((images, 0), (images, 0), (images, 1), (images[order], 0))
    ]
    first, same, *others = (net.run(images) for net in nets)
    assert (first == same).all() and all((first != other).any() for other in others)


# -- what is refused, before anything else
# -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda x: x / 255, "float64 of shape .*: give pixels uint8 from 0 to 255"),
        (lambda x: torch.from_numpy(x).float(), "float32 of shape"),
        (lambda x: np.where(x > 9, np.nan, 1.0), "float64 of shape"),
        (lambda x: x.astype(np.int64), "int64 of shape"),
        (lambda x: x > 9, "bool of shape"),
        (lambda x: [], r"float64 of shape \(0,\)"),
        (lambda x: x[:0], "give at least one"),
        (
            lambda x: x[0],
            "cannot run on images of 12x12",
        ),
        (lambda x: x.transpose(0, 2, 3, 1), r"channels last: give images.transpose\(0, 3, 1, 2\)"),
        (lambda x: x[:, :1], r"cannot run on images of 1x12x12"),
        (lambda x: np.concatenate([x, x[:, :1]], 1), "cannot run on images of 4x12x12"),
        (lambda x: np.zeros_like(x[:1]), "each of the 1 images to calibrate with is one flat colour"),
        (lambda x: np.full_like(x, 7), "each of the 256 images to calibrate with is one flat colour"),
        (lambda x: "images", "the images are <U6 of shape"),
        (lambda x: [x[0], x[1, :, :5]], "the images are not all of one shape: bring them to one size first"),
    ],
)
def test_images(task, change, words):
    refused(task, words, images=change(task[1]))


def test_a_wrong_number_of_channels(task):
    refused(
        task, "the model cannot run on images of 1x12x12 .* give the shape", images=task[1][:, :1], mean=None, std=None
    )


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(recipe="best"), "there is no recipe 'best': choose fixed8, .*alloy"),
        (dict(recipe=None), "there is no recipe None"),
        (dict(recipe=Variant("best")), "there is no recipe 'best'"),
        (dict(board="zcu999"), "there is no platform 'zcu999': choose zcu102"),
        (dict(board=5), "the board is 5: give its name"),
        (dict(name=""), "the network is called ''"),
        (dict(name=7), "the network is called 7"),
        (dict(seed=-1), "the seed is -1"),
        (dict(seed=0.5), "the seed is 0.5"),
        (dict(labels=[1.0] * 300), "the labels are float64 of shape .*: give one integer for each of the 300 images"),
        (dict(labels=np.zeros(299, int)), r"the labels are int64 of shape \(299,\)"),
        (dict(labels=np.eye(CLASSES, dtype=int)[np.zeros(300, int)]), r"shape \(300, 4\)"),
        (
            dict(labels=np.full(300, CLASSES)),
            f"the labels are {CLASSES} to {CLASSES}, and the model has {CLASSES} classes: count them from 0",
        ),
        (dict(labels=np.full(300, -1)), "the labels are -1 to -1"),
        (dict(labels=[[0], [0, 1]]), "the labels are not all of one shape"),
        (dict(labels=np.zeros(300, int), logits=False), "labels train a classifier.* say logits=True"),
        (dict(training=Training()), "there are settings for training and no labels"),
        (dict(labels=np.zeros(300, int), training=Training(batch=301)), "300 images are less than one batch of 301"),
    ],
)
def test_options(task, options, words):
    refused(task, words, **options)


@pytest.mark.parametrize(
    "model, words",
    [
        (lambda model: model.double(), "is float64: call model.float"),
        (lambda model: model.half(), "is float16"),
        (lambda model: model.to("meta"), "is on the device meta: call model.cpu()"),
        (lambda model: nn.Sequential(model, nn.LayerNorm(4)), "is layer_norm, which is not supported"),
    ],
)
def test_models(task, model, words):
    made = model(copy.deepcopy(task[0]))
    with pytest.raises(AlloyError, match=re.escape(words)):
        quick(made, task[1])


@pytest.mark.parametrize(
    "values, words",
    [
        (dict(epochs=0), "training of 0 epochs"),
        (dict(batch=0), "batches of 0"),
        (dict(shift=-1), "shifts of -1"),
        (dict(reassign=-1), "every -1"),
        (dict(rate=0.0), "training with the rate 0.0"),
        (dict(rate=float("nan")), "the rate nan"),
        (dict(temperature=0.0), "temperature 0.0"),
        (dict(distillation=1.5), "distillation 1.5"),
        (dict(average=1.0), "average 1.0"),
    ],
)
def test_settings_of_a_training(values, words):
    with pytest.raises(AlloyError, match=words):
        Training(**values)


# -- what is warned of
# -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda x: (x > 127).astype(np.uint8), "differ by at most 1 of 255 codes: are they numbers from 0 to 1"),
        (lambda x: x[:1], "^1 image to calibrate with: ranges and biases need about 100"),
        (lambda x: x[:9], "^9 images to calibrate with"),
    ],
)
def test_strange_images(task, change, words):
    with pytest.warns(UserWarning, match=words) as found:
        quick(task[0], change(task[1]), mean=MEAN, std=STD)
    assert sum(bool(re.search(words, str(warning.message))) for warning in found) == 1, "once"


# -- outputs, training, progress
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model, expected",
    [
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 12), nn.Flatten()), True),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 12), nn.ReLU()), False),
        (lambda: nn.Conv2d(3, 1, 12), False),
        (lambda: nn.Conv2d(3, 4, 3), False),
    ],
)
def test_what_looks_like_a_classifier(model, expected):
    torch.manual_seed(0)
    model, images = model(), colours(20)[0]
    assert Source(model, images).graph.logits == expected
    assert Source(model, images, logits=False).graph.logits is False
    if expected:
        assert Source(model, images, logits=True).graph.logits


def test_labels_train(task):
    """Training by labels mends what calibration cannot; the model itself does not train."""
    model, images, labels, _ = task
    before, lines = state(model), []
    spoiled = np.where(labels == 0, 1, labels)  # answers that the float network would not give
    settings = Training(epochs=6, batch=50, rate=1.0, distillation=0.0, average=0.5, shift=0, mirror=False)
    options = dict(recipe="alloy", mean=MEAN, std=STD, report=lines.append)
    plain, network = (
        quantize(model, images, **options),
        quantize(model, images, labels=torch.from_numpy(spoiled), training=settings, **options),
    )
    assert (plain.run(images).argmax(1) == spoiled).mean() < 0.8 and (
        network.run(images).argmax(1) == spoiled
    ).mean() > 0.95
    assert unchanged(model, before)


@pytest.mark.parametrize(
    "mirror, training, expected",
    [
        (False, None, False),
        (True, None, True),
        (False, Training(), False),
        (True, Training(), True),
        (False, Training(mirror=True), True),
    ],
)
def test_images_are_mirrored_only_if_they_may_be(task, monkeypatch, mirror, training, expected):
    """In calibration and in training alike, unless the settings of the training say it, too."""
    module, seen = sys.modules["quant.quantize"], []
    reconstruct = module.reconstruct
    monkeypatch.setattr(module, "reconstruct", lambda *a, **o: seen.append(o["mirror"]) or reconstruct(*a, **o))
    monkeypatch.setattr(
        module, "fine_tune", lambda net, teacher, images, labels, settings, **o: seen.append(settings.mirror)
    )
    quick(task[0], task[1], mean=MEAN, std=STD, labels=task[2], mirror=mirror, training=training)
    assert seen == [mirror, expected]


@pytest.mark.slow
def test_recipes_of_ones_own_and_engines(task):
    """A variant that is in no table; a board, its name, its configuration: the same network."""
    model, images, *_ = task
    own, board = Variant("fixed", {"bits": 6, "act_bits": 6}, (6, 6)), boards.get("pynq-z2")
    nets = [
        quick(model, images, mean=MEAN, std=STD, recipe=recipe, board=place)
        for recipe, place in (
            (own, "zcu102"),
            ("alloy", "pynq-z2"),
            ("alloy", board),
            ("alloy", board.config),
            ("alloy", "zcu102"),
        )
    ]
    one, *same, other = [
        np.concatenate([node.scheme for node in net.nodes if hasattr(node, "scheme")]).tolist() for net in nets
    ]
    assert set(one) == {6} and same[0] == same[1] == same[2] != other


def test_every_variant_says_what_it_is():
    assert {"alloy", "film_qnn", "fixed8", "ratio"} <= VARIANTS.keys() and all(
        chosen.note for chosen in VARIANTS.values()
    )


def test_progress(task, monkeypatch):
    """Lines begin with the name and come every so many seconds; none without a report."""
    module, lines = sys.modules["quant.quantize"], []
    telling = module.telling
    monkeypatch.setattr(module, "telling", lambda *given, **other: telling(*given, **other, every=0.02))
    quick(task[0], task[1], mean=MEAN, std=STD, recipe="alloy", name="mine", report=lines.append)
    assert len(lines) > 5 and all(re.match(r"mine: .*(, \d+ s(, about \d+ s left)?|not)$", x) for x in lines), lines
    assert any("layer" in line for line in lines) and any("scales of channels" in line for line in lines)
    assert any("left" in line for line in lines)


@pytest.mark.parametrize("recipe, mirror", [("alloy", False), ("fixed8", True)])
def test_the_rest_is_told_by_the_work_that_is_left(task, recipe, mirror):
    """Every step counts once, and in the end nothing is left."""
    source, chosen, left = Source(task[0], task[1][:60], MEAN, STD, mirror=mirror), VARIANTS[recipe], []
    source.expect(chosen)
    stages, steps = {name: len(works) for name, works in source.course._left.items()}, Counter()
    step = source.course.step

    def counted(stage):
        steps[stage] += 1
        step(stage)
        left.append(sum(map(sum, source.course._left.values())))
    source.course.step = counted
    source.net(chosen, "zcu102")
    assert steps == {name: count for name, count in stages.items() if name != "plan"}
    assert left == sorted(left, reverse=True) and left[-1] == 0 and source.course.rest < 1
    assert stages.keys() >= {"equalize", "layers"} and ("statistics" in stages) == (recipe == "alloy")


# README's simulates the engine of the ZCU102, whose C++ takes minutes to compile.
@pytest.mark.parametrize("page", [pytest.param("README.md", marks=pytest.mark.slow), "docs/quantization.md"])
def test_what_the_pages_say(task, tmp_path, monkeypatch, page):
    """Their snippets of Python run as they stand."""
    text = (Path(boards.__path__[0]).parent / page).read_text()
    (snippet,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    monkeypatch.chdir(tmp_path)
    names = {"model": task[0], "images": task[1]}
    exec(snippet, names)
    (saved,) = tmp_path.rglob("network.npz")
    assert (Network.load(saved).run(task[1]) == names["network"].run(task[1])).all()


def test_outside_the_checkout(tmp_path, task):
    """With nothing but the package: another folder, no ../shared."""
    root = str(boards.__path__[0]).removesuffix("/boards")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import numpy as np, torch; from quant import quantize\n"
        "images = np.random.default_rng(0).integers(0, 256, (16, 1, 8, 8), dtype=np.uint8)\n"
        "net = quantize(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 8), torch.nn.Flatten()), images, "
        "recipe='fixed8', report=None)\n"
        "net.save('n.npz'); print(net.logits(images).shape)"
    )
    done = subprocess.run([sys.executable, "-c", script, root], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "(16, 2)\n" and not done.stderr, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["n.npz"]
