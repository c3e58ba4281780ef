"""Cross-layer equalization: every channel of a tensor gets a range of its own, at no cost in hardware.

A channel divided by s where it is made (the filter's multiplier and bias) and multiplied by s where it is read (a
column of weights) changes nothing in floating point, ReLU included (Nagel et al., ICCV 2019, equation 7). ``s = (range
/ largest range) ** share``: a share of 1 makes the steps of all channels fit, but spreads the weights in the filters
that read them (Xiao et al., SmoothQuant, ICML 2023, equation 4). Which share is best is measured, for every group of
tensors that are scaled alike, by the error at the outputs of the layers that read it. The range of a channel holds all
its values; behind a ReLU and with fewer than 8 bits it is the one whose codes come closest to them, because every
channel gains by clipping at another place. Channels of signed tensors are turned so that their larger side is positive:
with the zero point beside the smaller one, steps are finer.
"""

from collections.abc import Callable, Container
from dataclasses import replace

import numpy as np
import torch

from .graph import Graph, check_images, check_values, compute
from .ptq import columns
from .ranges import encode_, search_range, zero_point
from .rounding import Spread, gram, round_weights, rounded

__all__ = ["equalize", "classes", "readers"]

SHARES = (1.0, 0.85, 0.7, 0.55, 0.4, 0.2, 0.0)
POSITIONS, FILTERS = 4096, 64      # kernel windows and filters of a layer that are tried
SMALLEST = 2.0 ** -6        # of s: channels that are (almost) dead need no finer steps
BATCH = 20
# Of a channel's peak; rare peaks of sparse channels carry more than their energy tells.
CLIPS = np.geomspace(1.0, 0.5, 12)


def _clips(values, peak, bits):
    """The range of each channel at which ``bits`` bits come closest to its ``values`` (C, N), which are not negative:
    (C,)."""
    top, least, best = (1 << bits) - 1, torch.full_like(peak, float("inf")), peak.clone()
    for factor in CLIPS:
        step = (peak * factor / top).clamp_min(1e-30)[:, None]
        error = (encode_(values / step, 0, top) * step - values).square().sum(1)
        best = torch.where(error < least, peak * factor, best)
        least = torch.minimum(error, least)
    return best


