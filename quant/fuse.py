"""Operations to layers: batch norm, addition and ReLU go into the convolution before them, or become a layer of their
own where there is none that nothing else reads."""

from collections import Counter
from dataclasses import replace

import torch

from spec.errors import AlloyError
from spec.operators.affine import AffineLayer
from spec.operators.lookup import LookupLayer

from .capture import INPUT, Add, Apply, Missing, Norm, Op, Pointwise, Relu
from .graph import Graph, Hole, finite

__all__ = ["fuse"]


def fuse(ops: list[Op], output: str, shape: tuple[int, int, int], *, logits: bool = False) -> Graph:
    """The :class:`quant.graph.Graph` of :func:`quant.capture.capture`'s operations for inputs of ``shape`` (C, H, W);
    :class:`quant.graph.Hole` layers stand for those that are not supported."""
    fuser = _Fuser(shape, Counter([output, *(name for op in ops for name in op.inputs)]))
    for op in ops:
        fuser.fuse(op)
    layers = fuser.layers
    graph = Graph(INPUT, fuser.where[output], layers, _shapes(layers, shape), logits, {op.name: op.where for op in ops})
    _check_finite(layers)
    _silence(graph)
    return graph


class _Fuser:
    """``layers`` of the operations so far; ``where`` is the tensor of each value.

    ``reads``: how often each value is read. What reads a value alone may go into the layer that makes it.
    """

    def __init__(self, shape: tuple[int, int, int], reads: Counter):
        self.layers: list = []
        self.where = {INPUT: INPUT}
        self._shape, self._reads = shape, reads

    def fuse(self, op: Op) -> None:
        """Take one operation."""
        tensors = [self.where[name] for name in op.inputs]
        if isinstance(op, Apply):
            layer = replace(op.layer, sources=tuple(tensors))
            self.layers.append(layer)
        elif isinstance(op, Missing):
            layer = Hole(name=op.name, sources=tuple(tensors), output=op.name, size=op.size)
            self.layers.append(layer)
        elif isinstance(op, Norm):
            layer = self._norm(op, *tensors)
        elif isinstance(op, Relu):
            layer = self._relu(op, *tensors)
        elif isinstance(op, Pointwise):
            layer = LookupLayer(name=op.name, sources=tuple(tensors), output=op.name, function=op.function)
            self.layers.append(layer)
        else:
            assert isinstance(op, Add)
            layer = self._add(op, *tensors)
        self.where[op.name] = layer.output

    def _before(self, op, source, product=False):
        """The layer with weights (or the ``product``) that makes ``source`` for an operation alone; None if there is no
        such."""
        found = next((layer for layer in self.layers if layer.output == source), None)
        fits = found and (found.learned or product and found.product)
        return found if fits and self._reads[op.inputs[0]] == 1 else None

    def _own(self, op, source):
        """A layer of its own."""
        channels = _shapes(self.layers, self._shape)[source][0]
        self.layers.append(AffineLayer.of(torch, op.name, source, channels))
        return self.layers[-1]

    def _norm(self, op, source):
        layer = self._before(op, source)
        if layer is None or not (layer.fresh or _behind_relu(layer, op)):
            layer = self._own(op, source)
        layer.weight = (layer.weight * op.scale[:, None, None, None]).to(layer.weight)
        layer.bias = ((layer.bias - op.mean) * op.scale + op.bias).to(layer.weight)
        layer.cap = None if layer.cap is None else layer.cap * op.scale[:, None, None]
        if op.gain is not None:
            layer.moments = torch.stack([op.bias, op.gain.abs()])
        return layer

    def _relu(self, op, source):
        layer = self._before(op, source, product=True) or self._own(op, source)
        layer.relu = True
        if op.cap is not None:
            cap = torch.full((_shapes(self.layers, self._shape)[source][0], 1, 1), op.cap)
            layer.cap = cap if layer.cap is None else torch.minimum(layer.cap, cap)
        return layer

    def _add(self, op, one, other):
        """A sum goes into the last layer that makes one of its operands for it alone."""
        if one == other:
            layer = self._own(op, one)
            layer.weight = 2 * layer.weight
            return layer
        alone = {self.where[name] for name in op.inputs if self._reads[name] == 1}
        made = [layer for layer in self.layers if layer.output in alone and layer.fresh]
        layer = made[-1] if made else self._own(op, other)
        layer.residual = other if layer.output == one else one
        # It happens where its second operand is known.
        self.layers.remove(layer)
        self.layers.append(layer)
        return layer


def _behind_relu(layer, norm):
    """Whether factors may change places with the ReLU that a layer has."""
    alike = layer.cap is None or bool((norm.scale == norm.scale[0]).all() and norm.scale[0] > 0)
    offset = norm.bias - norm.mean * norm.scale
    return layer.residual is None and alike and bool((norm.scale >= 0).all()) and not offset.any()


def _shapes(layers, shape):
    """(C, H, W) of every tensor."""
    shapes = {INPUT: tuple(shape)}
    for layer in layers:
        shapes[layer.output] = layer.shape(*(shapes[name] for name in layer.sources))
    return shapes


def _check_finite(layers):
    for layer in layers:
        if layer.learned and not (finite(layer.weight) and finite(layer.bias)):
            raise AlloyError(f"layer {layer.name} has weights or biases that are NaN or infinite: train it again")


def _silence(graph):
    """Filters of 0 where nothing reads the channel but through weights of 0: its range must not decide that of the
    others."""
    live = {name: torch.zeros(shape[0], dtype=torch.bool) for name, shape in graph.shapes.items()}
    live[graph.output][:] = True
    for layer in reversed(graph.layers):
        out = live[layer.output]
        if layer.learned and not out.all():
            layer.weight, layer.bias = layer.weight * out[:, None, None, None], layer.bias * out
        for name, needed in zip(layer.sources, layer.needs(out), strict=True):
            live[name] |= torch.ones_like(live[name]) if needed is None else needed
        if layer.residual:
            live[layer.residual] |= out
