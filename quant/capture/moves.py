"""Functions that only move values, or leave out some: they change where the elements of a view stand."""

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from spec.errors import AlloyError

from .nodes import BATCH, View

__all__ = ["MOVES", "moved"]

MOVES = frozenset((
    "view reshape _unsafe_view flatten unflatten squeeze unsqueeze permute transpose t movedim slice select narrow "
    "split split_with_sizes chunk tensor_split unbind getitem clone contiguous alias detach dropout feature_dropout to "
    "channel_shuffle native_channel_shuffle flip roll index_select pixel_shuffle lift_fresh_copy"
).split())


def moved(node: Any, function: str, where: str, value_of: Callable) -> View | tuple[View, ...] | None:
    """What a node of the exported program shows, None if it computes; ``value_of`` gives what another node or an
    argument stands for."""
    source = value_of(node.args[0])
    if function in MOVES:
        def index_of(one):
            known = value_of(one)
            return known.index if isinstance(known, View) else known
        given = fx.node.map_arg((node.args, node.kwargs), index_of)
        out = node.target(*given[0], **given[1])
    elif function.startswith("adaptive_") and node.meta["val"].shape == source.index.shape:
        out = source.index      # to the size that the map has
    else:
        return None
    channels, rows, cols = source.size
    count = channels * rows * cols

    def view(index):
        if len(index) != BATCH or not torch.equal(index[1], index[0] + count) or index[0].max() >= count:
            raise AlloyError(f"{where} mixes images: keep the first dimension as it is")
        return View(source.value, index.contiguous(), source.size)
    return tuple(map(view, out)) if isinstance(out, list | tuple) else view(out)
