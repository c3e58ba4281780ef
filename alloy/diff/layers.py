"""Float network against fake quantization: the error of every layer."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import log10, sqrt
from typing import Any

import numpy as np
import torch

from quant.graph import Graph, compute
from quant.net import QuantNet
from spec.network import BATCH
from spec.operators import Layer

__all__ = ["Error", "LayerError", "compare_layers", "values_of", "in_turn"]


@dataclass(frozen=True)
class Error:
    """Fake quantization less float.

    Attributes
    ----------
    sqnr : signal to quantization noise, dB: 10 log10 of the sum of the squared float values over that of the squared
        errors; None if there is no error, or nothing else.
    relative : root of the mean squared error, of the standard deviation of the float values; None if they are all
        alike.
    """
    sqnr: float | None
    relative: float | None


@dataclass(frozen=True)
class LayerError:
    """Of one layer: ``whole`` with all layers before it quantized, too, ``own`` with the float values as its input.

    ``channel`` is the one of the largest own error (mean squared), ``channels`` the own error of each, relative to the
    standard deviation of the whole tensor.
    """
    name: str
    tensor: str
    whole: Error
    own: Error
    channel: int
    channels: list[float]

    def form(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class _Sums:
    """Of the channels of one tensor, over all images."""

    def __init__(self, channels: int):
        self.count = 0
        self.values, self.squares, self.noise = (np.zeros(channels) for _ in range(3))

    def add(self, real: torch.Tensor, fake: torch.Tensor) -> None:
        """The values (N, C, H, W) of some images."""
        real = real.double()
        over = (0, 2, 3)
        self.count += real.numel() // real.shape[1]
        self.values += real.sum(over).numpy()
        self.squares += real.square().sum(over).numpy()
        self.noise += (fake.double() - real).square().sum(over).numpy()

    def error(self) -> Error:
        """Of the whole tensor."""
        noise, signal, spread = self.noise.sum(), self.squares.sum(), self._spread()
        return Error(10 * log10(signal / noise) if noise and signal else None,
                     sqrt(noise / self.count / len(self.noise)) / spread if spread else None)

    def channels(self) -> np.ndarray:
        """Of each channel."""
        return np.sqrt(self.noise / self.count) / (self._spread() or 1.0)

    def _spread(self):
        count = self.count * len(self.noise)
        mean = self.values.sum() / count
        variance = self.squares.sum() / count - mean ** 2
        return sqrt(variance) if variance > 1e-12 * mean ** 2 else 0.0


def in_turn(graph: Graph) -> Iterator[tuple[Layer, list[str]]]:
    """The layers, each with the tensors that nothing reads any more behind it."""
    last = graph.last_reads()
    for index, layer in enumerate(graph.layers):
        yield layer, [name for name in set(layer.inputs) if last[name] <= index]


@torch.no_grad()
def compare_layers(net: QuantNet, codes: np.ndarray) -> tuple[list[LayerError], np.ndarray]:
    """The errors of all layers of a calibrated network, for input codes (N, C, H, W), and the outputs (N, features) of
    its float network."""
    graph = net.graph
    whole, own = ({layer.name: _Sums(graph.shapes[layer.output][0]) for layer in graph.layers} for _ in range(2))
    outputs, count = [], max(1, BATCH // codes[0].size)
    for at in range(0, len(codes), count):
        start = _real(net, codes[at:at + count])
        real, fake = {graph.input: start}, {graph.input: start}
        for layer, done in in_turn(graph):
            real[layer.output], alone = compute(layer, real), net.fake(layer, real)
            fake[layer.output] = net.fake(layer, fake)
            whole[layer.name].add(real[layer.output], fake[layer.output])
            own[layer.name].add(real[layer.output], alone)
            for name in done:
                del real[name], fake[name]
        outputs.append(real[graph.output].flatten(1).numpy())
    return [LayerError(layer.name, layer.output, whole[layer.name].error(), own[layer.name].error(),
                       int(own[layer.name].noise.argmax()), own[layer.name].channels().tolist())
            for layer in graph.layers], np.concatenate(outputs)


@torch.no_grad()
def values_of(net: QuantNet, layer_name: str, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, int, int]:
    """Values of a layer's output in the float network and with the layer alone quantized, (N, C, H, W) each, and the
    step, zero point and largest code of its codes."""
    real = {net.graph.input: _real(net, codes)}
    for layer, done in in_turn(net.graph):
        real[layer.output] = compute(layer, real)
        if layer.name == layer_name:
            step, zero = float(net.step(layer.output)), net.zeros[layer.output]
            return real[layer.output].numpy(), net.fake(layer, real).numpy(), step, zero, net.top(layer)
        for name in done:
            del real[name]
    raise KeyError(layer_name)


def _real(net, codes):
    return (torch.from_numpy(codes.astype(np.float32)) - net.zeros[net.graph.input]) * net.input_scale
