"""Operations to layers: batch norm, addition and ReLU go into the convolution before them, and what nothing reads is
left out."""

from collections import Counter
from dataclasses import replace

import torch

from spec.errors import AlloyError

from .capture import INPUT, Add, Apply, Norm, Op, supported
from .graph import Graph

__all__ = ["fuse"]


def fuse(ops: list[Op], output: str, shape: tuple[int, int, int], *, logits: bool = False) -> Graph:
    """The :class:`quant.graph.Graph` of :func:`quant.capture.capture`'s operations for inputs of ``shape`` (C, H,
    W)."""
    reads = Counter(name for op in ops for name in op.inputs)
    reads[output] += 1
    layers: list = []
    where = {INPUT: INPUT}  # where: value -> tensor
    for op in ops:
        _fuse(op, layers, where, reads)
    graph = Graph(INPUT, where[output], layers, _shapes(layers, shape), logits)
    _check_finite(layers)
    _silence(graph)
    return graph


def _fuse(op, layers, where, reads):
    """Add one operation to the layers; ``reads``: how often each value is read."""
    tensors, alone = tuple(where[name] for name in op.inputs), all(reads[name] == 1 for name in op.inputs)
    before = next((layer for layer in layers if layer.output == tensors[0]), None)
    if isinstance(op, Apply):
        layers.append(replace(op.layer, sources=tensors))
        where[op.name] = op.name
    elif isinstance(op, Add):
        where[op.name] = _add(op, tensors, layers, where, reads)
    elif isinstance(op, Norm):
        where[op.name] = _fold(op, before if before and before.fresh and alone else None)
    else:
        where[op.name] = _bound(op, before if before and before.weighted and alone else None)


def _fold(op, layer):
    """A batch norm into the convolution before it, None if there is no such; returns the tensor."""
    if layer is None:
        raise AlloyError(
            f"{op.where} is {op.what} that cannot be folded: put it directly behind a convolution that nothing else "
            "reads"
        )
    layer.weight = layer.weight * op.scale[:, None, None, None]
    layer.bias = (layer.bias - op.mean) * op.scale + op.bias
    if op.gain is not None:
        layer.moments = torch.stack([op.bias, op.gain.abs()])
    return layer.output


def _bound(op, layer):
    """A ReLU into the convolution before it, None if there is no such; returns the tensor."""
    if layer is None:
        raise AlloyError(f"{op.where} is a ReLU that does not directly follow a convolution: {supported()}")
    layer.relu = True
    if op.cap is not None:
        cap = torch.full((len(layer.weight), 1, 1), op.cap)
        layer.cap = cap if layer.cap is None else torch.minimum(layer.cap, cap)
    return layer.output


def _add(op, tensors, layers, where, reads):
    """Fuse an addition into the last convolution that makes one of its operands for it alone; returns the tensor of the
    sum."""
    alone = {
        where[name] for name in op.inputs if reads[name] == 1
    }  # the sum takes the place of the convolution's own result
    made = [layer for layer in layers if layer.output in alone and layer.fresh]
    if not made:
        raise AlloyError(
            f"{op.where} does not add a tensor to the result of a convolution that nothing else reads: "
            f"{supported()}"
        )
    last = made[-1]
    last.residual = tensors[0] if last.output == tensors[1] else tensors[1]
    # The addition happens where its second operand is known.
    layers.remove(last)
    layers.append(last)
    return last.output


def _shapes(layers, shape):
    """(C, H, W) of every tensor."""
    shapes = {INPUT: tuple(shape)}
    for layer in layers:
        shapes[layer.output] = layer.shape(*(shapes[name] for name in layer.sources))
    return shapes


def _check_finite(layers):
    for layer in layers:
        if layer.weighted and not (torch.isfinite(layer.weight).all() and torch.isfinite(layer.bias).all()):
            raise AlloyError(f"layer {layer.name} has weights or biases that are NaN or infinite: train it again")


def _silence(graph):
    """Filters of 0 where nothing reads the channel but through weights of 0: its range must not decide that of the
    others."""
    live = {name: torch.zeros(shape[0], dtype=torch.bool) for name, shape in graph.shapes.items()}
    live[graph.output][:] = True
    for layer in reversed(graph.layers):
        out = live[layer.output]
        if layer.weighted:
            layer.weight[~out], layer.bias[~out] = 0.0, 0.0
        for name, needed in zip(layer.sources, layer.needs(out), strict=True):
            live[name] |= torch.ones_like(live[name]) if needed is None else needed
        if layer.residual:
            live[layer.residual] |= out
