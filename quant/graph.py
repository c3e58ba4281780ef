"""The float network that is quantized: layers with batch norm folded, ReLU and addition fused into the convolution before them."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

__all__ = ["Layer", "Graph"]


@dataclass(eq=False)
class Layer:
    """One layer of the float graph. ``weight`` (F, C / groups, kh, kw) and ``bias`` (F,) have the batch norm folded in.

    ``cap`` (F, 1, 1) is the upper bound of a ReLU6, of each channel. ``moments`` (2, F), where a batch norm was folded: mean and standard
    deviation that each filter's output had in training.
    """
    kind: str                   # "conv", "max" or "avg"
    name: str
    input: str
    output: str
    kernel: tuple
    stride: tuple
    padding: tuple
    weight: torch.Tensor = None
    bias: torch.Tensor = None
    residual: str = None
    relu: bool = False
    cap: torch.Tensor = None
    groups: int = 1
    moments: torch.Tensor = None

    @property
    def fresh(self):
        """Whether it is a bare convolution so far, without addition and ReLU."""
        return self.kind == "conv" and not self.relu and self.residual is None

    def apply(self, x, weight=None, bias=None):
        """The layer on (N, C, H, W), before addition and ReLU; with other weights and bias if they are given."""
        if self.kind == "max":
            return F.max_pool2d(x, self.kernel, self.stride, self.padding)
        if self.kind == "avg":
            return F.avg_pool2d(x, self.kernel, self.stride)
        return F.conv2d(x, self.weight if weight is None else weight, self.bias if bias is None else bias,
                        self.stride, self.padding, groups=self.groups)

    def finish(self, x, residual=None):
        """Addition and ReLU."""
        x = x if residual is None else x + residual
        if self.relu:
            x = F.relu(x)
        return x if self.cap is None else torch.minimum(x, self.cap.to(x))


@dataclass(eq=False)
class Graph:
    """Layers in execution order; ``shapes`` is (C, H, W) of every tensor.

    ``logits``: the output tells classes apart, and only which is the largest and by how much counts. Otherwise every value of it does.
    """
    input: str
    output: str
    layers: list
    shapes: dict
    logits: bool = False

    @property
    def bounded(self):
        """Names of the tensors that a ReLU bounds and a layer reads, not only an addition: those that recipes give few bits."""
        read = {layer.input for layer in self.layers}
        return [layer.output for layer in self.layers if layer.relu and layer.output in read]

    def readers(self, name):
        """The convolutions that read a tensor, be it through a max pool."""
        out = []
        for layer in self.layers:
            if layer.input == name:
                out += self.readers(layer.output) if layer.kind == "max" else [layer] if layer.kind == "conv" else []
        return out

    def run(self, x):
        """Every tensor for real inputs (N, C, H, W)."""
        tensors = {self.input: x}
        for layer in self.layers:
            tensors[layer.output] = layer.finish(layer.apply(tensors[layer.input]), tensors.get(layer.residual))
        return tensors
