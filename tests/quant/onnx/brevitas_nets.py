"""Networks of Brevitas, as users quantize them."""

import brevitas.nn as qnn
from brevitas.quant import Int8WeightPerChannelFloat, Int8WeightPerTensorFixedPoint, Uint8ActPerTensorFixedPoint
from brevitas.quant import Int8ActPerTensorFixedPoint
import torch
from torch import nn

__all__ = ["QuantNet", "trained"]


class QuantNet(nn.Module):
    """Convolutions of few bits with batch norm, a shortcut, a pool and a linear layer; scales are powers of two, or of
    each filter (``fine``)."""

    def __init__(self, weights=4, acts=4, fine=False):
        super().__init__()
        how = Int8WeightPerChannelFloat if fine else Int8WeightPerTensorFixedPoint
        act = dict(act_quant=Uint8ActPerTensorFixedPoint, bit_width=acts, return_quant_tensor=not fine)
        self.quant_in = qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, bit_width=8, return_quant_tensor=True)
        self.conv1 = qnn.QuantConv2d(3, 8, 3, padding=1, bias=False, weight_quant=how, weight_bit_width=weights)
        self.bn1, self.relu1 = nn.BatchNorm2d(8), qnn.QuantReLU(**act)
        self.conv2 = qnn.QuantConv2d(8, 8, 3, stride=2, padding=1, bias=True, weight_quant=how,
                                     weight_bit_width=weights)
        self.relu2 = qnn.QuantReLU(**act)
        self.pool = nn.MaxPool2d(2)
        self.fc = qnn.QuantLinear(8 * 4 * 4, 5, bias=True, weight_quant=how, weight_bit_width=weights)
        self.out = qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, bit_width=8)

    def forward(self, x):
        x = self.relu1(self.bn1(self.conv1(self.quant_in(x))))
        x = self.pool(self.relu2(self.conv2(x)))
        return self.out(self.fc(torch.flatten(x, 1)))


def trained(seed=0, **given):
    """A network whose scales have seen images, in eval mode."""
    torch.manual_seed(seed)
    net = QuantNet(**given)
    nn.init.uniform_(net.bn1.weight, -1, 1.5)
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(8, 3, 16, 16))
    return net.eval()
