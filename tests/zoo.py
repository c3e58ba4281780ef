"""Networks as users write them: those of torchvision, and others in their own spellings. Weights are random.

``python -m tests.zoo`` takes each through ``alloy check`` at its own size, in a process of its own, and keeps what it
says in docs/results/zoo.json and the table docs/results/zoo.md, row by row. ``--resume`` goes on where it was cut off,
with the networks that have no row; names of networks update those alone.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
import json
from multiprocessing import get_context
from pathlib import Path
import sys
import time
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import boards
from alloy.check import Report, Request, look
from quant.models import without_kernels
from quant.recipes import variant
from spec.errors import AlloyError
from spec.files import write_text
from spec.progress import say

__all__ = ["RESULTS", "ZOO", "Entry", "ask", "main", "measured", "torchvision_models"]

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
PLATFORM, RECIPE = "zcu102", "alloy"
SHOWN = 3           # refusals of a network in the table


@dataclass(frozen=True)
class Entry:
    """A network: ``make`` builds it, ``size`` is the height and width of its images, ``small`` one for quick tests."""
    make: Callable[[], nn.Module]
    size: int = 224
    small: int = 64
    channels: int = 3


def torchvision_models() -> ModuleType:
    """torchvision.models, with kernels or without."""
    try:
        return import_module("torchvision.models")
    except RuntimeError:
        without_kernels()
        return import_module("torchvision.models")


def _seen(name, **options):
    return lambda: getattr(torchvision_models(), name)(weights=None, **options)


def _cbr(channels, filters, kernel=3, stride=1, groups=1, activation=nn.ReLU):
    """Convolution, batch norm, activation."""
    return nn.Sequential(nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False),
                         nn.BatchNorm2d(filters), activation())


class MobileNetV1(nn.Module):
    """Howard et al., 2017."""
    STRIDES = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))

    def __init__(self, classes=1000):
        super().__init__()
        layers, channels = [_cbr(3, 32, 3, 2)], 32
        for filters, stride in self.STRIDES:
            layers += [_cbr(channels, channels, 3, stride, channels), _cbr(channels, filters, 1)]
            channels = filters
        self.features, self.fc = nn.Sequential(*layers), nn.Linear(channels, classes)

    def forward(self, x):
        x = self.features(x)
        x = F.avg_pool2d(x, x.size(2)).view(x.size(0), -1)
        return self.fc(x)


class OptionA(nn.Module):
    """ResNet-20 for CIFAR as in the paper: shortcuts without parameters (every other pixel, new channels are zeros)."""

    class Block(nn.Module):
        def __init__(self, channels, filters, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(filters)
            self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(filters)
            self.stride, self.pad = stride, (filters - channels) // 2

        def forward(self, x):
            out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            if self.pad:
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad), "constant", 0)
            return F.relu(out + x)

    def __init__(self, blocks=3):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        stages, channels = [], 16
        for index, filters in enumerate((16, 32, 64)):
            for block in range(blocks):
                stages.append(self.Block(channels, filters, 2 if index and not block else 1))
                channels = filters
        self.stages, self.linear = nn.Sequential(*stages), nn.Linear(64, 10)

    def forward(self, x):
        out = self.stages(F.relu(self.bn1(self.conv1(x))))
        out = F.avg_pool2d(out, out.size()[3])
        return self.linear(out.view(out.size(0), -1))


class UNet(nn.Module):
    """Ronneberger et al., 2015, with padding; ``up`` is how it grows: "transposed" or "nearest"."""

    def __init__(self, up="transposed", base=16, classes=2):
        super().__init__()
        self.down = nn.ModuleList([self._double(3, base), self._double(base, 2 * base),
                                   self._double(2 * base, 4 * base)])
        self.middle, self.pool = self._double(4 * base, 8 * base), nn.MaxPool2d(2)
        sizes = (8 * base, 4 * base, 2 * base, base)
        self.up = nn.ModuleList([
            nn.ConvTranspose2d(a, b, 2, 2) if up == "transposed" else
            nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 3, padding=1))
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)])
        self.merge = nn.ModuleList([self._double(2 * b, b) for b in sizes[1:]])
        self.out = nn.Conv2d(base, classes, 1)

    @staticmethod
    def _double(channels, filters):
        return nn.Sequential(_cbr(channels, filters), _cbr(filters, filters))

    def forward(self, x):
        kept = []
        for down in self.down:
            x = down(x)
            kept.append(x)
            x = self.pool(x)
        x = self.middle(x)
        for up, merge, skip in zip(self.up, self.merge, reversed(kept), strict=True):
            x = merge(torch.cat([skip, up(x)], dim=1))
        return self.out(x)


class TinyYolo(nn.Module):
    """YOLO-like: leaky ReLU, a head at one scale."""

    def __init__(self, activation=lambda: nn.LeakyReLU(0.1), anchors=3, classes=20):
        super().__init__()
        layers, channels = [], 3
        for filters in (16, 32, 64, 128, 256):
            layers += [_cbr(channels, filters, activation=activation), nn.MaxPool2d(2, 2)]
            channels = filters
        layers += [_cbr(channels, 512, activation=activation), _cbr(512, 256, 1, activation=activation)]
        self.body, self.head = nn.Sequential(*layers), nn.Conv2d(256, anchors * (5 + classes), 1)

    def forward(self, x):
        return self.head(self.body(x))


class YoloNeck(nn.Module):
    """YOLO-like with split and concatenated bottlenecks, SiLU, pools side by side, and upsampling to a finer head."""

    class C2f(nn.Module):
        def __init__(self, channels, count=1):
            super().__init__()
            self.first, half = _cbr(channels, channels, 1, activation=nn.SiLU), channels // 2
            self.parts = nn.ModuleList([_cbr(half, half, activation=nn.SiLU) for _ in range(count)])
            self.last = _cbr(channels + count * half, channels, 1, activation=nn.SiLU)

        def forward(self, x):
            parts = list(self.first(x).chunk(2, 1))
            for part in self.parts:
                parts.append(part(parts[-1]))
            return self.last(torch.cat(parts, 1))

    def __init__(self, outputs=32):
        super().__init__()
        act = nn.SiLU
        self.stem = nn.Sequential(_cbr(3, 16, 3, 2, activation=act), _cbr(16, 32, 3, 2, activation=act))
        self.fine, self.down, self.coarse = self.C2f(32), _cbr(32, 64, 3, 2, activation=act), self.C2f(64)
        self.narrow, self.pool = _cbr(64, 32, 1, activation=act), nn.MaxPool2d(5, 1, 2)
        self.spp, self.join = _cbr(128, 32, 1, activation=act), _cbr(64, 32, 1, activation=act)
        self.head = nn.Conv2d(32, outputs, 1)

    def forward(self, x):
        fine = self.fine(self.stem(x))
        y = [self.narrow(self.coarse(self.down(fine)))]
        for _ in range(3):
            y.append(self.pool(y[-1]))
        up = F.interpolate(self.spp(torch.cat(y, 1)), scale_factor=2, mode="nearest")
        return self.head(self.join(torch.cat((up, fine), 1)))


class DSCNN(nn.Module):
    """Keyword spotting: depthwise separable convolutions on 49x10 features (Zhang et al., 2017)."""

    def __init__(self, classes=12, filters=64):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, filters, (10, 4), (2, 2), (4, 1)), nn.BatchNorm2d(filters), nn.ReLU())
        self.blocks = nn.Sequential(*[nn.Sequential(_cbr(filters, filters, groups=filters), _cbr(filters, filters, 1))
                                      for _ in range(4)])
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(filters, classes)

    def forward(self, x):
        return self.fc(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


class Autoencoder(nn.Module):
    """Convolutions down, linear bottleneck, transposed convolutions up, sigmoid."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU())
        self.code, self.back = nn.Linear(32 * 7 * 7, 32), nn.Linear(32, 32 * 7 * 7)
        self.decoder = nn.Sequential(nn.ConvTranspose2d(32, 16, 2, 2), nn.ReLU(), nn.ConvTranspose2d(16, 1, 2, 2),
                                     nn.Sigmoid())

    def forward(self, x):
        code = self.code(self.encoder(x).flatten(1))
        return self.decoder(F.relu(self.back(code)).view(-1, 32, 7, 7))


