"""The float network that is quantized: layers with batch norm folded, ReLU and addition fused into the convolution
before them."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from spec.errors import AlloyError
from spec.operators import Layer
from spec.operators.lookup import LookupLayer

__all__ = ["Graph", "FloatNet", "Hole", "compute", "check_images", "check_values", "finite"]

# Of the largest value of a tensor: its squares and their sums are normal 32-bit numbers.
SMALLEST, LARGEST = 1e-15, 1e15


@dataclass(eq=False)
class Graph:
    """Layers (:class:`spec.operators.Layer`) in execution order; ``shapes`` is (C, H, W) of every tensor, ``places``
    says of layers where the model calls them.

    ``logits``: the output tells classes apart, and only which is the largest and by how much counts. Otherwise every
    value of it does. ``end`` is what the model makes of it at last, and the graph does not: the name of a function that
    only turns logits into probabilities or answers.
    """
    input: str
    output: str
    layers: list
    shapes: dict
    logits: bool = False
    places: Mapping[str, str] = field(default_factory=dict)
    end: str | None = None

    @property
    def weighted(self) -> list:
        """The layers that have filters."""
        return [layer for layer in self.layers if layer.weighted]

    def homes(self) -> dict[str, str]:
        """Of each tensor the one whose codes it has (bits, step and zero point), perhaps its own: that which it keeps,
        or that which it becomes a part of, if nothing else reads it."""
        home, readers = {self.input: self.input}, defaultdict(list)
        for layer in self.layers:
            home[layer.output] = home[layer.input] if layer.keeps else layer.output
            for name in layer.inputs:
                readers[name].append(name != layer.residual and (layer.keeps or layer.joins))
        own = {self.input, self.output, *(layer.output for layer in self.layers if layer.product)}
        for layer in reversed(self.layers):
            for source in layer.sources if layer.joins else ():
                alike = [name for name, other in home.items() if other == home[source]]
                if not own & {*alike} and all(all(readers[name]) for name in alike):
                    home |= dict.fromkeys(alike, home[layer.output])
        return home

    @property
    def narrow(self) -> set[str]:
        """Names of the tensors whose values ReLUs bound."""
        names: set[str] = set()
        for layer in self.layers:
            if layer.relu or (layer.keeps or layer.joins) and names.issuperset(layer.sources):
                names.add(layer.output)
        return names

    @property
    def bounded(self) -> list[str]:
        """Names of the tensors that ReLUs bound and a layer reads that gains by it, not only an addition or what else
        works on each value alone: those that recipes give few bits. Of tensors that have the same codes (:meth:`homes`)
        it is that whose codes they are."""
        homes = self.homes()
        few: set[str] = set()
        fine: set[str] = set()
        for layer in reversed(self.layers):
            if layer.narrows and (not (layer.keeps or layer.joins) or layer.output in few | {self.output}):
                few.update(layer.sources)
            if layer.fine:
                fine.update(layer.sources)
        found = self.narrow & {homes[name] for name in few} - {homes[name] for name in fine}
        return [layer.output for layer in self.layers if layer.output in found]

    def readers(self, name: str) -> list:
        """The layers with filters that read a tensor, be it through layers that keep its codes."""
        out = []
        for layer in self.layers:
            if name in layer.sources:
                out += self.readers(layer.output) if layer.keeps else [layer] if layer.weighted else []
        return out

    def lookups(self, name: str) -> list[LookupLayer]:
        """The table that alone reads a tensor, be it through layers that keep its codes; none if something else does,
        too."""
        found: list[LookupLayer] = []
        for layer in self.layers:
            if name in layer.inputs:
                more = self.lookups(layer.output) if layer.keeps else [layer] if isinstance(layer, LookupLayer) else []
                if not more:
                    return []
                found += more
        return found if len(found) == 1 and name != self.output else []

    def last_reads(self) -> dict[str, int]:
        """{tensor: number of the last layer that reads it}."""
        return {name: index for index, layer in enumerate(self.layers) for name in layer.inputs}

    def answers(self, out: torch.Tensor) -> torch.Tensor:
        """The output (N, C, H, W) as one row for each answer: (N * H * W, C) of logits, a class for every position;
        else (N, features)."""
        return out.movedim(1, 3).reshape(-1, out.shape[1]) if self.logits else out.flatten(1)

    def tensors(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Every tensor for real inputs (N, C, H, W), or such as the model reads."""
        tensors = {self.input: x.reshape(-1, *self.shapes[self.input])}
        for layer in self.layers:
            tensors[layer.output] = compute(layer, tensors)
        return tensors


