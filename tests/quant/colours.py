"""A small task whose answer is in the colours, and a network with batch norms that was trained on normalized images."""

from functools import cache
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from quant import quantize
from spec.errors import AlloyError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES, SIZE = 4, 12


def colours(count, seed=0):
    """uint8 (N, 3, 12, 12) and labels: which corner holds most of the third of the colours."""
    random = np.random.default_rng(seed)
    images, labels = random.normal(110, 45, (count, 3, SIZE, SIZE)), random.integers(0, CLASSES, count)
    half = SIZE // 2
    for image, label in zip(images, labels, strict=True):
        image[2, label // 2 * half :][:half, label % 2 * half :][:, :half] += 45
        image += random.normal(0, 20, (3, 1, 1))
    return np.clip(images, 0, 255).astype(np.uint8), labels


class Net(nn.Module):
    """Like a ResNet: a stem, a block with a shortcut, a linear layer."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv1, self.bn1 = nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12)
        self.conv2, self.bn2 = nn.Conv2d(12, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.down, self.pool, self.linear = nn.Conv2d(8, 12, 1, 2), nn.AvgPool2d(3), nn.Linear(48, CLASSES)

    def forward(self, x):
        x = F.relu(self.bn(self.stem(x)))
        x = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.down(x))
        return self.linear(torch.flatten(self.pool(x), 1))


@cache
def trained():
    """The network, trained for a few seconds."""
    images, labels = colours(1024)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    x, y = (torch.from_numpy(images).float() / 255 - mean) / std, torch.from_numpy(labels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Net()
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(12):
            for at in torch.randperm(len(x)).split(64):
                optimizer.zero_grad()
                F.cross_entropy(model(x[at]), y[at]).backward()
                optimizer.step()
    model.zero_grad()
    return model.eval()


def answered():
    """(model trained on normalized images, images, labels, its answers to them)."""
    model = trained()
    images, labels = colours(300, seed=1)
    return model, images, labels, real(model, images)


def real(model, images):
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    with torch.no_grad():
        return model((torch.from_numpy(images).float() / 255 - mean) / std).numpy()


def quick(model, images, **options):
    """Quantized without a word."""
    return quantize(model, images, **{"recipe": "fixed8", "report": None, **options})


def state(model):
    """All that may not change: parameters, buffers, modes, hooks."""
    return (
        {key: value.clone() for key, value in model.state_dict().items()},
        [module.training for module in model.modules()],
        [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._parameters)) for m in model.modules()],
        [p.grad for p in model.parameters()],
        [p.requires_grad for p in model.parameters()],
    )


def unchanged(model, before):
    after = state(model)
    return all(torch.equal(value, after[0][key]) for key, value in before[0].items()) and before[1:] == after[1:]


def refused(task, words, model=None, images=None, **options):
    """One sentence, at once, and the model stays as it was."""
    model = task[0] if model is None else model
    before = state(model)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(AlloyError, match=words) as error:
        for late in ("equalize", "reconstruct"):
            patch.setattr(sys.modules["quant.quantize"], late, None)  # long work would begin here
        quantize(model, task[1] if images is None else images, **{"mean": MEAN, "std": STD, "report": None, **options})
    assert "\n" not in str(error.value) and unchanged(model, before)
