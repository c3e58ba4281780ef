"""The float network that is quantized: layers with batch norm folded, ReLU and addition fused into the convolution before them."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from spec.errors import AlloyError

__all__ = ["Layer", "Graph", "check_images", "check_values"]

SMALLEST, LARGEST = 1e-15, 1e15         # of the largest value of a tensor: its squares and their sums are normal 32-bit numbers


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

    def answers(self, out):
        """The output (N, C, H, W) as one row for each answer: (N * H * W, C) of logits, a class for every position; else (N, features)."""
        return out.movedim(1, 3).reshape(-1, out.shape[1]) if self.logits else out.flatten(1)

    def run(self, x):
        """Every tensor for real inputs (N, C, H, W)."""
        tensors = {self.input: x}
        for layer in self.layers:
            tensors[layer.output] = layer.finish(layer.apply(tensors[layer.input]), tensors.get(layer.residual))
        return tensors


def check_images(graph, images):
    """Raise :class:`AlloyError` unless ``images`` are real inputs (N, C, H, W) of a graph, float32 and finite, at least one."""
    shape = graph.shapes[graph.input]
    if not isinstance(images, torch.Tensor) or images.dtype != torch.float32:
        kind = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise AlloyError(f"the images are {kind}, not real inputs: give a float32 tensor of what the float model reads, such as codes / 255")
    if images.shape[1:] != shape or not len(images):
        raise AlloyError(f"the images are {'x'.join(map(str, images.shape))}, but the network reads Nx{'x'.join(map(str, shape))}: give at least "
                         "one of that shape")
    if not torch.isfinite(images).all():
        raise AlloyError("the images hold NaN or infinite values: look where they come from")


def check_values(layer, out):
    """Raise :class:`AlloyError` if the squares of a layer's float values ``out`` leave the range of 32-bit numbers."""
    peak = float(out.detach().abs().max())
    if peak != 0 and not SMALLEST < peak < LARGEST:     # NaN, too
        raise AlloyError(f"layer {layer.name} makes values of up to {peak:.1e}, beyond {SMALLEST:g} to {LARGEST:g}: scale its filters, and "
                         "the weights that read them by the inverse")
