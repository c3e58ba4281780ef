"""A bound of a network's cycles on an engine, which takes microseconds: what is worth the cycle model."""

from dataclasses import dataclass

import numpy as np

from spec.config import EngineConfig
from spec.network import Network
from spec.operators.convolution import Conv

__all__ = ["Shapes", "bound"]

PRODUCTS = 9            # of a filter of a depthwise convolution, about


@dataclass(frozen=True)
class Shapes:
    """The convolutions of a network as arrays (N,): ``filters``, ``channels`` that each filter reads, ``positions`` of
    the kernel, ``pixels`` of the output, and ``codes`` of input and output (N, 2)."""
    filters: np.ndarray
    channels: np.ndarray
    positions: np.ndarray
    pixels: np.ndarray
    codes: np.ndarray

    @classmethod
    def of(cls, network: Network) -> "Shapes":
        """Of a network."""
        rows = []
        for node in network.nodes:
            if isinstance(node, Conv):
                filters, channels, height, width = node.weight.shape
                out, source = network.tensors[node.output], network.tensors[node.input]
                rows.append((filters, channels, height * width, out.height * out.width,
                             source.channels * source.height * source.width, filters * out.height * out.width))
        table = np.array(rows, float).reshape(len(rows), 6)
        return cls(table[:, 0], table[:, 1], table[:, 2], table[:, 3], table[:, 4:])


def bound(shapes: Shapes, config: EngineConfig, bytes_per_cycle: float) -> float:
    """Cycles of the layers, each by the slowest of array, weights, and what leaves the array; ``bytes_per_cycle`` of
    all ports together."""
    c, deep = config, shapes.channels > 1
    steps = np.where(deep, np.ceil(shapes.channels / c.ic) * shapes.positions, np.ceil(PRODUCTS / c.row_taps))
    groups = np.ceil(shapes.filters / np.where(deep, c.slots, np.minimum(c.slots, c.ic)))
    tiles = np.ceil(shapes.pixels / c.pixels)
    array = tiles * groups * np.maximum(steps, c.pixels / c.out_pixels)
    weights = groups * steps * c.slots * c.ic / 2 / bytes_per_cycle
    held = c.pixels * c.act_depth * c.ic
    spilled = np.where(shapes.codes.max(1) > held, shapes.codes.sum(1) / bytes_per_cycle, 0)
    return float((np.maximum(array, weights) + spilled).sum())
