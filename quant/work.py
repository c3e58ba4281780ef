"""How much work quantization is, step by step: what its progress is told by."""

from collections.abc import Sequence

import numpy as np

from . import equalize, ptq, rounding, sensitivity
from .graph import Graph

__all__ = ["stages"]

# Seconds of one core for a multiply-accumulate, which matter only in proportion: of a convolution, of one that is
# depthwise, of a symmetric product of matrices, of a Cholesky factor, and of weights that are rounded column after
# column; for each such column, for a weight that a scale is searched for, and for a value that is picked from a tensor.
CONVOLVE, DEPTHWISE, MULTIPLY, FACTOR, ROUND, COLUMN, SEARCH, PICK = (
    6e-11, 4e-10, 4e-11, 1e-10, 8e-11, 2e-4, 1e-6, 5e-9)


def stages(graph: Graph, images: int, shown: int, mirror: bool, plan: bool) -> dict[str, Sequence[float]]:
    """Work of each step of each stage (:class:`spec.progress.Course`), about seconds of one core: of equalization,
    batches and groups; of the statistics, batches; of the ``plan`` from them, if there is one; of the layers.
    ``shown`` of the ``images`` show ranges and slopes."""
    pass_ = sum(_convolved(graph, layer) for layer in graph.layers)
    surveyed, measured = (_batches(shown, module.BATCH) for module in (equalize, sensitivity))
    found: dict[str, Sequence[float]] = {
        "equalize": [pass_ * count for count in surveyed]
        + [sum(_shares(layer) for layer in equalize.readers(graph, names)) for names, _ in equalize.classes(graph)],
        "layers": [_layer(graph, layer, images * (1 + mirror)) for layer in graph.layers]}
    if plan:
        hessians = sum(_product(layer, sensitivity.POSITIONS) for layer in graph.weighted)
        found["statistics"] = [3 * pass_ * count for count in measured]
        found["plan"] = [hessians + sum(3 * _searched(layer, len(layer.weight)) for layer in graph.weighted)]
    return found


def _batches(images, size):
    return [min(size, images - at) for at in range(0, images, size)]


def _convolved(graph, layer):
    """One image through a layer."""
    positions = int(np.prod(graph.shapes[layer.output][1:]))
    if not layer.weighted:
        return DEPTHWISE * graph.shapes[layer.output][0] * positions
    return (DEPTHWISE if layer.groups > 1 else CONVOLVE) * layer.weight.numel() * positions


def _product(layer, columns):
    """``columns`` kernel windows picked, and their products with themselves."""
    size = layer.weight[0].numel()
    return layer.groups * columns * size * (PICK + MULTIPLY * size)


def _spread(layer):
    return FACTOR * layer.groups * 2 / 3 * layer.weight[0].numel() ** 3


def _rounded(layer, filters):
    """So many filters like those of a layer, with compensation."""
    size = layer.weight[0].numel()
    return COLUMN * size + ROUND * filters * size ** 2 / 2


def _searched(layer, filters):
    """Their scales."""
    return SEARCH * filters * min(layer.weight[0].numel(), rounding.SEEN)


def _shares(layer):
    """A layer in the choice of how its input's channels are scaled."""
    filters = min(len(layer.weight), equalize.FILTERS) if layer.groups == 1 else len(layer.weight)
    shares = len(equalize.SHARES)
    return (_product(layer, equalize.POSITIONS) + _spread(layer) + _rounded(layer, shares * filters)
            + shares * _searched(layer, filters) / 3)


def _layer(graph, layer, images):
    """A layer in :func:`quant.ptq.reconstruct`."""
    work = 2 * images * _convolved(graph, layer)
    if layer.weighted:
        count = min(ptq.positions(layer), images * int(np.prod(graph.shapes[layer.output][1:])))
        filters, scales = len(layer.weight), len(ptq.FACTORS)
        work += (_product(layer, count) + 3 * _spread(layer) + 3 * _searched(layer, filters)
                 + _rounded(layer, filters) + _rounded(layer, scales * filters))
    return work
