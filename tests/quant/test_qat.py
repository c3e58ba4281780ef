"""Training: it lowers the loss, resumes where it was cut off, and is deterministic."""

from copy import deepcopy
from dataclasses import replace
import os
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest
import torch

from quant import QuantNet, Ratio, example, trace
from quant.fake import coded
from quant.ptq import reassign, reconstruct
from quant.rounding import rounded
from quant.qat import SLOW, Training, _augment, _loss, _Run, fine_tune
from quant.recipes.ios_pot import distribution_loss
from spec.errors import AlloyError
from spec.numerics import Scheme
from tests.quant.parity import same_as_fake

SETTINGS = Training(epochs=2, batch=32, rate=1e-3, average=0.5)


@pytest.fixture(scope="module")
def task():
    loaded = example.load("fashion_mnist")
    return loaded.model, example.calibration("fashion_mnist")[:128], loaded.images[:128], loaded.labels[:128]


def calibrated(model, images):
    net = QuantNet(trace(model, images.shape[1:], logits=True), ratio=Ratio(1, 1, 0), bits=2)
    reconstruct(net, images)
    return net


@pytest.fixture(scope="module")
def fresh(task):
    """Makes networks that are calibrated and not trained: copies of one."""
    net = calibrated(*task[:2])
    return lambda: deepcopy(net)


def answers(net, images):
    with torch.no_grad():
        return net(torch.from_numpy(images[:32]).float() / 255)


def test_training_helps_and_repeats(task):
    model, images, tests, labels = task
    nets, losses = [], []
    for _ in range(2):
        net = calibrated(model, images)
        with torch.no_grad():
            net.biases[net.graph.layers[-1].name] += torch.linspace(-4, 4, 10)  # something to mend
        losses.append([])
        fine_tune(
            net,
            model,
            tests,
            labels,
            Training(epochs=6, batch=32, rate=1e-2, average=0.5, shift=0),
            report=lambda epoch, epochs, loss: losses[-1].append(loss),
        )
        nets.append(net)
    assert losses[0] == losses[1] and losses[0][-1] < 0.8 * losses[0][0]
    assert (answers(nets[0], tests) == answers(nets[1], tests)).all()


def test_reassignment_and_penalty(task, fresh, tmp_path):
    """Number systems are chosen anew from the weights as they are, until they are frozen, and a checkpoint remembers
    them."""
    model, images, tests, labels = task
    net, asked, penalties = fresh(), [], []
    start = {name: scheme.copy() for name, scheme in net.schemes.items()}

    def other(graph):
        asked.append(graph)
        return {name: scheme[::-1].copy() for name, scheme in net.schemes.items()}

    def penalty(net):
        penalties.append(distribution_loss(net, 1e-2))
        return penalties[-1]

    settings = Training(epochs=3, batch=64, rate=1e-3, average=0.5, reassign=1)
    fine_tune(net, model, tests, labels, settings, assignment=other, penalty=penalty, checkpoint=tmp_path / "c.pt")
    assert len(asked) == 1 and all((net.schemes[name] == scheme[::-1]).all() for name, scheme in start.items())
    assert any(
        (layer.weight != net.graph.layers[i].weight).any() for i, layer in enumerate(asked[0].layers) if layer.weighted
    )
    assert len(penalties) == 6 and all(float(p.detach()) > 0 and p.requires_grad for p in penalties)
    again = fresh()
    fine_tune(again, model, tests, labels, settings, assignment=other, checkpoint=tmp_path / "c.pt")
    assert all((again.schemes[name] == net.schemes[name]).all() for name in start)
    assert (answers(again, tests) == answers(net, tests)).all()
    same_as_fake(net, tests[:8])