class MLP(nn.Module):
    """Linear layers on a flat image."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 128), nn.ReLU(),
                                    nn.Linear(128, 10))

    def forward(self, x):
        return self.layers(x.view(x.shape[0], -1))


class LeNet(nn.Module):
    """The first network of every tutorial: functional calls, 5x5 without padding."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 * 4 * 4, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return F.log_softmax(self.fc3(x), dim=1)


class Functional(nn.Module):
    """Only functions and parameters."""

    def __init__(self):
        super().__init__()
        self.w1, self.b1 = nn.Parameter(torch.randn(16, 3, 3, 3) * 0.2), nn.Parameter(torch.zeros(16))
        self.w2, self.w3 = nn.Parameter(torch.randn(32, 16, 3, 3) * 0.1), nn.Parameter(torch.randn(10, 32) * 0.2)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, x):
        x = (x - self.mean) / self.std
        x = torch.conv2d(x, self.w1, self.b1, stride=2, padding=1).clamp(min=0)
        x = torch.relu_(F.conv2d(x, self.w2, padding="same"))
        x = x.amax((2, 3)) if self.training else x.mean((2, 3))
        return x @ self.w3.T


class PreActivation(nn.Module):
    """Pre-activation residual blocks (He et al., 2016): batch norm and ReLU before convolutions."""

    def __init__(self, width=32, blocks=3):
        super().__init__()
        self.stem, self.last, self.fc = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.Linear(width, 10)
        self.blocks = nn.ModuleList([nn.ModuleList([nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, padding=1),
                                                    nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, padding=1)])
                                     for _ in range(blocks)])

    def forward(self, x):
        x = self.stem(x)
        for n1, c1, n2, c2 in self.blocks:
            x = x + c2(F.relu(n2(c1(F.relu(n1(x))))))
        return self.fc(F.adaptive_avg_pool2d(F.relu(self.last(x)), 1).flatten(1))


