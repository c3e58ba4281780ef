"""ResNet-8 for 28 x 28 grey images: a stem and three residual blocks of 16, 32 and 64 channels."""

from torch import nn

__all__ = ["Block", "ResNet8"]


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut; 1x1 convolution in the shortcut where shape changes."""

    def __init__(self, channels, filters, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.down = None
        if stride != 1 or channels != filters:
            self.down = nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x):
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu2(y + (x if self.down is None else self.down(x)))


class ResNet8(nn.Module):
    """Input (N, 1, 28, 28) in 0..1, output (N, 10) logits."""

    def __init__(self, widths=(16, 32, 64), classes=10):
        super().__init__()
        self.conv = nn.Conv2d(1, widths[0], 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        self.block1 = Block(widths[0], widths[0], 1)
        self.block2 = Block(widths[0], widths[1], 2)
        self.block3 = Block(widths[1], widths[2], 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(widths[2], classes)

    def forward(self, x):
        x = self.relu(self.bn(self.conv(x)))
        x = self.block3(self.block2(self.block1(x)))
        return self.linear(self.flatten(self.pool(x)))
