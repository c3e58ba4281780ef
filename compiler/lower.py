"""The graph of an integer network: each node says its operations."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from spec.network import Network
from spec.numerics import Scheme
from spec.operators.windows import Window
from spec.program import Image

from .graph import Graph, Value
from .im2col import plain
from .operations import Convolution, Maximum, Operation, Regions, Spread
from .scaling import Product

__all__ = ["Builder", "lower"]

class Builder:
    """What a node of the network says its operations with (``node.lower(builder)``): each call appends one."""

    def __init__(self, network: Network):
        self._network = network
        self.values = {t.name: Value(t.name, t.channels, t.height, t.width, t.bits, t.zero)
                       for t in network.tensors.values()}
        self.ops: list[Operation] = []

    def lower(self, tag: int, node: Any) -> None:
        """Append the operations of ``node``, the layer of number ``tag``."""
        self._tag = tag
        node.lower(self)

    def channels(self, tensor: str) -> int:
        """Of the tensor of this name."""
        return self.values[tensor].channels

    def convolution(self, node: Any, *, weight: np.ndarray, scheme: np.ndarray, mult: np.ndarray, bias: np.ndarray,
                    residual: str | None = None, res_mult: int = 0, table: np.ndarray | None = None,
                    regions: Regions = ()) -> None:
        """A convolution of ``node``'s input to its output: ``weight`` (filters, channels of a group, kernel) and one
        ``scheme``, ``mult`` and ``bias`` for each filter; ``residual`` is the name of the tensor that is added times
        ``res_mult``, ``table`` 256 codes, ``regions`` multipliers of parts of the output (:class:`Convolution`)."""
        self.ops.append(Convolution(
            **self._common(node), weight=weight, scheme=scheme, mult=mult.astype(np.int64),
            bias=bias.astype(np.int64), residual=self.values[residual] if residual else None, res_mult=res_mult,
            shift=node.shift, lo=node.lo, hi=node.hi, table=table, regions=regions))

    def lookup(self, node: Any, table: np.ndarray) -> None:
        """The entry of ``table`` (256 codes) for each code of ``node``'s input."""
        source, out = self.values[node.input], self.values[node.output]
        ones = np.ones(source.channels, np.int64)
        self.ops.append(Convolution(
            node.name, self._tag, source, out, weight=ones[:, None, None, None], scheme=Scheme.FIXED2 * ones,
            mult=2 * ones, bias=(source.zero - out.zero << 1) * ones, shift=1, table=table))

    def part(self, node: Any, tensor: str, at: int, *, mult: int, shift: int) -> None:
        """The channels of ``node``'s output from ``at`` on: those of ``tensor``, requantized."""
        source, out = self.values[tensor], self.values[node.output]
        ones = np.ones(source.channels, np.int64)
        self.ops.append(Convolution(
            f"{node.name}.{at}", self._tag, source, out, weight=ones[:, None, None, None], at=at,
            scheme=Scheme.FIXED2 * ones, mult=mult * ones, bias=0 * ones, shift=shift,
            hi=(1 << out.bits) - 1))

    def scaling(self, node: Any, *, factor: str, weight: int, residual: str | None = None, res_mult: int = 0,
                table: np.ndarray | None = None) -> None:
        """``weight`` times ``node``'s input times the number of each channel in the tensor ``factor``; then as for a
        convolution."""
        self.ops.append(Product(
            node.name, self._tag, self.values[node.input], self.values[node.output], factor=self.values[factor],
            weight=weight, residual=self.values[residual] if residual else None, res_mult=res_mult, shift=node.shift,
            lo=node.lo, hi=node.hi, table=table, macs=node.macs(self._network)))

    def select(self, node: Any, weight: np.ndarray, window: Window) -> None:
        """The codes of ``node``'s input that filters of one 1 each, ``weight``, read in windows that begin like
        ``window``, one for each pixel of the output."""
        source, out = self.values[node.input], self.values[node.output]
        ones = np.ones(out.channels, np.int64)
        end = [(count - 1) * stride + reach - size - start for count, stride, reach, size, start in zip(
            (out.height, out.width), window.stride, window.reach, (source.height, source.width), window.padding,
            strict=True)]
        self.ops.append(Convolution(
            node.name, self._tag, source, out, weight=weight, stride=window.stride, padding=window.padding,
            padding_end=(end[0], end[1]), scheme=Scheme.FIXED2 * ones, mult=2 * ones, bias=0 * ones, shift=1,
            hi=(1 << out.bits) - 1))

    def spread(self, node: Any, up: tuple[int, int], *, apart: bool) -> None:
        """``up`` pixels of each pixel, all the same or ``apart`` in the channels of the input."""
        self.ops.append(Spread(node.name, self._tag, self.values[node.input], self.values[node.output], up=up,
                               apart=apart))

    def maximum(self, node: Any, kernel: tuple[int, int]) -> None:
        """The maximum over each window of ``kernel`` (rows, columns)."""
        self.ops.append(Maximum(**self._common(node), window=(kernel[0], kernel[1])))

    def _common(self, node) -> Mapping[str, Any]:
        source, out = self.values[node.input], self.values[node.output]
        window = _calm(Window.of(node), (source.height, source.width), (out.height, out.width))
        return {"name": node.name, "tag": self._tag, "input": source, "output": out, "stride": window.stride,
                "padding": window.padding, "padding_end": window.padding_end, "dilation": window.dilation,
                "macs": node.macs(self._network)}


def _calm(window, size, out):
    """The same windows over a map of ``size``; stride 1, and not a large one, in directions that have only one."""
    lone = [count == 1 and stride > 2 for count, stride in zip(out, window.stride, strict=True)]
    if not any(lone):
        return window
    ends = [reach - length - start for reach, length, start in zip(window.reach, size, window.padding, strict=True)]
    return replace(window, stride=tuple(1 if one else s for one, s in zip(lone, window.stride, strict=True)),
                   padding_end=tuple(end if one else e for one, end, e in zip(lone, ends, window.end, strict=True)))


def lower(network: Network, keep: Collection[str] | str = (), pixel_bytes: int | None = None,
          row_bytes: int | None = None) -> Graph:
    """The operations of all nodes, as the nodes say them; the rest as in :func:`compiler.build.compile`."""
    builder = Builder(network)
    for tag, node in enumerate(network.nodes):
        builder.lower(tag, node)
    source = builder.values[network.input]
    kept = [builder.values[name] for name in (node.output for node in network.nodes)
            if keep == "all" or name in keep or name == network.output]
    pixel = source.channels if pixel_bytes is None else pixel_bytes
    row = source.width * pixel if row_bytes is None else row_bytes
    image = Image(0, source.channels, source.height, source.width, pixel, row)
    return Graph(source, builder.values[network.output], tuple(builder.ops), plain(image, source.zero), frozenset(kept))
