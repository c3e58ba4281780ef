"""Trains the float network and picks the images that are shipped: a part of the training set, all of the test set.

``python -m examples.fashion_mnist.train --data fashion_mnist.npz.xz``. The data file holds ``x_train, y_train, x_test,
y_test`` (uint8) in NumPy's npz form inside xz.
"""

import io
import lzma
import sys
from typing import Annotated
import zipfile

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from typer import Option

from examples import paths
from spec.entry import entry
from spec.errors import AlloyError
from spec.files import check_outputs, read_bytes, save_arrays
from spec.looks import looks_like

from .model import ResNet8

__all__ = ["load_data", "accuracy", "main"]

BATCH, TRAINING = 128, 8192


def load_data(path: str) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """(images uint8 (N, 1, 28, 28), labels int64) of the training set, and the same of the test set."""
    packed = read_bytes(path, "data file")
    needed = tuple(f"{name}_{part}" for part in ("train", "test") for name in "xy")
    try:
        with np.load(io.BytesIO(lzma.decompress(packed)), allow_pickle=False) as file:
            data = {name: file[name] for name in needed}
    except (lzma.LZMAError, OSError, ValueError, KeyError, EOFError, TypeError, AttributeError,
            zipfile.BadZipFile) as error:
        raise AlloyError(f"{path} holds no {', '.join(needed)} in an .npz in xz ({error}): it looks like "
                         f"{looks_like(packed, path)}") from None
    return tuple((data[f"x_{part}"].reshape(-1, 1, 28, 28), data[f"y_{part}"].astype(np.int64))
                 for part in ("train", "test"))


def shipped(images, labels, count):
    """``count`` images in random order, their labels and their index in the data file."""
    index = np.random.default_rng(0).permutation(len(images))[:count]
    return {"images": images[index], "labels": labels[index].astype(np.uint8), "index": index.astype(np.int32)}


def augment(images, generator):
    """Random horizontal flip and shift by up to two pixels of a batch (N, 1, 28, 28)."""
    flip = torch.rand(len(images), generator=generator) < 0.5
    images = torch.where(flip[:, None, None, None], images.flip(3), images)
    dy, dx = torch.randint(0, 5, (2,), generator=generator).tolist()
    return F.pad(images, (2, 2, 2, 2))[:, :, dy:dy + 28, dx:dx + 28]


@torch.no_grad()
def accuracy(model, images, labels):
    """Fraction of right answers; ``images`` uint8."""
    model.eval()
    right = 0
    for at in range(0, len(images), 500):
        batch = torch.from_numpy(images[at:at + 500]).float() / 255
        right += int((model(batch).argmax(1) == torch.from_numpy(labels[at:at + 500])).sum())
    return right / len(images)


def fit(model, train, test, epochs, rate=0.1, decay=5e-4, seed=0):
    """SGD with momentum and one cosine cycle; prints the test accuracy after each epoch."""
    images, labels = torch.from_numpy(train[0]), torch.from_numpy(train[1])
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * (len(images) // BATCH)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(images), generator=generator)
        total = 0.0
        for at in range(0, len(images) - BATCH + 1, BATCH):
            pick = order[at:at + BATCH]
            batch = augment(images[pick].float() / 255, generator)
            loss = nn.functional.cross_entropy(model(batch), labels[pick])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1} of {epochs}: loss {total / (len(images) // BATCH):.3f}, "
              f"test accuracy {100 * accuracy(model, *test):.2f} %", flush=True)


@entry("python -m examples.fashion_mnist.train", "--data fashion_mnist.npz.xz --out build/fashion_mnist")
def main(
    data: Annotated[str, Option(help="images and labels: x_train, y_train, x_test, y_test in an .npz in xz")],
    out: Annotated[str, Option(help="folder for float.npz, training.npz and images.npz")] = "build/fashion_mnist",
    epochs: Annotated[int, Option(min=1)] = 10,
) -> int:
    """Train the float network of the example.

    Writes its weights and the images that are shipped.
    """
    weights, training, images = paths("fashion_mnist", out)
    check_outputs(weights, training, images, inputs=(data,))
    torch.manual_seed(0)
    train, test = load_data(data)
    save_arrays(training, shipped(*train, TRAINING))
    save_arrays(images, shipped(*test, len(test[0])))
    model = ResNet8()
    fit(model, train, test, epochs)
    save_arrays(weights, {k: v.numpy() for k, v in model.state_dict().items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