class ESPCN(nn.Module):
    """Super-resolution by pixel shuffle (Shi et al., 2016)."""

    def __init__(self, factor=2):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 64, 5, padding=2), nn.ReLU(), nn.Conv2d(64, 32, 3, padding=1), nn.ReLU(),
                                  nn.Conv2d(32, factor * factor, 3, padding=1))
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, x):
        return self.shuffle(self.body(x))


ZOO = {
    **{name: Entry(_seen(name)) for name in (
        "resnet18", "resnet34", "resnet50", "resnet101", "resnext50_32x4d", "wide_resnet50_2", "regnet_x_400mf",
        "regnet_y_400mf", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet0_5", "mnasnet1_0",
        "vgg11", "vgg16_bn", "squeezenet1_0", "squeezenet1_1", "densenet121", "shufflenet_v2_x0_5",
        "shufflenet_v2_x1_0", "efficientnet_b0")},
    "alexnet": Entry(_seen("alexnet"), small=96),
    "googlenet": Entry(_seen("googlenet", init_weights=False), small=96),
    "googlenet_no_aux": Entry(_seen("googlenet", init_weights=False, aux_logits=False), small=96),
    "inception_v3": Entry(_seen("inception_v3", init_weights=False), 299, 96),
    "convnext_tiny": Entry(_seen("convnext_tiny")),
    "vit_b_16": Entry(_seen("vit_b_16"), small=224),
    "mobilenet_v1": Entry(MobileNetV1),
    "resnet20_option_a": Entry(OptionA, 32, 16),
    "preactivation": Entry(PreActivation, 32, 16),
    "unet": Entry(UNet, 128, 32),
    "unet_nearest": Entry(partial(UNet, "nearest"), 128, 32),
    "tiny_yolo": Entry(TinyYolo, 416, 64),
    "yolo_neck": Entry(YoloNeck, 320, 64),
    "ds_cnn": Entry(DSCNN, 49, 49, 1),
    "autoencoder": Entry(Autoencoder, 28, 28, 1),
    "mlp": Entry(MLP, 28, 28, 1),
    "lenet": Entry(LeNet, 28, 28, 1),
    "functional": Entry(Functional, 32, 16),
    "espcn": Entry(ESPCN, 64, 16, 1),
}


