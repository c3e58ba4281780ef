"""Operations to layers: batch norm, addition and ReLU go into the convolution before them, and what nothing reads is left out."""

from collections import Counter

import torch

from spec.errors import AlloyError

from .capture import INPUT, SUPPORTED
from .graph import Graph, Layer

__all__ = ["fuse"]


def fuse(ops, output, shape, *, logits=False):
    """The :class:`quant.graph.Graph` of :func:`quant.capture.capture`'s operations for inputs of ``shape`` (C, H, W)."""
    reads = Counter(name for op in ops for name in op.inputs)
    reads[output] += 1
    layers, where = [], {INPUT: INPUT}  # where: value -> tensor
    for op in ops:
        _fuse(op, layers, where, reads)
    graph = Graph(INPUT, where[output], layers, _shapes(layers, shape), logits)
    _check_finite(layers)
    _silence(graph)
    return graph


def _fuse(op, layers, where, reads):
    """Add one operation to the layers; ``reads``: how often each value is read."""
    tensors, alone = [where[name] for name in op.inputs], all(reads[name] == 1 for name in op.inputs)
    before = next((layer for layer in layers if layer.output == tensors[0]), None)
    if op.kind == "norm":
        if not (before and before.fresh and alone):
            raise AlloyError(
                f"layer {op.module} is a batch norm that cannot be folded: put it directly behind a convolution that nothing "
                "else reads, with affine parameters and running statistics"
            )
        v = op.values
        before.weight = before.weight * v["scale"][:, None, None, None]
        before.bias = (before.bias - v["mean"]) * v["scale"] + v["bias"]
        before.moments = torch.stack([v["bias"], v["gain"].abs()])
        where[op.name] = before.output
    elif op.kind == "relu":
        if before is None or before.kind != "conv" or not alone:
            raise AlloyError(f"layer {op.name} is a ReLU that does not directly follow a convolution: {SUPPORTED}")
        before.relu = True
        if op.values["cap"] is not None:
            cap = torch.full((len(before.weight), 1, 1), op.values["cap"])
            before.cap = cap if before.cap is None else torch.minimum(before.cap, cap)
        where[op.name] = before.output
    elif op.kind == "add":
        where[op.name] = _add(op, tensors, layers, where, reads)
    else:
        kernel = op.values["weight"].shape[2:] if op.kind == "conv" else op.values["kernel"]
        values = {key: value for key, value in op.values.items() if key != "kernel"}
        layers.append(Layer(op.kind, op.name, tensors[0], op.name, tuple(kernel), **values))
        where[op.name] = op.name


def _add(op, tensors, layers, where, reads):
    """Fuse an addition into the last convolution that makes one of its operands for it alone; returns the tensor of the sum."""
    alone = {
        where[name] for name in op.inputs if reads[name] == 1
    }  # the sum takes the place of the convolution's own result
    made = [layer for layer in layers if layer.output in alone and layer.fresh]
    if not made:
        raise AlloyError(
            f"layer {op.name} does not add a tensor to the result of a convolution that nothing else reads: {SUPPORTED}"
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
        channels, *size = shapes[layer.input]
        size = (
            (s + 2 * p - k) // st + 1
            for s, p, k, st in zip(size, layer.padding, layer.kernel, layer.stride, strict=True)
        )
        shapes[layer.output] = (len(layer.weight) if layer.kind == "conv" else channels, *size)
    return shapes


def _check_finite(layers):
    for layer in layers:
        if layer.kind == "conv" and not (torch.isfinite(layer.weight).all() and torch.isfinite(layer.bias).all()):
            raise AlloyError(f"layer {layer.name} has weights or biases that are NaN or infinite: train it again")


def _silence(graph):
    """Filters of 0 where nothing reads the channel but through weights of 0: its range must not decide that of the others."""
    live = {name: torch.zeros(shape[0], dtype=torch.bool) for name, shape in graph.shapes.items()}
    live[graph.output][:] = True
    for layer in reversed(graph.layers):
        out = live[layer.output]
        if layer.kind != "conv":
            live[layer.input] |= out
            continue
        layer.weight[~out], layer.bias[~out] = 0.0, 0.0
        read = (layer.weight.reshape(layer.groups, -1, layer.weight[0].numel()) != 0).any(1)
        live[layer.input] |= read.reshape(len(live[layer.input]), -1).any(1)
        if layer.residual:
            live[layer.residual] |= out
