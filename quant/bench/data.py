"""Networks and data sets of the bench: what is shipped, and what lies beside the repository (``../shared/data``)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
import io
from itertools import pairwise
import lzma
from pathlib import Path
import tarfile
import zipfile

import numpy as np
import torch
from torch import nn

from spec.errors import AlloyError

from .. import example
from .models import MEAN, STD, CifarResNet, MobileNetV2, ResNet

__all__ = ["NETWORKS", "Task", "load"]

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
CALIBRATION = 200


@dataclass
class Task:
    """A float model, images uint8 (N, C, H, W) and labels to calibrate (and train) with and to report on.

    ``mean``, ``std`` and ``mirror`` are those of :func:`quant.quantize`; images that are few calibrate mirrored, too.
    """
    name: str
    data: str
    model: nn.Module
    train: tuple
    test: tuple
    mean: tuple | None = None
    std: tuple | None = None
    mirror: bool = False


def _file(name):
    path = SHARED / name
    if not path.exists():
        raise AlloyError(f"the bench needs {name}, which is not part of the repository: put it into {SHARED}")
    return path


def _xz(name):
    with lzma.open(_file(name)) as file:
        data = np.load(io.BytesIO(file.read()))
        return {key: data[key] for key in data.files}


def _state(arrays):
    return {key: torch.from_numpy(np.asarray(value, np.float32)) for key, value in arrays.items()}


def _decode(blob):
    """uint8 (3, H, W) of one JPEG file."""
    from PIL import Image
    return np.asarray(Image.open(io.BytesIO(blob)).convert("RGB")).transpose(2, 0, 1)


def _cifar():
    data = _xz("cifar10_jpeg_60k.npz.xz")
    blob, off, labels = data["blob"].tobytes(), data["off"], data["y"].astype(np.int64)
    images = np.stack([_decode(blob[start:end]) for start, end in pairwise(off)])
    train, test = ((images[data["split"] == part], labels[data["split"] == part]) for part in (0, 1))
    return train, test


def _photographs():
    """nips17: the first 200 rows to calibrate, the other 800 to report."""
    with tarfile.open(_file("imagenet_nips17_ccby_1000.tar")) as tar:
        members = {member.name.split("/")[-1]: tar.extractfile(member) for member in tar.getmembers()}
        files = {name: member.read() for name, member in members.items() if member}
    rows = [line.split(",")[:2] for line in files["labels.csv"].decode().splitlines()[1:] if line]
    images, labels = np.stack([_decode(files[name]) for name, _ in rows]), np.array([int(label) for _, label in rows])
    return (images[:CALIBRATION], labels[:CALIBRATION]), (images[CALIBRATION:], labels[CALIBRATION:])


def _resnet20():
    model = CifarResNet()
    missing = model.load_state_dict(_state(_xz("cifar10_resnet20_jpegft.npz.xz")), strict=False)
    assert not missing.unexpected_keys and all("downsample" in key for key in missing.missing_keys), missing
    train, test = _cifar()
    return Task("resnet20", "CIFAR-10 (JPEG)", model.eval(), train, test, MEAN, STD)


def _mobilenet():
    arrays, model = np.load(_file("mobilenetv2_fp32.npz")), MobileNetV2()
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for index, layer in enumerate(layers):
        stem = "fc" if layer is model.fc else f"conv{index:02d}"
        layer.weight.data.copy_(torch.from_numpy(arrays[f"{stem}_w"]).reshape(layer.weight.shape))
        assert layer.bias is not None
        layer.bias.data.copy_(torch.from_numpy(arrays[f"{stem}_b"]))
    return _imagenet("mobilenetv2", model)


def _resnet(depth):
    model = ResNet(depth)
    model.load_state_dict(_state(_xz(f"resnet{depth}_pqf.npz.xz")), strict=False)
    return _imagenet(f"resnet{depth}", model)


def _imagenet(name, model):
    train, test = _photographs()
    return Task(name, "nips17", model.eval(), train, test, MEAN, STD, mirror=True)


def _fashion():
    shipped = example.load("fashion_mnist")
    train, known = example.training("fashion_mnist")
    return Task("resnet8", "Fashion-MNIST", shipped.model.eval(), (train, known.astype(np.int64)),
                (shipped.images, shipped.labels.astype(np.int64)))


NETWORKS: dict[str, Callable[[], Task]] = {
    "resnet8": _fashion, "resnet20": _resnet20, "resnet18": partial(_resnet, 18), "resnet50": partial(_resnet, 50),
    "mobilenetv2": _mobilenet}


def load(name: str) -> Task:
    """The :class:`Task` of a network."""
    if name not in NETWORKS:
        raise AlloyError(f"the bench has no network {name!r}: choose {', '.join(NETWORKS)}")
    try:
        return NETWORKS[name]()
    except AlloyError:
        raise
    except (OSError, ValueError, KeyError, EOFError, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise AlloyError(f"a file of {name} in {SHARED} is truncated or damaged ({type(error).__name__}): copy it "
                         "again") from None
