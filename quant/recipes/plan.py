"""What a recipe decides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spec.config import EngineConfig
from spec.numerics import Scheme
from spec.systems import SYSTEMS

from ..graph import Graph
from ..net import QuantNet

__all__ = ["Plan", "Request", "uniform"]


@dataclass
class Request:
    """What a recipe decides from: the float graph, statistics of its layers (:func:`quant.sensitivity.collect`), the
    board's engine, real inputs (N, C, H, W). ``cycles`` tells those of every layer of an integer network on the board,
    ``{layer: cycles}``; ``report`` is called with a line of text as long work goes on."""
    graph: Graph
    statistics: Mapping
    config: EngineConfig
    options: dict
    images: object
    cycles: Callable[..., dict] | None = None
    report: Callable[[str], None] = lambda text: None

    @property
    def convolutions(self) -> list:
        return self.graph.weighted


@dataclass
class Plan:
    """Number system of every filter, ``{layer: uint8 (F,)}``, code books of the layers that have one, bits of the
    activations; ``levels``, ``single_scale`` and ``wide`` as for :class:`quant.net.QuantNet`, ``penalty`` as for
    :func:`quant.qat.fine_tune`."""
    schemes: dict
    bits: int
    codebooks: dict = field(default_factory=dict)
    levels: int | None = None
    single_scale: bool = False
    wide: tuple = ()
    penalty: Callable | None = None

    def net(self, graph: Graph, **options: Any) -> QuantNet:
        """The :class:`QuantNet` of this plan, not calibrated."""
        return QuantNet(graph, schemes=self.schemes, codebooks=self.codebooks, bits=self.bits, wide=self.wide,
                        levels=self.levels, single_scale=self.single_scale, **options)

    def shares(self, graph: Graph) -> dict[str, float]:
        """Share of the weights in each number system."""
        total: dict[str, int] = {}
        for layer in graph.weighted:
            for scheme in self.schemes[layer.name]:
                name = Scheme(int(scheme)).name
                total[name] = total.get(name, 0) + layer.weight[0].numel()
        return {name: count / sum(total.values()) for name, count in sorted(total.items())}

    def weight_bits(self, graph: Graph) -> tuple[int, int]:
        """(bits of all weights as packed codes, number of weights)."""
        bits = sum(SYSTEMS[int(scheme)].bits(self.codebooks.get(layer.name)) * int(count) * layer.weight[0].numel()
                   for layer in graph.weighted
                   for scheme, count in zip(*np.unique(self.schemes[layer.name], return_counts=True), strict=True))
        return bits, sum(layer.weight.numel() for layer in graph.weighted)


def uniform(request: Request, scheme: int) -> dict[str, np.ndarray]:
    """The same number system everywhere."""
    return {layer.name: np.full(len(layer.weight), scheme, np.uint8) for layer in request.convolutions}
