"""The networks of the table, with trained weights where those lie beside the repository, else with seeded ones."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from quant import quantize
from quant.bench import data
from quant.bench.models import MobileNetV2, ResNet
from quant.graph import Graph
from quant.imports import trace
from quant.recipes import variant
from quant.sketch import sketch
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.network import Network

__all__ = ["Benchmark", "NETWORKS", "RECIPE", "graph", "integers", "sketched"]

RECIPE = "alloy"
SEED = 0
CALIBRATION = 16        # random images, which show ranges of random weights


@dataclass(frozen=True)
class Benchmark:
    """A network: ``make`` builds it, ``shape`` (C, H, W) is that of its images; ``trained`` is its name in
    :data:`quant.bench.data.NETWORKS`, if it has one; ``title`` for people."""
    title: str
    make: Callable[[], nn.Module]
    shape: tuple[int, int, int] = (3, 224, 224)
    trained: str | None = None


def _conv(channels, filters, kernel=3, stride=1, padding=1, groups=1):
    return [nn.Conv2d(channels, filters, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(filters),
            nn.ReLU()]


def _separable(channels, filters, stride=1):
    """Depthwise 3x3, then 1x1."""
    return [*_conv(channels, channels, 3, stride, 1, channels), *_conv(channels, filters, 1, 1, 0)]


def _head(channels, classes):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def _vgg16():
    """Simonyan and Zisserman, 2015, configuration D."""
    layers, channels = [], 3
    for filters, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += [nn.Conv2d(channels, filters, 3, 1, 1), nn.ReLU()]
            channels = filters
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), nn.Linear(4096, 4096),
                         nn.ReLU(), nn.Linear(4096, 1000))


def _mobilenet_v1(width=32, classes=1000):
    """Howard et al., 2017; ``width`` filters in the first layer."""
    layers, channels = _conv(3, width, 3, 2), width
    for times, stride in ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1)):
        layers += _separable(channels, times * width, stride)
        channels = times * width
    return nn.Sequential(*layers, *_head(channels, classes))


class _ResNet8(nn.Module):
    """Of MLPerf Tiny: three stacks of one block, 16, 32 and 64 filters."""

    def __init__(self):
        super().__init__()
        self.stem, channels = nn.Sequential(*_conv(3, 16)), 16
        self.blocks, self.shortcuts = nn.ModuleList(), nn.ModuleList()
        for filters in (16, 32, 64):
            stride = 1 if filters == channels else 2
            self.blocks.append(nn.Sequential(*_conv(channels, filters, 3, stride), *_conv(filters, filters)[:2]))
            self.shortcuts.append(nn.Identity() if stride == 1 else nn.Conv2d(channels, filters, 1, stride))
            channels = filters
        self.head = nn.Sequential(*_head(channels, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block, shortcut in zip(self.blocks, self.shortcuts, strict=True):
            x = torch.relu(block(x) + shortcut(x))
        return self.head(x)


def _ds_cnn():
    """Of MLPerf Tiny: 64 filters, four separable layers, 49 x 10 features of a second of speech."""
    layers = _conv(1, 64, (10, 4), 2, (5, 1))
    for _ in range(4):
        layers += _separable(64, 64)
    return nn.Sequential(*layers, *_head(64, 12))


NETWORKS = {
    "resnet18": Benchmark("ResNet-18", partial(ResNet, 18), trained="resnet18"),
    "resnet34": Benchmark("ResNet-34", partial(ResNet, 34)),
    "resnet50": Benchmark("ResNet-50", partial(ResNet, 50), trained="resnet50"),
    "mobilenet_v1": Benchmark("MobileNet-V1", _mobilenet_v1),
    "mobilenet_v2": Benchmark("MobileNet-V2", MobileNetV2, trained="mobilenetv2"),
    "vgg16": Benchmark("VGG-16", _vgg16),
    "resnet8": Benchmark("ResNet-8, 32x32", _ResNet8, (3, 32, 32)),
    "ds_cnn": Benchmark("DS-CNN, 49x10", _ds_cnn, (1, 49, 10)),
    "mobilenet_v1_025": Benchmark("MobileNet-V1 0.25, 96x96", partial(_mobilenet_v1, 8, 2), (3, 96, 96))}


def _task(name):
    """What is known of a network beside the repository, or None."""
    trained = NETWORKS[name].trained
    try:
        return None if trained is None else data.load(trained)
    except AlloyError:
        return None


def _seeded(name):
    torch.manual_seed(SEED)
    return NETWORKS[name].make().eval()


def graph(name: str) -> tuple[Graph, str]:
    """The float graph of a network, and whether its weights are ``trained`` or ``seeded``."""
    task = _task(name)
    found = trace(_seeded(name) if task is None else task.model, NETWORKS[name].shape)
    found.logits = True
    return found, "seeded" if task is None else "trained"


def sketched(graph: Graph, config: EngineConfig) -> Network:
    """What the recipe makes of a graph for an engine, for the cycle model: nothing is calibrated."""
    network, _, refused = sketch(graph, variant(RECIPE), config)
    if refused:
        raise refused[0]
    assert isinstance(network, Network)
    return network


def integers(name: str, config: EngineConfig, say: Callable[[str], None]) -> tuple[Network, str]:
    """The calibrated integer network for an engine, and whether its weights are ``trained`` or ``seeded``."""
    task = _task(name)
    if task is not None:
        return quantize(task.model, task.train[0], recipe=RECIPE, board=config, mean=task.mean, std=task.std,
                        mirror=task.mirror, logits=True, name=name, report=say), "trained"
    images = np.random.default_rng(SEED).integers(0, 256, (CALIBRATION, *NETWORKS[name].shape), np.uint8)
    return quantize(_seeded(name), images, recipe=RECIPE, board=config, logits=True, name=name, report=say), "seeded"
