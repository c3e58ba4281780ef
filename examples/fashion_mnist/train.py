"""Trains the float network, then fine-tunes it with fake quantization.

``python -m examples.fashion_mnist.train --data fashion_mnist.npz.xz --stage float``, then ``--stage qat`` and ``--stage more``. The data file holds
``x_train, y_train, x_test, y_test`` (uint8) in NumPy's npz form inside xz.
"""

import argparse
import io
import lzma
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .model import ResNet8

__all__ = ["load_data", "accuracy", "main"]

HERE = Path(__file__).parent
BATCH = 128


def load_data(path):
    """(images uint8 (N, 1, 28, 28), labels int64) of the training set, and the same of the test set."""
    with lzma.open(path) as file:
        data = np.load(io.BytesIO(file.read()))
    return tuple((data[f"x_{part}"].reshape(-1, 1, 28, 28), data[f"y_{part}"].astype(np.int64)) for part in ("train", "test"))


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


def distillation(out, teacher, batch, temperature=4.0):
    """Cross entropy (batch mean) between the softened answers of the teacher and of the student, whose logits are ``out``."""
    with torch.no_grad():
        target = F.softmax(teacher(batch) / temperature, 1)
    return F.cross_entropy(out / temperature, target) * temperature ** 2


def fit(model, train, test, epochs, rate, decay=5e-4, seed=0, teacher=None):
    """SGD with momentum and one cosine cycle; prints the test accuracy after each epoch.

    With a ``teacher`` the loss is half cross entropy and half distillation (Hinton et al., arXiv:1503.02531, section 2), and the result
    is the moving average of the weights over about 1,000 steps, which settles those that swing between two levels.
    """
    images, labels = torch.from_numpy(train[0]), torch.from_numpy(train[1])
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * (len(images) // BATCH)
    # Scales of quantizers do not decay.
    scales = [p for name, p in model.named_parameters() if name.startswith(("steps.", "scales."))]
    others = [p for name, p in model.named_parameters() if not name.startswith(("steps.", "scales."))]
    groups = [{"params": others, "weight_decay": decay}] + ([{"params": scales, "weight_decay": 0.0}] if scales else [])
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    average = None if teacher is None else AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(images), generator=generator)
        total = 0.0
        for at in range(0, len(images) - BATCH + 1, BATCH):
            pick = order[at:at + BATCH]
            batch = augment(images[pick].float() / 255, generator)
            out = model(batch)
            loss = F.cross_entropy(out, labels[pick])
            if teacher is not None:
                loss = (loss + distillation(out, teacher, batch)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if average is not None:
                average.update_parameters(model)
            total += loss.item()
        print(f"epoch {epoch + 1} of {epochs}: loss {total / (len(images) // BATCH):.3f}, "
              f"test accuracy {100 * accuracy(average or model, *test):.2f} %", flush=True)
    if average is not None:
        model.load_state_dict(average.module.state_dict())


def main(arguments=None):
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--stage", choices=("float", "qat", "more"), required=True,
                        help="float, qat from it, or more epochs of qat")
    parser.add_argument("--epochs", type=int, default=None)
    args = parser.parse_args(arguments)
    torch.manual_seed(0)
    train, test = load_data(args.data)
    model = ResNet8()
    if args.stage == "float":
        fit(model, train, test, args.epochs or 12, 0.1)
        np.savez_compressed(HERE / "float.npz", **{k: v.numpy() for k, v in model.state_dict().items()})
        return
    from quant import qat
    qat.fine_tune(model, HERE, train, test, fit, args.epochs or 4, again=args.stage == "more")


if __name__ == "__main__":
    main()