def _survey(graph, images, bits, generator, report):
    """Of every tensor the range of each channel and its least and largest value, {name: (C,)} and {name: (2, C)}, and
    some kernel windows of every convolution's input, {layer name: (groups, N, K)}; ``bits`` of the tensors behind a
    ReLU."""
    ends: dict[str, torch.Tensor] = {}
    values: dict[str, list[torch.Tensor]] = {}
    windows: dict[str, list[torch.Tensor]] = {}
    share = -(-POSITIONS * BATCH // len(images))
    last = graph.last_reads()
    for at in range(0, len(images), BATCH):
        tensors = {graph.input: images[at:at + BATCH]}
        for index, layer in enumerate(graph.layers):
            tensors[layer.output] = out = compute(layer, tensors)
            check_values(layer, out)
            low, high = ends.get(layer.output, (out.amin((0, 2, 3)), out.amax((0, 2, 3))))
            ends[layer.output] = torch.stack([torch.minimum(low, out.amin((0, 2, 3))),
                                              torch.maximum(high, out.amax((0, 2, 3)))])
            picks = torch.randperm(len(out) * out.shape[2] * out.shape[3], generator=generator)[:share]
            if layer.weighted:
                windows.setdefault(layer.name, []).append(columns(tensors[layer.input], layer, picks))
            if layer.relu and bits < 8:
                at_pick = picks // out.shape[2:].numel(), picks % out.shape[2:].numel()
                values.setdefault(layer.output, []).append(out.flatten(2)[at_pick[0], :, at_pick[1]].T)
            for name in set(layer.inputs):
                if last[name] <= index:
                    del tensors[name]
        if report:
            report(f"ranges of channels, {min(at + BATCH, len(images))} of {len(images)} images")
    ranges = {name: both.abs().amax(0) for name, both in ends.items()}
    clips = {name: _clips(torch.cat(parts, 1), ranges[name], bits) for name, parts in values.items()}
    return ranges | clips, ends, {name: torch.cat(parts, 1) for name, parts in windows.items()}


def classes(graph: Graph) -> list[tuple[dict[str, torch.Tensor], torch.Tensor]]:
    """Tensors whose scales depend on each other: lists of {name: lines (C,)}, channels of one line have the same scale,
    and which lines are free to have any, bool (lines,).

    Channels that are added have one scale, and both sides of what works on each channel alone. Input and output are not
    scaled, nor are both sides of what mixes channels without weights.
    """
    ends = np.cumsum([shape[0] for shape in graph.shapes.values()])
    at = {name: np.arange(end - shape[0], end) for (name, shape), end in zip(graph.shapes.items(), ends, strict=True)}
    alike, fixed = [np.zeros((2, 0), int)], [at[graph.input], at[graph.output]]
    for layer in graph.layers:
        out = at[layer.output]
        if layer.residual:
            alike.append(np.stack([at[layer.residual], out]))
        if layer.channelwise and not layer.learned:
            for name, origin in zip(layer.tied, layer.origins(*(len(at[x]) for x in layer.tied)), strict=True):
                for one in np.atleast_2d(origin):
                    alike.append(np.stack([at[name][one[one >= 0]], out[one >= 0]]))
            fixed += [at[name] for name in {*layer.sources} - {*layer.tied}]
        elif not layer.learned:
            fixed += [*(at[name] for name in layer.sources), out]
    lines = _connected(np.concatenate(alike, 1), ends[-1])
    free = np.ones(len(lines), bool)
    free[lines[np.concatenate(fixed)]] = False
    firsts = [channels[0] for channels in at.values()]
    whole = np.concatenate([np.stack([channels[:-1], channels[1:]]) for channels in at.values()], 1)
    group, made = _connected(np.concatenate([*alike, whole], 1), ends[-1]), []
    for first in dict.fromkeys(group[firsts].tolist()):
        names = [name for name, channels in at.items() if group[channels[0]] == first]
        found, own = np.unique(np.concatenate([lines[at[name]] for name in names]), return_inverse=True)
        if free[found].any():
            parts = np.split(torch.from_numpy(own), np.cumsum([len(at[name]) for name in names])[:-1])
            made.append((dict(zip(names, parts, strict=True)), torch.from_numpy(free[found])))
    return made


def _connected(pairs, count):
    """Of each of ``count`` numbers the least that ``pairs`` (2, N) connect it with: (count,)."""
    from scipy.sparse import coo_array      # not before: alloy check imports this file, and waits for it
    from scipy.sparse.csgraph import connected_components
    links = coo_array((np.ones(pairs.shape[1], bool), pairs), (count, count))
    label = connected_components(links, directed=False)[1]
    return np.unique(label, return_index=True)[1][label]


def readers(graph: Graph, names: Container[str]) -> list:
    """The layers with filters that read one of the tensors ``names``."""
    return [layer for layer in graph.weighted if layer.input in names]


def _errors(layer, seen, scales, signed, bits, weight_bits):
    """Relative squared error of a layer's outputs for kernel windows ``seen`` (groups, N, K), with both operands
    quantized, for each of several ``scales`` (C,) of its input channels, the one that evens the ranges first.

    The weights are rounded as :func:`quant.ptq.reconstruct` does it, from three windows of four; the others tell the
    error.
    """
    if layer.groups == 1 and len(layer.weight) > FILTERS:
        layer = replace(layer, weight=layer.weight[::-(-len(layer.weight) // FILTERS)])
    (groups, count, size), top = seen.shape, (1 << bits) - 1
    per = [scale.repeat_interleave(layer.kernel[0] * layer.kernel[1]).reshape(groups, 1, size) for scale in scales]
    held = torch.arange(count) % 4 == 0
    fitted, tested, real = seen[:, ~held if count > 1 else held] / per[0], seen[:, held], layer.weight.reshape(
        groups, -1, size)
    goal = tested @ real.transpose(1, 2)
    # The bias makes up for means.
    fitted, goal = (part.sub_(part.mean(1, keepdim=True)) for part in (fitted, goal))
    even = gram(fitted)
    schemes, plain, steps = np.full(real.shape[0] * real.shape[1], weight_bits, np.uint8), [], []
    for mine in per:
        ratio = per[0] / mine
        share = (even.diagonal(dim1=1, dim2=2)[:, None] * ratio.square()).expand_as(real).reshape(-1, size)
        scale, nearest = rounded((real * mine).reshape(-1, size), schemes, share + 1e-12, steps=12)
        plain.append(nearest.reshape(real.shape))
        steps.append(scale.reshape(groups, -1, 1) * ratio)
    # With even ranges all have the same weights and the same Hessian, and only the steps of the weights differ.
    better = round_weights((real * per[0]).repeat(1, len(per), 1), torch.cat(steps, 1), np.tile(schemes, len(per)),
                           Spread.of(even))[0].chunk(len(per), 1)
    errors = []
    for mine, *both in zip(per, plain, better, strict=True):
        given = tested / mine
        flat = given.flatten()[::max(1, given.numel() // 50_000)]
        zero = zero_point(flat.min(), flat.max(), top) if signed else 0
        step = search_range(flat, flat, zero, top, 16)
        coded = encode_(given.div_(step), zero, top).sub_(zero).mul_(step)
        coded -= coded.mean(1, keepdim=True)
        errors.append(min(float((coded @ w.transpose(1, 2) - goal).square().sum())
                          for w in (both[0], both[1] * (mine / per[0]))))
    return np.array(errors) / max(float(goal.square().sum()), 1e-30)


def _of_lines(names, count, values):
    """The largest of ``values`` {name: (C,)} on each of ``count`` lines."""
    out = torch.full((count,), -torch.inf)
    for name, lines in names.items():
        if name not in values:      # the input
            continue
        out = out.scatter_reduce(0, lines, values[name], "amax")
    return out


@torch.no_grad()
def equalize(graph: Graph, images: torch.Tensor, *, weight_bits: int = 4, act_bits: int = 5, seed: int = 0,
             report: Callable[[str], None] | None = None) -> Graph:
    """The same network (:class:`quant.graph.Graph`) with scaled channels.

    Parameters
    ----------
    images : real inputs (N, C, H, W) that show the ranges.
    weight_bits, act_bits : for which the shares are chosen; signed tensors have 8 bits.
    report : called with a line of text as batches and groups of tensors are finished.
    """
    check_images(graph, images)
    generator = torch.Generator().manual_seed(seed)
    layers = [replace(layer) for layer in graph.layers]
    ranges, ends, windows = _survey(graph, images, act_bits, generator, report)
    codes, narrow = {graph.input: (False, 8)}, graph.narrow     # of each tensor: whether it is signed, bits
    for layer in graph.layers:
        signed = layer.signed(any(codes[name][0] for name in layer.sources))
        codes[layer.output] = signed, act_bits if layer.output in narrow else 8
    linear = {layer.output for layer in graph.layers if layer.learned and not layer.relu}
    groups = classes(graph)
    for number, (names, free) in enumerate(groups):
        reach, high, low = (_of_lines(names, len(free), part) for part in (
            ranges, {name: both[1] for name, both in ends.items()}, {name: -both[0] for name, both in ends.items()}))
        # A few channels beyond all others (a dead one of a huge bias) must not make all others look alike.
        middle, largest = reach[free].median(), reach[free].max()
        largest = torch.minimum(largest, middle / SMALLEST ** 0.5) if middle > 0 else largest
        full = torch.where(reach > 0, reach / largest.clamp_min(1e-30), torch.ones_like(reach))
        full = torch.where(free, full.clamp(SMALLEST, 1 / SMALLEST), 1.0)
        sign = torch.where((low > high) & free & linear.issuperset(names), -1.0, 1.0)
        scales = [sign * full ** share for share in SHARES]
        errors = sum(_errors(layer, windows[layer.name], [scale[names[layer.input]] for scale in scales],
                             *codes[layer.input], weight_bits) for layer in readers(graph, names))
        best = scales[int(np.argmin(errors))]
        for layer in layers:
            if layer.cap is not None and layer.output in names:
                layer.cap = layer.cap / best[names[layer.output]][:, None, None]
            if layer.learned and layer.output in names:
                scale = best[names[layer.output]]
                layer.weight, layer.bias = layer.weight / scale[:, None, None, None], layer.bias / scale
                layer.moments = None if layer.moments is None else layer.moments / torch.stack([scale, scale.abs()])
            if layer.learned and layer.input in names:
                layer.weight = layer.weight * layer.by_input_channel(best[names[layer.input]])
        if report:
            report(f"scales of channels, {number + 1} of {len(groups)} groups of tensors")
    return replace(graph, layers=layers)
