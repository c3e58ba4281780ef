"""Networks and data sets of the bench: what is shipped, and what lies beside the repository (``../shared/data``)."""

from dataclasses import dataclass
import io
import lzma
from pathlib import Path
import tarfile
import zipfile

import numpy as np
import torch

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
    model: torch.nn.Module
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
    images = np.stack([_decode(blob[a:b]) for a, b in zip(off, off[1:])])
    return tuple((images[data["split"] == part], labels[data["split"] == part]) for part in (0, 1))


def _photographs():
    """nips17: the first 200 rows to calibrate, the other 800 to report."""
    with tarfile.open(_file("imagenet_nips17_ccby_1000.tar")) as tar:
        files = {m.name.split("/")[-1]: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}
    rows = [line.split(",")[:2] for line in files["labels.csv"].decode().splitlines()[1:] if line]
    images, labels = np.stack([_decode(files[name]) for name, _ in rows]), np.array([int(label) for _, label in rows])
    return (images[:CALIBRATION], labels[:CALIBRATION]), (images[CALIBRATION:], labels[CALIBRATION:])


def _resnet20():
    model = CifarResNet()
    missing = model.load_state_dict(_state(_xz("cifar10_resnet20_jpegft.npz.xz")), strict=False)
    assert not missing.unexpected_keys and all("downsample" in key for key in missing.missing_keys), missing
    return Task("resnet20", "CIFAR-10 (JPEG)", model.eval(), *_cifar(), MEAN, STD)


def _imagenet(name):
    if name == "mobilenetv2":
        arrays = np.load(_file("mobilenetv2_fp32.npz"))
        model = MobileNetV2()
        convs = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
        for index, layer in enumerate([*convs, model.fc]):
            stem = "fc" if layer is model.fc else f"conv{index:02d}"
            layer.weight.data.copy_(torch.from_numpy(arrays[f"{stem}_w"]).reshape(layer.weight.shape))
            layer.bias.data.copy_(torch.from_numpy(arrays[f"{stem}_b"]))
    else:
        model = ResNet(int(name[6:]))
        model.load_state_dict(_state(_xz(f"{name}_pqf.npz.xz")), strict=False)
    return Task(name, "nips17", model.eval(), *_photographs(), MEAN, STD, mirror=True)


def _fashion():
    shipped = example.load("fashion_mnist")
    train, test = example.training("fashion_mnist"), (shipped.images, shipped.labels)
    return Task("resnet8", "Fashion-MNIST", shipped.model.eval(), *((images, labels.astype(np.int64)) for images, labels in (train, test)))


NETWORKS = {"resnet8": _fashion, "resnet20": _resnet20, **{n: (lambda n=n: _imagenet(n)) for n in ("resnet18", "resnet50", "mobilenetv2")}}


def load(name):
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
