"""What a network will be made of on a board, before anything is calibrated: shapes, number systems, codes."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from spec.config import EngineConfig
from spec.errors import AlloyError, Unsupported
from spec.network import Network, Parts
from spec.operators import Operator
from spec.operators.convolution import ConvLayer

from .graph import Graph, Hole
from .net import QuantNet
from .recipes import Plan, Request, Variant, outline
from .requantizer import Requantizer
from .rounding import level_ends, level_tables, nearest

__all__ = ["SketchNet", "sketch"]


class SketchNet(QuantNet):
    """A :class:`QuantNet` whose scales are the ranges of the filters, which takes no search, or as much larger as the
    accumulators of an engine ask for."""

    def __init__(self, graph: Graph, config: EngineConfig, **options: Any):
        # Largest sum of the sizes of a filter's weights for which no codes fill an accumulator, but for rounding.
        self.most = 0.9 * (1 << config.acc_width - 1) / ((1 << config.act_digit_bits) - 1)
        self._found: dict[str, tuple[Requantizer, np.ndarray]] = {}
        super().__init__(graph, **options)

    def first_scales(self, weight: torch.Tensor, scheme: np.ndarray, codebook: np.ndarray | None) -> torch.Tensor:
        low, high = level_ends(level_tables(scheme, codebook), len(weight))
        size = weight.abs()
        scale = torch.maximum(size.amax(1) / torch.maximum(-low, high).clamp_min(1), size.sum(1) / self.most)
        return torch.where(scale > 0, scale, 1.0)

    def requantizer(self, layer: ConvLayer, scale: torch.Tensor | None = None) -> tuple[Requantizer, np.ndarray]:
        """Always the same, for nothing learns."""
        if scale is not None:
            return super().requantizer(layer, scale)
        if layer.name not in self._found:
            self._found[layer.name] = super().requantizer(layer)
        return self._found[layer.name]

    def integers(self, layer: ConvLayer) -> np.ndarray:
        """Found with 32 bits, which is near enough: int16 (F, C / groups, kh, kw)."""
        weight, scale = self.weights[layer.name].detach(), torch.from_numpy(self.requantizer(layer)[1]).float()
        ratio, out = weight / scale[:, None, None, None], torch.empty(weight.shape, dtype=torch.int16)
        for rows, table in level_tables(self.schemes[layer.name], self.codebooks.get(layer.name)):
            out[rows] = nearest(ratio[rows], table).to(torch.int16)
        return out.numpy()


def sketch(graph: Graph, variant: Variant, config: EngineConfig,
           plan: Plan | None = None) -> tuple[Network, Plan, list[Unsupported]]:
    """(integer network, its plan, what is not supported) of a float graph, as a recipe would make it for an engine, or
    as ``plan`` says that it has: what it takes, not what it computes.

    If there are refusals, or :class:`quant.graph.Hole` layers in the graph, the network is :class:`spec.network.Parts`.
    """
    if plan is None:
        plan = outline(variant.recipe, Request(graph, {}, config, variant.options, None))
        # A recipe chooses filters by what they lose, which follows no order of theirs, nor that of another layer.
        plan = replace(plan, schemes={name: np.random.default_rng(seed).permutation(scheme)
                                      for seed, (name, scheme) in enumerate(plan.schemes.items())})
    net = SketchNet(graph, config, schemes=plan.schemes, codebooks=plan.codebooks, bits=plan.bits, wide=plan.wide,
                    levels=plan.levels, single_scale=plan.single_scale)
    refused: list[Unsupported] = []
    nodes: list[Operator] = []
    with torch.no_grad():
        for step in net.steps.parameters():
            step.fill_(0.0)
        for layer in graph.layers:
            if isinstance(layer, Hole):
                continue
            try:
                nodes.append(layer.export(net))
            except AlloyError as error:
                refused.append(Unsupported.of(error, f"layer {layer.name}"))
        tensors = {name: replace(net.tensor(name), scale=None) for name in net.bits}
    cls = Network if len(nodes) == len(graph.layers) else Parts
    return cls(name="sketch", input=graph.input, output=graph.output, tensors=tensors, nodes=nodes), plan, refused