def ask(name: str, *, small: bool = False) -> Report:
    """What ``alloy check`` says of a network of the zoo."""
    entry, board = ZOO[name], boards.get(PLATFORM)
    torch.manual_seed(0)
    size = entry.small if small else entry.size
    return look(Request(name, entry.make().eval(), (entry.channels, size, size), board, board.config, RECIPE,
                        variant(RECIPE)))


def _row(report, seconds):
    """What the table keeps of a report."""
    found = report.performance
    reasons = list(dict.fromkeys(one.operation or one.reason for one in report.refused))
    return {"shape": "x".join(map(str, report.shape)), "accepted": report.accepted, "refused": reasons,
            "layers": report.layers, "weights": report.fit and report.fit.weights, "macs": found and found.macs,
            "cycles": found and found.cycles, "fps": found and found.fps, "seconds": round(seconds, 1)}


def _table(rows):
    """The page of all rows."""
    good = sum(row["accepted"] for row in rows.values())
    board = boards.get(PLATFORM)
    yield from ("# Networks that Alloy takes", "",
                f"`python -m tests.zoo`: each network with random weights through `alloy check` for {PLATFORM} with the"
                f" recipe `{RECIPE}`, to a compiled program. Cycles are estimates of the cycle model, frames per second"
                f" those at {board.clock_mhz} MHz, batch 1, one image in flight, without the host's part; seconds are "
                "processor time of the check.", "", f"{good} of {len(rows)} are accepted.", "",
                "| network | image | | MMACs | weights | cycles | frames per second | seconds |",
                "|---|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        if row["accepted"]:
            told = f"accepted | {row['macs'] / 1e6:,.1f} | {row['weights']:,} | {row['cycles']:,} | {row['fps']:,.1f}"
        else:
            more = len(row["refused"]) - SHOWN
            why = ", ".join(f"`{one}`" if one.isidentifier() else one for one in row["refused"][:SHOWN])
            told = f"no: {why}{f' and {more} more' if more > 0 else ''} | | | | "
        yield f"| {name} | {row['shape']} | {told} | {row['seconds']:.0f} |"


def main(words: list[str], folder: Path = RESULTS) -> int:
    """Check networks, and write the table into ``folder``."""
    file = folder / "zoo.json"
    names = [word for word in words if word != "--resume"]
    if unknown := [name for name in names if name not in ZOO]:
        raise AlloyError(f"there is no network {unknown[0]} in the zoo: choose {', '.join(ZOO)}")
    if not words:       # everything anew
        file.unlink(missing_ok=True)
    rows = json.loads(file.read_text()) if file.exists() else {}
    names = names or [name for name in ZOO if name not in rows]
    for number, name in enumerate(names, 1):
        say(f"{name}, {number} of {len(names)}")
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:      # its memory is gone afterwards
            rows[name] = pool.submit(measured, name).result()
        rows = {known: rows[known] for known in ZOO if known in rows}
        write_text(file, json.dumps(rows, indent=1) + "\n")
        write_text(folder / "zoo.md", "\n".join(_table(rows)) + "\n")
    return 0


def measured(name: str) -> dict[str, Any]:
    """The row of a network."""
    began = time.process_time()
    return _row(ask(name), time.process_time() - began)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
