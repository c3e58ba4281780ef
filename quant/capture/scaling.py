"""Products of two values: a map, and a number for each of its channels."""

import torch

from spec.errors import AlloyError
from spec.operators.scaling import ScalingLayer

from .nodes import Found, Node, View
from .ops import Apply

__all__ = ["read_product"]


def read_product(node: Node) -> Found:
    """One value times another: the one that is scaled has all its elements in the result, the other one number for each
    of its channels."""
    views = node.views
    shape = torch.broadcast_shapes(*(view.index.shape for view in views))
    indices = [view.index.broadcast_to(shape) for view in views]
    for at, (view, other) in enumerate(zip(views, views[::-1], strict=True)):
        if _scales(view, indices[at], other, indices[1 - at]):
            sources = view.value, other.value
            layer = ScalingLayer(name=node.name, sources=sources, output=node.name)
            return Apply(name=node.name, inputs=sources, layer=layer), indices[at]
    texts = ["x".join(map(str, view.index.shape[1:])) for view in views]
    raise AlloyError(f"{node.where} multiplies tensors of {texts[0]} and {texts[1]}: only a whole tensor and one "
                     "number for each of its channels, channels x 1 x 1 such as squeeze-and-excite computes, are "
                     "supported; write what is multiplied value by value as a convolution or as an addition")


def _scales(view: View, index: torch.Tensor, factor: View, numbers: torch.Tensor) -> bool:
    """Whether ``index`` shows each element of ``view``'s value once, and ``numbers`` its channel in ``factor``'s."""
    channels, rows, cols = view.size
    if factor.size != (channels, 1, 1) or index.numel() != len(index) * channels * rows * cols:
        return False
    whole = index.flatten().sort()[0]
    return torch.equal(whole, torch.arange(len(whole))) and torch.equal(numbers, index // (rows * cols))
