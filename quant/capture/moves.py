"""Functions that only move values, leave out some or put them side by side: they change where the elements of a view
stand."""

from collections.abc import Callable
import math
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
    "native_channel_shuffle flip roll index_select pixel_shuffle pixel_unshuffle lift_fresh_copy index repeat "
    "repeat_interleave tile unfold rot90 fliplr flipud swapaxes swapdims moveaxis ravel numpy_T mT"
).split())
JOINS = frozenset("cat concat concatenate stack hstack vstack dstack".split())
# Those of them, and others, that know no integers.
REAL = frozenset((
    "upsample_nearest2d _upsample_nearest_exact2d pad constant_pad_nd reflection_pad2d replication_pad2d im2col"
).split())
LIKE = frozenset("zeros_like ones_like full_like new_zeros new_ones new_full new_empty".split())
SIZED = "adaptive_", "upsample_"        # beginnings of functions that ask for a size
ZERO = -1           # the index of a value that is 0


def moved(node: Any, function: str, where: str, value_of: Callable) -> View | tuple[View, ...] | torch.Tensor | None:
    """What a node of the exported program shows, None if it computes; ``value_of`` gives what another node or an
    argument stands for."""
    source = value_of(node.args[0])
    if function in LIKE:        # of the shape alone
        return _indices(node, value_of, lambda view: view.index.float())
    if function in ("to", "_to_copy"):
        out = source.index      # as another type
    elif function in REAL:
        # What im2col pads becomes ZERO.
        out = _padded(node, where, source) if "pad" in function else _indices(
            node, value_of, lambda view: view.index.double() - ZERO).long() + ZERO
    elif function in MOVES:
        out = _indices(node, value_of, lambda view: view.index)
    elif function.startswith(SIZED) and getattr(node.meta["val"], "shape", None) == source.index.shape:
        out = source.index      # to the size that the map has
    else:
        return None
    if isinstance(out, list | tuple):
        return tuple(_view(source.value, index, source.size, where) for index in out)
    return _view(source.value, out, source.size, where)


def _padded(node, where, source):
    """The index behind a padding."""
    schema = [argument.name for argument in node.target._schema.arguments]
    given = dict(zip(schema, node.args, strict=False)) | node.kwargs
    mode, value = given.get("mode", "constant"), given.get("value")
    if node.target._schema.name.endswith("pad2d"):
        mode = "reflect" if "reflection" in node.target._schema.name else "replicate"
    amount = list(given.get("pad") or given["padding"])
    if any(amount) and (mode != "constant" or value):
        what = f"with {value:g}" if mode == "constant" else f"with the mode {mode}"
        raise AlloyError(f"{where} pads {what}: only zeros are supported; pad with zeros, and train further")
    index = torch.nn.functional.pad(source.index.double(), amount, "constant", ZERO)
    return index.long()


def joined(node: Any, function: str, where: str, value_of: Callable, append: Callable[[Layer], View],
           settled: Callable[[View], View]) -> View:
    """What a node shows that puts tensors side by side: ``append`` adds a layer that concatenates the channels of their
    values, if these are several; of what they show only a part of, it takes what is ``settled``."""
    given = list(flat([value_of(node.args[0])]))
    if any(not isinstance(one, View) and one.any() for one in given):
        raise AlloyError(f"{where} is {function} of a tensor and a constant: only tensors that depend on the image, "
                         "and zeros, can be put side by side")
    views = [one for one in given if isinstance(one, View)]
    whole: dict[str, bool | None] = dict.fromkeys(view.value for view in views)     # whether they show all of it
    if len(whole) > 1:
        for value in whole:
            mine = torch.cat([view.index[0].flatten() for view in views if view.value == value])
            count = next(math.prod(view.size) for view in views if view.value == value)
            whole[value] = len(mine.unique()) == count and int(mine.min()) >= 0
    alike = len({view.size[1:] for view in views}) == 1
    settled_views = {view: view if len(whole) == 1 or whole[view.value] and alike else settled(view) for view in views}
    sizes = {view.value: view.size for view in settled_views.values()}
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
        view = settled_views[view]
        own = view.size[0] * pixels
        index = view.index % own + view.index // own * image + starts[view.value] * pixels
        return torch.where(view.index < 0, ZERO, index)
    return _view(value, _indices(node, value_of, index_of, lambda zeros: torch.full(zeros.shape, ZERO)), size, where)


def _indices(node, value_of, index_of, constant=lambda value: value):
    """What the function of a node makes of the index ``index_of(view)`` of each view that it gets, and of what each
    ``constant`` tensor becomes."""
    def given(one):
        known = value_of(one)
        if isinstance(known, View):
            return index_of(known)
        return constant(known) if isinstance(known, torch.Tensor) else known
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), given)
    return node.target(*args, **kwargs)


def _view(value, index, size, where):
    if not index.numel():
        raise AlloyError(f"{where} shows a part {tuple(index.shape[1:])} of a tensor without values: give larger "
                         "images")
    count, first = size[0] * size[1] * size[2], index[0]
    if len(index) != BATCH or not torch.equal(index[1], torch.where(first < 0, ZERO, first + count)) \
            or first.max() >= count:
        raise AlloyError(f"{where} mixes images: keep the first dimension as it is")
    return View(value, index.contiguous(), size)
