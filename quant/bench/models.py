"""The float networks of the bench, which read images normalized with :data:`MEAN` and :data:`STD`."""

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["CifarResNet", "ResNet", "MobileNetV2", "MEAN", "STD"]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _conv(channels, filters, kernel, stride=1, groups=1, bias=False):
    return nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=bias)


class _Basic(nn.Module):
    """Two 3x3 convolutions and a shortcut."""
    expansion = 1

    def __init__(self, channels, filters, stride, shortcut):
        super().__init__()
        self.conv1, self.bn1 = _conv(channels, filters, 3, stride), nn.BatchNorm2d(filters)
        self.conv2, self.bn2 = _conv(filters, filters, 3), nn.BatchNorm2d(filters)
        self.downsample = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class _Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride: version 1.5) and 1x1 convolutions, and a shortcut."""
    expansion = 4

    def __init__(self, channels, filters, stride, shortcut):
        super().__init__()
        self.conv1, self.bn1 = _conv(channels, filters, 1), nn.BatchNorm2d(filters)
        self.conv2, self.bn2 = _conv(filters, filters, 3, stride), nn.BatchNorm2d(filters)
        self.conv3, self.bn3 = _conv(filters, 4 * filters, 1), nn.BatchNorm2d(4 * filters)
        self.downsample = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def _stage(block, channels, filters, count, stride, shortcut):
    blocks, out = [], filters * block.expansion
    for index in range(count):
        step = stride if index == 0 else 1
        other = shortcut(channels, out, step) if step != 1 or channels != out else None
        blocks.append(block(channels, filters, step, other))
        channels = out
    return nn.Sequential(*blocks)


class ResNet(nn.Module):
    """ResNet-18, -34 and -50 for 224x224 images and 1000 classes (He et al., CVPR 2016); names as in torchvision."""

    def __init__(self, depth):
        super().__init__()
        blocks: dict[int, tuple] = {
            18: (_Basic, (2, 2, 2, 2)), 34: (_Basic, (3, 4, 6, 3)), 50: (_Bottleneck, (3, 4, 6, 3))}
        block, counts = blocks[depth]
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for index, count in enumerate(counts):
            filters = 64 << index
            stage = _stage(block, channels, filters, count, 1 if index == 0 else 2, self._shortcut)
            self.add_module(f"layer{index + 1}", stage)
            channels = filters * block.expansion
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(channels, 1000)

    @staticmethod
    def _shortcut(channels, filters, stride):
        return nn.Sequential(_conv(channels, filters, 1, stride), nn.BatchNorm2d(filters))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for index in range(4):
            x = self.get_submodule(f"layer{index + 1}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


class CifarResNet(nn.Module):
    """ResNet-20 for 32x32 images and 10 classes (He et al., section 4.2).

    The parameter-free shortcut (every other pixel, new channels zero) is a 1x1 convolution with a selection matrix, its
    equal.
    """

    def __init__(self, blocks=3):
        super().__init__()
        self.conv1, self.bn1 = _conv(3, 16, 3), nn.BatchNorm2d(16)
        self.layer1 = _stage(_Basic, 16, 16, blocks, 1, self._shortcut)
        self.layer2 = _stage(_Basic, 16, 32, blocks, 2, self._shortcut)
        self.layer3 = _stage(_Basic, 32, 64, blocks, 2, self._shortcut)
        self.avgpool, self.linear = nn.AdaptiveAvgPool2d(1), nn.Linear(64, 10)

    @staticmethod
    def _shortcut(channels, filters, stride):
        conv, extra = _conv(channels, filters, 1, stride), (filters - channels) // 2
        with torch.no_grad():
            conv.weight.zero_()
            conv.weight[torch.arange(channels) + extra, torch.arange(channels)] = 1.0
        return conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.flatten(self.avgpool(x), 1))


class _Inverted(nn.Module):
    """Expansion, depthwise 3x3, linear projection; added to its input if the shapes agree."""

    def __init__(self, channels, filters, stride, expansion):
        super().__init__()
        middle = channels * expansion
        layers = [] if expansion == 1 else [_conv(channels, middle, 1, bias=True), nn.ReLU6()]
        layers += [_conv(middle, middle, 3, stride, middle, bias=True), nn.ReLU6()]
        layers.append(_conv(middle, filters, 1, bias=True))
        self.body, self.adds = nn.Sequential(*layers), stride == 1 and channels == filters

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + x if self.adds else self.body(x)


class MobileNetV2(nn.Module):
    """MobileNet-V2 for 224x224 images and 1000 classes (Sandler et al., CVPR 2018, table 2), batch norm folded
    already."""
    TABLE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self):
        super().__init__()
        layers, channels = [_conv(3, 32, 3, 2, bias=True), nn.ReLU6()], 32
        for expansion, filters, count, stride in self.TABLE:
            for index in range(count):
                layers.append(_Inverted(channels, filters, stride if index == 0 else 1, expansion))
                channels = filters
        layers += [_conv(channels, 1280, 1, bias=True), nn.ReLU6()]
        self.features, self.avgpool, self.fc = nn.Sequential(*layers), nn.AdaptiveAvgPool2d(1), nn.Linear(1280, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.avgpool(self.features(x)), 1))
