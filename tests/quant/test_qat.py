"""Training: it lowers the loss, resumes where it was cut off, and is deterministic."""

import numpy as np
import pytest
import torch

from quant import QuantNet, Ratio, example, trace
from quant.ptq import reconstruct
from quant.qat import Training, fine_tune

SETTINGS = Training(epochs=2, batch=32, rate=1e-3, average=0.5)


@pytest.fixture(scope="module")
def task():
    loaded = example.load("fashion_mnist")
    return loaded.model, example.calibration("fashion_mnist")[:128], loaded.images[:128], loaded.labels[:128]


def fresh(model, images):
    net = QuantNet(trace(model, images.shape[1:]), ratio=Ratio(1, 1, 0), bits=2)
    reconstruct(net, images)
    return net


def answers(net, images):
    with torch.no_grad():
        return net(torch.from_numpy(images).float() / 255)


def test_training_helps_and_repeats(task):
    model, images, tests, labels = task
    nets, losses = [], []
    for _ in range(2):
        net = fresh(model, images)
        losses.append([])
        fine_tune(net, model, tests, labels, Training(epochs=6, batch=32, rate=1e-3, average=0.5, shift=0),
                  report=lambda epoch, epochs, loss: losses[-1].append(loss))
        nets.append(net)
    assert losses[0] == losses[1] and losses[0][-1] < losses[0][0]
    assert (answers(nets[0], tests) == answers(nets[1], tests)).all()


def test_resumes_from_its_checkpoint(task, tmp_path):
    model, images, tests, labels = task
    whole, cut = fresh(model, images), fresh(model, images)
    fine_tune(whole, model, tests, labels, SETTINGS)

    class Cut(Exception):
        pass

    def stop(epoch, epochs, loss):
        raise Cut
    with pytest.raises(Cut):
        fine_tune(cut, model, tests, labels, SETTINGS, checkpoint=tmp_path / "c.pt", report=stop)
    again, epochs = fresh(model, images), []
    fine_tune(again, model, tests, labels, SETTINGS, checkpoint=tmp_path / "c.pt", report=lambda e, n, loss: epochs.append(e))
    assert epochs == [2]
    assert torch.allclose(answers(whole, tests), answers(again, tests), atol=1e-5)
    assert np.isfinite(answers(again, tests).numpy()).all()