def test_resumes_from_its_checkpoint(task, fresh, tmp_path):
    model, images, tests, labels = task
    whole, cut = fresh(), fresh()
    fine_tune(whole, model, tests, labels, SETTINGS)

    class Cut(Exception):
        pass

    def stop(epoch, epochs, loss):
        raise Cut

    with pytest.raises(Cut):
        fine_tune(cut, model, tests, labels, SETTINGS, checkpoint=tmp_path / "c.pt", report=stop)
    again, epochs = fresh(), []
    fine_tune(
        again, model, tests, labels, SETTINGS, checkpoint=tmp_path / "c.pt", report=lambda e, n, loss: epochs.append(e)
    )
    assert epochs == [2]
    assert torch.allclose(answers(whole, tests), answers(again, tests), atol=1e-5)
    assert np.isfinite(answers(again, tests).numpy()).all()


def test_reassigned_filters_compute_what_they_did(task):
    """Filters that get another number system are rounded with compensation to what they were on their levels, not from
    the weights behind those."""
    model, images, tests, _ = task
    x = torch.from_numpy(images).float() / 255
    net = QuantNet(trace(model, images.shape[1:], logits=True), ratio=Ratio(0, 1, 0))
    reconstruct(net, images)
    layer = net.graph.layers[1]
    before, given = (
        {name: p.detach().clone() for name, p in net.named_parameters()},
        net.tensors(x)[layer.input].detach(),
    )
    target, schemes = (
        net.quantized_weight(layer).detach(),
        {name: scheme.copy() for name, scheme in net.schemes.items()},
    )
    schemes[layer.name][::2] = Scheme.POT4

    def error(weight):
        return float((layer.apply(torch, given, weight=weight) - layer.apply(torch, given,
                                                                             weight=target)).square().sum())

    naive = rounded(net.weights[layer.name].detach().flatten(1), schemes[layer.name])[1].reshape(target.shape)
    naive[1::2] = target[1::2]
    reassign(net, schemes, x)
    assert (net.schemes[layer.name] == schemes[layer.name]).all()
    for name, p in net.named_parameters():
        same = (p == before[name]).flatten(1).all(1) if p.ndim > 1 else p == before[name]
        assert same[1::2].all() if name.endswith(net.weights.key(layer.name)) and p.ndim else same.all(), name
    assert 0 < error(net.quantized_weight(layer).detach()) < 0.5 * error(naive)


def test_checkpoint_of_another_training(task, fresh, tmp_path):
    """Another assignment or other settings are refused, instead of going on with what the file holds."""
    model, images, tests, labels = task
    fine_tune(fresh(), model, tests, labels, SETTINGS, checkpoint=tmp_path / "c.pt")
    other = fresh()
    other.assign({name: scheme[::-1].copy() for name, scheme in other.schemes.items()})
    for net, settings in ((other, SETTINGS), (fresh(), replace(SETTINGS, epochs=3))):
        with pytest.raises(AlloyError, match="c.pt is the checkpoint of another training"):
            fine_tune(net, model, tests, labels, settings, checkpoint=tmp_path / "c.pt")


