"""Fake quantization against the integer network: every number of its layers, and the codes that they make."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
import warnings

import numpy as np
import torch

from quant.graph import compute
from quant.net import QuantNet
from spec.network import BATCH, Network

__all__ = ["Compared", "Wrong", "compare_numbers", "compare_codes", "BORDER"]

BORDER = 1 / 16     # of a code: fake quantization computes in 32 bits, the integer network rounds factors and biases


@dataclass(frozen=True)
class Wrong:
    """The first wrong code of a tensor."""
    layer: str
    tensor: str
    image: int
    channel: int
    row: int
    column: int
    expected: int
    found: int
    count: int

    def __str__(self) -> str:
        return (f"layer {self.layer}: tensor {self.tensor}, image {self.image}, channel {self.channel}, row "
                f"{self.row}, column {self.column}: fake quantization has the code {self.expected}, the integer "
                f"network {self.found} ({self.count} values of the tensor differ)")


@dataclass
class Compared:
    """The codes of all layers.

    ``border`` are values that differ by one code and are nearer than :data:`BORDER` to the border of the two.
    """
    tensors: int = 0
    equal: int = 0
    values: int = 0
    border: int = 0
    first: Wrong | None = None

    def form(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare_numbers(net: QuantNet, network: Network) -> list[str]:
    """A sentence for every field of a node or a tensor that is not what fake quantization computes with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # they were said when the network was made
        made = net.export(network.name)
    right, found = ({node.name: node.form() for node in one.nodes} for one in (made, network))
    if list(right) != list(found):
        other = next((name for name in [*right, *found] if name not in found or name not in right), "order")
        return [f"its layers are others than those of the model ({other})"]
    wrong = [text for name in right for text in _fields(f"layer {name}", right[name], found[name])]
    for name, tensor in made.tensors.items():
        other = network.tensors.get(name)
        wrong += _fields(f"tensor {name}", (tensor.form(), {}), ({} if other is None else other.form(), {}))
    return wrong


def _fields(what: str, right: tuple[Mapping, Mapping], found: tuple[Mapping, Mapping]) -> Iterator[str]:
    for key in sorted({*right[0], *found[0]}):
        if right[0].get(key) != found[0].get(key):
            yield f"{what}: {key} is {found[0].get(key)}, fake quantization has {right[0].get(key)}"
    for key in sorted({*right[1], *found[1]}):
        one, other = right[1].get(key, np.zeros(0)), found[1].get(key, np.zeros(0))
        if one.shape != other.shape:
            yield f"{what}: {key} is of shape {other.shape}, fake quantization has {one.shape}"
        elif (one != other).any():
            wrong_at = np.argwhere(one != other)
            at = tuple(map(int, wrong_at[0]))
            axes = ("filter", "channel", "row", "column") if key == "weight" else ("filter", "place")
            where = ", ".join(f"{axis} {index}" for axis, index in zip(axes, at, strict=False))
            more = f" ({len(wrong_at)} of {one.size} differ)" if len(wrong_at) > 1 else ""
            yield f"{what}: {key} of {where} is {other[at]}, fake quantization has {one[at]}{more}"


@torch.no_grad()
def compare_codes(net: QuantNet, network: Network, codes: np.ndarray) -> Compared:
    """Each layer of fake quantization on what the integer network has made of its sources, for input codes (N, C, H,
    W): no error runs through the layers behind it."""
    result, count = Compared(), max(1, BATCH // codes[0].size)
    wrong: dict[str, Wrong | None] = {}
    for at in range(0, len(codes), count):
        found = network.codes(codes[at:at + count])
        for layer in net.graph.layers:
            name = layer.output
            real = {source: _real(net, source, found[source]) for source in layer.inputs}
            off, border, right = _off(net, layer, real, found[name])
            result.values, result.border = result.values + off.size, result.border + int(border.sum())
            seen, bad = wrong.setdefault(layer.name, None), np.argwhere(off)
            if seen is not None:
                wrong[layer.name] = replace(seen, count=seen.count + len(bad))
            elif len(bad):
                image, channel, row, column = where = tuple(map(int, bad[0]))
                wrong[layer.name] = Wrong(layer.name, name, image + at, channel, row, column, int(right[where]),
                                          int(found[name][where]), len(bad))
    result.tensors, result.equal = len(wrong), sum(one is None for one in wrong.values())
    result.first = next((one for one in wrong.values() if one is not None), None)
    return result


def _real(net, name, codes):
    return (torch.from_numpy(codes) - net.zeros[name]).float() * net.step(name)


def _off(net, layer, real, found):
    """Where the codes ``found`` of a layer are wrong, which are on a border, and what fake quantization has."""
    zero, table = net.zeros[layer.output], None if layer.keeps else net.tables.get(layer.output)
    top = (1 << net.bits[layer.output]) - 1 if layer.keeps else net.top(layer)
    ratio = (compute(layer, real, **net.filters(layer)) / net.step(layer.output)).double().numpy()

    def coded(shift):
        codes = np.clip(np.floor(ratio + (0.5 + shift)) + zero, 0, top).astype(np.int64)
        return codes if table is None else table[codes].astype(np.int64)
    right = coded(0.0)
    near = (found == coded(-BORDER)) | (found == coded(BORDER))
    return (found != right) & ~near, (found != right) & near, right
