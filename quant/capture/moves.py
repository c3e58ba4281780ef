"""Functions that only move values, leave out some or put them side by side: they change where the elements of a view
stand."""

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from spec.errors import AlloyError
from spec.operators import Layer
from spec.operators.concat import ConcatLayer

from .nodes import BATCH, View, flat

__all__ = ["JOINS", "MOVES", "joined", "moved"]

MOVES = frozenset((
    "view reshape _unsafe_view flatten unflatten squeeze unsqueeze permute transpose t movedim slice select narrow "
    "split split_with_sizes chunk tensor_split unbind getitem clone contiguous alias detach dropout alpha_dropout "
    "feature_dropout feature_alpha_dropout to _to_copy expand expand_as broadcast_to channel_shuffle "
    "native_channel_shuffle flip roll index_select "
    "pixel_shuffle lift_fresh_copy"
).split())
JOINS = frozenset("cat concat concatenate stack hstack vstack dstack".split())


def moved(node: Any, function: str, where: str, value_of: Callable) -> View | tuple[View, ...] | None:
    """What a node of the exported program shows, None if it computes; ``value_of`` gives what another node or an
    argument stands for."""
    source = value_of(node.args[0])
    if function in ("to", "_to_copy"):
        out = source.index      # as another type
    elif function in MOVES:
        out = _indices(node, value_of, lambda view: view.index)
    elif function.startswith("adaptive_") and getattr(node.meta["val"], "shape", None) == source.index.shape:
        out = source.index      # to the size that the map has
    else:
        return None
    if isinstance(out, list | tuple):
        return tuple(_view(source.value, index, source.size, where) for index in out)
    return _view(source.value, out, source.size, where)


def joined(node: Any, function: str, where: str, value_of: Callable, append: Callable[[Layer], View]) -> View:
    """What a node shows that puts tensors side by side: ``append`` adds a layer that concatenates the channels of their
    values, if these are several."""
    given = list(flat([value_of(node.args[0])]))
    sizes = {view.value: view.size for view in given if isinstance(view, View)}
    if not all(isinstance(view, View) for view in given):
        raise AlloyError(f"{where} is {function} of a tensor and a constant: only tensors that depend on the image can "
                         "be put side by side")
    if len({size[1:] for size in sizes.values()}) > 1:
        maps = " and ".join(f"{rows}x{cols}" for _, rows, cols in sizes.values())
        raise AlloyError(f"{where} is {function} of what is made of maps of {maps} pixels: only tensors of one size "
                         "can be put side by side")
    channels = tuple(size[0] for size in sizes.values())
    if len(sizes) == 1:
        (value, size), = sizes.items()
    else:
        made = append(ConcatLayer(name="", sources=tuple(sizes), output="", channels=channels))
        value, size = made.value, made.size
    starts = dict(zip(sizes, torch.tensor([0, *channels]).cumsum(0).tolist(), strict=False))
    pixels, image = size[1] * size[2], size[0] * size[1] * size[2]

    def index_of(view):
        own = view.size[0] * pixels
        return view.index % own + view.index // own * image + starts[view.value] * pixels
    return _view(value, _indices(node, value_of, index_of), size, where)


def _indices(node, value_of, index_of):
    """What the function of a node makes of the index ``index_of(view)`` of each view that it gets."""
    def given(one):
        known = value_of(one)
        return index_of(known) if isinstance(known, View) else known
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), given)
    return node.target(*args, **kwargs)


def _view(value, index, size, where):
    count = size[0] * size[1] * size[2]
    if len(index) != BATCH or not torch.equal(index[1], index[0] + count) or index[0].max() >= count:
        raise AlloyError(f"{where} mixes images: keep the first dimension as it is")
    return View(value, index.contiguous(), size)