@pytest.mark.slow
def test_data_parallel(tmp_path):
    """Two processes that share every batch end where one does, up to the order of additions, and agree with each
    other."""
    script = [str(Path(__file__).parent / "parallel.py"), str(tmp_path)]
    alone, together = (
        [sys.executable],
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"],
    )
    for command in (alone, together):
        done = subprocess.run(
            command + script,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    one, first, second = (np.load(tmp_path / f"{name}.npy") for name in ("1-0", "2-0", "2-1"))
    assert (first == second).all()
    assert np.abs(one - first).max() < 0.02 * np.abs(one).max() and np.mean(np.abs(one - first)) < 1e-3


@pytest.mark.slow
def test_the_scale_of_a_tensor_does_not_matter(task):
    """A tensor that is made 64 times smaller and read by weights 64 times larger trains alike."""
    model, images, tests, labels = task
    losses = []
    for factor in (1.0, 64.0):
        graph = trace(model, images.shape[1:], logits=True)
        inner = next(
            layer
            for layer in graph.layers
            if layer.relu and not any(layer.output == other.residual for other in graph.layers)
        )
        inner.weight, inner.bias = inner.weight / factor, inner.bias / factor
        for reader in (layer for layer in graph.layers if layer.input == inner.output):
            reader.weight = reader.weight * factor
        net = QuantNet(graph, ratio=Ratio(1, 1, 0), bits=3)
        reconstruct(net, images[:64])
        losses.append([])
        fine_tune(net, model, tests, labels, SETTINGS, report=lambda epoch, epochs, loss: losses[-1].append(loss))
    assert np.allclose(*losses, rtol=0.2), losses


@pytest.mark.parametrize("zero, top, table", [(0, 15, None), (9, 31, None), (0, 7, [0, 0, 2, 2, 5, 5, 5, 7])])
def test_gradients_of_coded_activations(zero, top, table):
    """The fused function against the same formula left to PyTorch, straight through the rounding and the table."""
    torch.manual_seed(1)
    table, weight = torch.tensor(table, dtype=torch.float64) if table else None, torch.randn(300, dtype=torch.float64)

    def composed(x, step):
        codes = torch.clamp(x / step + (torch.floor(x / step + 0.5) - x / step).detach() + zero, 0, top)
        if table is not None:
            codes = codes + (table[codes.detach().long()] - codes).detach()
        return (codes - zero) * step

    results = []
    for function in (composed, lambda x, step: coded(x, step, zero, top, table)):
        torch.manual_seed(2)
        x, step = (
            torch.randn(300, dtype=torch.float64).mul_(4).requires_grad_(),
            torch.tensor(0.37, dtype=torch.float64, requires_grad=True),
        )
        out = function(x, step)
        (out * weight).sum().backward()
        results.append((out.detach(), x.grad, step.grad))
    for expected, got in zip(*results, strict=True):
        assert torch.allclose(expected, got, atol=1e-12)
    assert 0 < (results[0][1] == 0).sum() < 300  # some were clipped


# -- kind: a step of another size or direction than the settings say
# -------------------------------------------------------


def begun(task, fresh, rate):
    """(a training of one step in each epoch that has just begun, its network's parameters before)."""
    model, images, tests, labels = task
    net = fresh()
    settings = Training(epochs=30, batch=64, rate=rate, average=0.75, shift=0, mirror=False)
    return _Run(net, model, tests[:64], labels[:64], settings), {
        name: p.detach().clone() for name, p in net.named_parameters()
    }


def test_the_first_step_is_as_long_as_the_rate_says(task, fresh):
    """Adam's first step is the rate, which a one-cycle schedule begins at a 25th, whatever the gradient; in levels of
    each parameter."""
    run, before = begun(task, fresh, 0.5)
    scales = {layer.name: run.net.scales[layer.name].detach().abs() for layer in run.net.graph.weighted}
    steps = {layer.name: run.net.step(layer.output).detach() for layer in run.net.graph.weighted}
    run.epoch(0, None)
    for layer in run.net.graph.weighted:
        name = layer.name
        for group, unit, rate in (
            (run.net.weights, scales[name][:, None, None, None], 1.0),
            (run.net.biases, steps[name], 1.0),
            (run.net.scales, scales[name], SLOW),
        ):
            key = next(k for k, p in run.net.named_parameters() if p is group[name])
            moved = (group[name].detach() - before[key]) / unit
            some = moved[run.levels.values[key].grad.abs() > 1e-5]
            assert some.numel() and torch.allclose(some.abs(), torch.full_like(some, rate * 0.5 / 25), rtol=0.02), key


def test_steps_go_against_the_gradient(task, fresh):
    run, _ = begun(task, fresh, 3e-3)
    losses = [run.epoch(number, None) for number in range(6)]
    assert losses[-1] < 0.97 * losses[0]


def test_the_average_is_that_of_the_steps(task, fresh):
    run, _ = begun(task, fresh, 0.1)
    key, seen = "weights.of_conv", []
    for number in range(3):
        run.epoch(number, None)
        seen.append(dict(run.net.named_parameters())[key].detach().clone())
    expected = 0.75 * (0.75 * seen[0] + 0.25 * seen[1]) + 0.25 * seen[2]
    assert torch.allclose(dict(run.average.module.named_parameters())[key], expected, rtol=1e-5) and not torch.equal(
        seen[0], seen[2]
    )


@pytest.mark.parametrize("share, temperature", [(0.0, 4.0), (0.5, 4.0), (0.25, 1.0), (1.0, 2.0)])
def test_loss(share, temperature):
    """Cross entropy with the labels and, for its share, the divergence from the teacher's answers at a temperature,
    times its square."""
    torch.manual_seed(0)
    logits, target, labels = torch.randn(7, 5).double(), torch.randn(7, 5).double(), torch.randint(0, 5, (7,))
    own, soft, wanted = (
        np.exp(x.numpy()) / np.exp(x.numpy()).sum(1, keepdims=True)
        for x in (logits, logits / temperature, target / temperature)
    )
    plain = -np.log(own[np.arange(7), labels]).mean()
    far = (wanted * (np.log(wanted) - np.log(soft))).sum(1).mean() * temperature**2
    found = _loss(logits, labels, target, Training(distillation=share, temperature=temperature))
    assert float(found) == pytest.approx((1 - share) * plain + share * far, rel=1e-9)


@pytest.mark.parametrize("mirror", [False, True])
def test_augmentation(mirror):
    """Images move by whole pixels, what comes in is zero; half of them are mirrored, if any may be."""
    images = torch.arange(1, 31).reshape(1, 1, 5, 6).repeat(400, 1, 1, 1)
    seen = set()
    for seed in range(30):
        out = _augment(images, Training(shift=1, mirror=mirror), 0, torch.Generator().manual_seed(seed))
        padded = torch.nn.functional.pad(images[:1], (1,) * 4)
        places = [padded[:, :, y : y + 5, x : x + 6] for y in range(3) for x in range(3)]
        turned = [
            torch.nn.functional.pad(images[:1].flip(3), (1,) * 4)[:, :, y : y + 5, x : x + 6]
            for y in range(3)
            for x in range(3)
        ]
        plain = [
            [bool((image == place).all()) for place in places].index(True)
            for image in out
            if any((image == p).all() for p in places)
        ]
        assert len(set(plain)) == 1 and len(plain) == (400 if not mirror else pytest.approx(200, abs=60))
        assert mirror or len(plain) == 400
        assert all(any((image == place).all() for place in (*places, *turned)) for image in out[:20])
        seen.add(plain[0])
    assert len(seen) == 9


def test_when_number_systems_are_chosen_anew():
    assert [epoch for epoch in range(12) if Training(epochs=12, reassign=3).reassigns(epoch)] == [3, 6]
    assert not any(Training(epochs=12).reassigns(epoch) for epoch in range(12))


@pytest.mark.parametrize("wrong", [dict(epochs=0), dict(batch=0), dict(shift=-1), dict(reassign=-1), dict(rate=0.0),
                                   dict(temperature=0.0), dict(distillation=1.1), dict(average=1.0)])
def test_settings_that_make_no_sense(wrong):
    Training(epochs=1, batch=1, shift=0, reassign=0, distillation=1.0, average=0.0)
    with pytest.raises(AlloyError, match="^training "):
        Training(**wrong)


def test_damaged_checkpoints(task, fresh, tmp_path):
    model, images, tests, labels = task
    for content in (b"", b"junk", b"PK\x03\x04"):
        (tmp_path / "c.pt").write_bytes(content)
        with pytest.raises(
            AlloyError,
            match="c.pt is not a whole checkpoint of a training: it looks like .*; remove it or name another file",
        ):
            fine_tune(fresh(), model, tests, labels, SETTINGS, checkpoint=tmp_path / "c.pt")


def test_only_classifiers_train(task):
    model, images, tests, labels = task
    net = QuantNet(trace(model, images.shape[1:]), ratio=Ratio(1, 1, 0))
    reconstruct(net, images[:8])
    with pytest.raises(AlloyError, match="training needs the logits of a classifier: say trace"):
        fine_tune(net, model, tests, labels, SETTINGS)