def compute(layer: Layer, tensors: Mapping[str, torch.Tensor], **other: torch.Tensor) -> torch.Tensor:
    """The output of a layer, for ``tensors`` by name; ``other`` weight and bias as for
    :meth:`spec.operators.convolution.ConvLayer.apply`."""
    out = layer.apply(torch, *(tensors[name] for name in layer.sources), **other)
    return layer.finish(out, tensors[layer.residual] if layer.residual else None)


@dataclass(eq=False, kw_only=True)
class Hole(Layer):
    """Stands for what is not supported: its output has the shape ``size``. Such a graph cannot be run."""
    size: tuple[int, int, int]

    channelwise = False

    def shape(self, *shapes: tuple[int, int, int]) -> tuple[int, int, int]:
        return self.size

    def signed(self, sources: bool) -> bool:
        return True


class FloatNet(nn.Module):
    """A graph as a module: real inputs (N, C, H, W) to outputs (N, features). Its weights do not train; they move
    between devices."""

    def __init__(self, graph):
        super().__init__()
        self.graph = graph
        for index, layer in enumerate(graph.layers):
            if layer.learned:
                self.register_buffer(f"weight{index}", layer.weight)
                self.register_buffer(f"bias{index}", layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tensors = {self.graph.input: x}
        for index, layer in enumerate(self.graph.layers):
            other = {name: self.get_buffer(f"{name}{index}") for name in ("weight", "bias") if layer.learned}
            tensors[layer.output] = compute(layer, tensors, **other)
        return tensors[self.graph.output].flatten(1)


def finite(values: torch.Tensor) -> bool:
    """Whether all ``values`` are numbers that are not infinite; without another tensor of their size."""
    return not values.numel() or bool(torch.isfinite(torch.stack(values.detach().aminmax())).all())


def check_images(graph: Graph, images: torch.Tensor) -> None:
    """Raise :class:`AlloyError` unless ``images`` are real inputs (N, C, H, W) of a graph, float32 and finite, at least
    one."""
    shape = graph.shapes[graph.input]
    if not isinstance(images, torch.Tensor) or images.dtype != torch.float32:
        dtype = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise AlloyError(f"the images are {dtype}, not real inputs: give a float32 tensor of what the float model "
                         "reads, such as codes / 255")
    if images.shape[1:] != shape or not len(images):
        raise AlloyError(f"the images are {'x'.join(map(str, images.shape))}, but the network reads "
                         f"Nx{'x'.join(map(str, shape))}: give at least one of that shape")
    if not finite(images):
        raise AlloyError("the images hold NaN or infinite values: look where they come from")


def check_values(layer: Layer, out: torch.Tensor) -> None:
    """Raise :class:`AlloyError` if the squares of a layer's float values ``out`` leave the range of 32-bit numbers."""
    low, high = out.detach().aminmax()      # without another tensor of its size
    peak = float(torch.maximum(-low, high))
    if peak != 0 and not SMALLEST < peak < LARGEST:     # NaN, too
        raise AlloyError(f"layer {layer.name} makes values of up to {peak:.1e}, beyond {SMALLEST:g} to {LARGEST:g}: "
                         "scale its filters, and the weights that read them by the inverse")
