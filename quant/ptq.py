"""Post-training quantization: layer after layer, ranges, weights and biases that undo the error of what came before.

For every layer, with the columns X of its float input and X' of its quantized input (kernel windows at sampled
positions):

* weights: ``min ||W X + R - Q X' - R'||^2`` over the levels of each filter's number system; R and R' is what is added
to the output, and all
  columns are less their mean, which is left to the bias. First the real minimum ``W + (W (X - X') + R - R') X'^T
  H^-1``, ``H = X' X'^T``; then these are rounded with compensation (:mod:`quant.rounding`).
* bias: plus the mean error that is left (Nagel et al., ICCV 2019, section 4.2).
* output scale: the least squared distance of the codes from the float output; of the logits of a classifier the least
divergence of the
  answers. It is chosen first: a filter can have only scales that make its multiplier whole.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from spec.errors import AlloyError
from spec.operators.convolution import ConvLayer
from spec.operators.windows import Window

from .confine import coarsen, overflow, warn_coarse
from .graph import check_values
from .images import check_pixels, look_at
from .levels import fit_table
from .quiet import quiet
from .ranges import RULES, encode_, search_input, search_logits, search_range, zero_point
from .rounding import (Spread, cholesky, gram, level_ends, level_tables, round_nearest, round_weights,
                       search_scales)
from .tensors import VALUES, Coded, applied, batches, each, finished

if TYPE_CHECKING:
    from .net import QuantNet

__all__ = ["reconstruct", "reassign", "columns", "positions"]

POSITIONS = 16384, 65536        # columns of one layer, at least (if there are as many) and at most
COLUMNS = 16            # for each weight of a filter: layers of many weights need many columns
# Of the Hessian's mean diagonal; small ones follow the images closely.
RIDGES = (20.0, 5.0, 2.0, 0.5, 0.2, 0.05, 0.01)
# Of the way from a level to the border of what is rounded to it: no weight is kept so near that it might fall over.
INSIDE = 0.9
IMAGES = 256            # at most, to round weights anew
LOOKED = 1 << 14        # values that the range of what a table reads is searched with
ROWS = 1 << 12          # of logits that their range is searched with
# Of the best scale for nearest levels, which compensation makes finer or coarser.
FACTORS = (1.0, 0.93, 1.07, 1.14)


def columns(x: "torch.Tensor | Coded", layer: ConvLayer, picks: torch.Tensor) -> torch.Tensor:
    """Kernel windows of (N, C, H, W) at output positions ``picks``: (groups, len(picks), K)."""
    window = Window.of(layer)
    (kh, kw), (sy, sx), (dy, dx) = window.kernel, window.stride, window.dilation
    (top, left), (bottom, right), (rows, cols) = window.padding, window.end, window.size(x.shape[2:])
    image, at = picks // (rows * cols), picks % (rows * cols)
    y, x0 = at // cols * sy, at % cols * sx
    out = torch.empty(len(picks), x.shape[1], kh * kw, device=picks.device)
    for some in batches(x):
        padded = F.pad(x[some], (left, right, top, bottom))
        mine = ((image >= some.start) & (image < some.stop)).nonzero()[:, 0]
        for tap in range(kh * kw):
            out[mine, :, tap] = padded[image[mine] - some.start, :, y[mine] + tap // kw * dy, x0[mine] + tap % kw * dx]
    return out.reshape(len(picks), layer.groups, -1).transpose(0, 1)


@torch.no_grad()
def reconstruct(net: "QuantNet", images: np.ndarray, *, seed: int = 0, weights: bool = True, ranges: str | None = None,
                mirror: bool = False, known: bool = False, report: Callable[[int, str], None] | None = None) -> None:
    """Quantize ``net`` (:class:`quant.net.QuantNet`) in place.

    Parameters
    ----------
    images : input codes uint8 (N, C, H, W) to calibrate with.
    weights : False rounds to nearest instead.
    ranges : rule for the scales of activations (:func:`search_range`). If None, min-max for codes of 8 bits, whose
        steps are fine and whose largest values matter, least squares for fewer bits, and for the answers of a
        classifier (:func:`search_logits`) least divergence.
    mirror : take every image mirrored left to right, too. For photographs, if they are few: small maps give the late
        layers less positions than they have weights.
    known : the images have been looked at (:func:`quant.images.look_at`), which warns of strange ones.
    report : called with (index, layer name) as layers are finished.
    """
    images = check_pixels(net.graph, images)
    if not known:
        look_at(net.graph, images, net.input_scale, net.zeros[net.graph.input])
    if ranges not in (None, *RULES):
        raise AlloyError(f"there is no rule {ranges!r} for ranges: choose {', '.join(RULES)}")
    generator, count = torch.Generator().manual_seed(seed), len(images)
    images = np.concatenate([images, images[..., ::-1]]) if mirror else images
    start = Coded(torch.from_numpy(images), net.zeros[net.graph.input], net.input_scale)
    chosen = _choose_joined(net, start, ranges, generator)
    real: dict[str, torch.Tensor | Coded] = {net.graph.input: start}
    fake, last = dict(real), net.graph.last_reads()
    for index, layer in enumerate(net.graph.layers):
        if layer.weighted:
            _centre(net, layer, real)
        exact = applied(layer, real)
        check_values(layer, exact)
        mean = exact.mean((0, 2, 3))
        finished(layer, exact, real)
        if quiet(net, index, real, exact):
            exact = applied(layer, real)
            mean = exact.mean((0, 2, 3))
            finished(layer, exact, real)
        if layer.output not in chosen:
            _choose_codes(net, layer, exact, ranges, generator)
        if layer.weighted:
            out = _rounded_layer(net, layer, real, fake, mean, count, generator, weights)
        else:
            out = applied(layer, fake, **net.filters(layer))
        finished(layer, out, fake)
        real[layer.output], fake[layer.output] = exact, _code(net, layer, out, generator)
        for name in set(layer.inputs):
            if last[name] <= index:
                del real[name], fake[name]
        if report:
            report(index + 1, layer.name)


def _rounded_layer(net, layer, real, fake, mean, count, generator, weights):
    """Quantize the weights and the bias of one layer; its quantized output, whose means are those (F,) of the float one
    before addition."""
    residual = layer.residual and (real[layer.residual], fake[layer.residual])
    weight = _quantize_layer(net, layer, real[layer.input], fake[layer.input], residual, count, generator, weights)
    out = applied(layer, fake, weight=weight, bias=net.biases[layer.name])
    shift = mean - out.mean((0, 2, 3))
    if layer.residual:
        shift += _mean(real[layer.residual]) - _mean(fake[layer.residual])
    net.biases[layer.name] += shift
    out += shift[:, None, None]
    return out


def _mean(x):
    return x.mean() if isinstance(x, Coded) else x.mean((0, 2, 3))


def _centre(net, layer, real):
    """Leave the middle of each channel's range to the sums that alone read a layer's output: its codes need not hold
    it.

    A dead channel's huge bias decides no range then. ``real`` are the float tensors.
    """
    readers = [other for other in net.graph.layers if layer.output in other.inputs]
    convolved = any(layer.output in other.sources for other in readers)
    if layer.relu or layer.residual or layer.output == net.graph.output or not readers or convolved:
        return
    plain = applied(layer, real, bias=torch.zeros_like(layer.bias))
    moved = layer.bias + (plain.amin((0, 2, 3)) + plain.amax((0, 2, 3))) / 2
    for one, change in ((layer, -moved), *((other, moved) for other in readers)):
        one.bias = one.bias + change
        net.biases[one.name] += change


def _choose_joined(net, images, ranges, generator):
    """Choose the codes of what layers join, if its parts, which come first, are to have the same; the names of such
    tensors."""
    names = {net.homes[name] for layer in net.graph.layers if layer.joins for name in layer.sources}
    names &= {layer.output for layer in net.graph.layers if layer.joins}
    tensors, last, left = {net.graph.input: images}, net.graph.last_reads(), set(names)
    for index, layer in enumerate(net.graph.layers):
        if not left:
            break
        exact = applied(layer, tensors)
        finished(layer, exact, tensors)
        if quiet(net, index, tensors, exact):
            exact = applied(layer, tensors)
            finished(layer, exact, tensors)
        if layer.output in left:
            _choose_codes(net, layer, exact, ranges, generator)
            left.discard(layer.output)
        tensors[layer.output] = exact
        for name in set(layer.inputs):
            if last[name] <= index:
                del tensors[name]
    return names


def _choose_codes(net, layer, exact, ranges, generator):
    """Choose the scale and the zero point of a layer's output, from its float values ``exact``."""
    name, top, signed = layer.output, (1 << net.bits[layer.output]) - 1, layer.output in net.signed
    home = net.homes[name]
    if home != name:
        net.zeros[name] = net.zeros[home]
        return
    zero = zero_point(exact.min(), exact.max(), top) if signed else 0
    looked = [] if net.single_scale else net.graph.lookups(name)
    if ranges is None and looked:
        some = exact.flatten()[torch.randint(exact.numel(), (LOOKED,), generator=generator)]
        some[:2] = torch.stack([exact.min(), exact.max()])
        step, zero = search_input(some, lambda x: looked[0].apply(torch, x), top, signed)
    elif ranges is None and signed and name == net.graph.output and net.graph.logits and exact.shape[1] > 1:
        rows = net.graph.answers(exact)
        rows = rows if len(rows) <= ROWS else rows[torch.randperm(len(rows), generator=generator)[:ROWS]]
        step, zero = search_logits(rows, top, power=net.single_scale)
    else:
        rule = ranges or ("minmax" if net.bits[name] == 8 else "mse")
        pick = torch.randint(exact.numel(), (200_000,), generator=generator)
        if rule == "minmax":        # the extremes themselves
            pick[:2] = torch.stack([exact.argmin(), exact.argmax()])
        some = exact[torch.unravel_index(pick, exact.shape)]
        step = search_range(some, some, zero, top, rule=rule)
        step = 2.0 ** np.ceil(np.log2(step)) if net.single_scale else step      # the larger one: nothing is clipped
    net.zeros[name] = zero
    net.set_step(layer, step)


def _code(net, layer, out, generator):
    """A layer's output ``out``, which is lost, as its codes (:class:`Coded`); chooses their table, if it has one."""
    name = layer.output
    step, zero = float(net.step(name)), net.zeros[name]
    encode_(out.div_(step), zero, net.top(layer))       # in place, for it may be a gigabyte
    if name in net.tables and not layer.keeps:
        pick = torch.unravel_index(torch.randint(out.numel(), (200_000,), generator=generator), out.shape)
        net.tables[name] = table = fit_table(out[pick].numpy(), len(np.unique(net.tables[name])))
        return Coded(each(lambda codes: torch.from_numpy(table)[codes.long()], out), zero, step)
    return Coded(out.to(torch.uint8), zero, step)


@torch.no_grad()
def reassign(net: "QuantNet", schemes: Mapping[str, np.ndarray], x: torch.Tensor) -> None:
    """Other number systems for filters of a network in training, in place: ``{layer: uint8 (F,)}``.

    Those that change are rounded anew, with compensation, to be what they were on their levels before. The real weights
    behind those levels would not do: each holds the rounding errors of others, which are no more.

    Parameters
    ----------
    x : real inputs (N, C, H, W); :data:`IMAGES` of them, or fewer if they are large, serve.
    """
    generator, device = torch.Generator().manual_seed(0), next(net.parameters()).device
    net.cpu()
    tensors = net.tensors(x[:min(IMAGES, 1 + VALUES // x[0].numel())].cpu())
    for layer in net.graph.weighted:
        if (schemes[layer.name] == net.schemes[layer.name]).all():
            continue
        given, new = tensors[layer.input], np.array(schemes[layer.name], np.uint8)
        changed = torch.from_numpy(np.flatnonzero(new != net.schemes[layer.name]))
        total = len(given) * int(np.prod(net.graph.shapes[layer.output][1:]))
        seen = columns(given, layer, torch.randperm(total, generator=generator)[:positions(layer)])
        real = net.quantized_weight(layer).reshape(seen.shape[0], -1, seen.shape[2])
        scale, best, before = _quantize(net, layer, real, new, gram(seen))
        before = _within(best, before, scale, new, net.codebooks.get(layer.name)).reshape(layer.weight.shape)
        net.scales[layer.name][changed], net.weights[layer.name][changed] = scale[changed], before[changed]
        net.assign({layer.name: new})
    net.to(device)


def positions(layer: ConvLayer) -> int:
    """How many columns a convolution is quantized with, if there are as many."""
    return min(max(POSITIONS[0], COLUMNS * layer.weight[0].numel()), POSITIONS[1])


def _centred(columns):
    """Columns (G, N, K) less their mean, in place: what it makes of a filter's output is the bias's business."""
    return columns.sub_(columns.mean(1, keepdim=True))


def _quantize(net, layer, real, schemes, hessian, compensate=True, search=True):
    """(scales (F,), weights on their levels, weights before they were rounded) of real weights (G, F / G, K) of a
    layer.

    ``search``: the scale of each filter is that of :data:`FACTORS` with the least error after compensation, which is
    another than the best for nearest levels.
    """
    book, step = net.codebooks.get(layer.name), float(net.step(layer.input).detach())
    unit = 2.0 ** round(float(np.log2(step))) / step if net.single_scale else None
    importance = hessian.diagonal(dim1=1, dim2=2)[:, None, :].expand_as(real).reshape(-1, real.shape[2])

    def whole(scale):
        return torch.from_numpy(net.requantizer(layer, scale)[1]).float()
    flat = real.reshape(-1, real.shape[2])
    start = search_scales(flat, schemes, importance + 1e-12, book, unit=unit)
    if not compensate:
        scale = whole(start)
        return scale, round_nearest(flat, scale, schemes, book).reshape(real.shape), real
    spread, before, least = Spread.of(hessian), real, torch.full_like(start, float("inf"))
    best, scale = torch.zeros_like(real), start
    trials = [whole(factor * start) for factor in (FACTORS if search and unit is None else (1.0,))]
    count = max(1, VALUES // real.numel())      # together, for the steps are many and small
    for some in (trials[at:at + count] for at in range(0, len(trials), count)):
        many, given = real.repeat(1, len(some), 1), torch.cat([trial.reshape(len(real), -1) for trial in some], 1)
        repeated = np.tile(schemes.reshape(len(real), -1), len(some)).ravel()
        tried, kept = round_weights(many, given, repeated, spread, book)
        parts = (part.chunk(len(some), 1) for part in (tried, kept, spread.error(many, tried, kept)))
        for trial, levels, near, error in zip(some, *parts, strict=True):
            better = error.flatten() < least
            rows = better.reshape(len(real), -1, 1)
            scale, least = torch.where(better, trial, scale), torch.where(better, error.flatten(), least)
            best, before = torch.where(rows, levels, best), torch.where(rows, near, before)
    return scale, best, before


def _within(best, real, scale, schemes, book):
    """Real weights that round to ``best``: as near to ``real`` as is safe; all (G, F / G, K)."""
    ends = level_ends(level_tables(schemes, book), len(scale))
    low, high = ((end * scale).reshape(*best.shape[:2], 1) for end in ends)
    return best + INSIDE * (torch.minimum(torch.maximum(real, low), high) - best)


def _quantize_layer(net, layer, exact, given, residual, count, generator, weights):
    """Weights and scales of one convolution; what the weights are once rounded is returned.

    ``exact`` and ``given`` are its float and its quantized input, ``residual`` both kinds of what is added to its
    output, or None, and ``count`` the number of images (mirrored ones not counted).

    The network keeps real weights that round to these, so that training can start between the levels.

    Few images tempt a layer of many weights to learn them by heart, so every fifth is held out, with its mirror image:
    it decides how far the real minimum may leave the trained weights (``RIDGES``), and whether compensated rounding
    beats rounding to nearest. Then all are fitted.
    """
    rows, cols = net.graph.shapes[layer.output][1:]
    total = len(exact) * rows * cols
    some = positions(layer)
    picks = torch.randperm(total, generator=generator)[:some].sort()[0] if total > some else torch.arange(total)
    image, at = picks // (rows * cols), picks % (rows * cols)
    held = image % count % 5 == 0 if count >= 5 else torch.zeros(len(picks), dtype=torch.bool)
    weight, schemes = layer.weight.reshape(layer.groups, -1, layer.weight[0].numel()), net.schemes[layer.name]
    goal = _centred(columns(exact, layer, picks)) @ weight.transpose(1, 2)
    if residual:
        real, fake = (x.at(image, at) if isinstance(x, Coded) else x.flatten(2)[image, :, at] for x in residual)
        goal += _centred((real - fake).reshape(len(picks), layer.groups, -1).transpose(0, 1))
    seen = _centred(columns(given, layer, picks))
    drift = goal - seen @ weight.transpose(1, 2)

    def error(candidate):
        return float((seen[:, held] @ candidate.transpose(1, 2) - goal[:, held]).square().sum())

    def moments(part):
        """Means over columns of ``X' X'^T`` and of ``(W X + R - W X' - R') X'^T``."""
        some = seen[:, part]
        return gram(some), drift[:, part].transpose(1, 2) @ some / some.shape[1]

    ridge, compensate, (hessian, drifts) = None, weights, moments(~held)
    if weights and held.any():
        near, least = weight, error(weight)
        for tried in RIDGES:        # ever closer to the images, until those held out object
            trial = _minimum(weight, hessian, drifts, tried)
            if (found := error(trial)) >= least:
                break
            ridge, near, least = tried, trial, found
        plain, better = (error(_quantize(net, layer, real, schemes, hessian, compensate, search=False)[1])
                         for real, compensate in ((weight, False), (near, True)))
        ridge, compensate = (None, False) if plain <= better else (ridge, True)
        share, (other, more) = float(held.float().mean()), moments(held)
        hessian, drifts = hessian + share * (other - hessian), drifts + share * (more - drifts)
    wanted = weight if ridge is None else _minimum(weight, hessian, drifts, ridge)
    scale, best, real = _quantize(net, layer, wanted, schemes, hessian, compensate)
    net.scales[layer.name].copy_(scale)
    net.weights[layer.name].copy_(_within(best, real, scale, schemes,
                                          net.codebooks.get(layer.name)).reshape(layer.weight.shape))
    return _confined(net, layer, wanted, best, hessian, compensate).reshape(layer.weight.shape)


def _confined(net, layer, real, best, hessian, compensate):
    """``best`` (G, F / G, K), weights ``real`` on their levels, as the engine can hold their sums: filters that could
    overflow are rounded again to coarser levels; the others stay."""
    def share(rounded):
        scale = net.scales[layer.name][:, None]
        return overflow(net, layer, (rounded.reshape(scale.shape[0], -1) / scale).round().numpy())

    def error(change):
        return float((((change @ hessian) * change).sum(2).flatten()[torch.from_numpy(first > 1)]).clamp_min(0).sum())
    now = first = share(best)
    spread, before, book = None, best, net.codebooks.get(layer.name)
    while (now > 1).any():
        spread = spread or Spread.of(hessian)
        over, given = torch.from_numpy(now > 1), coarsen(net, layer, now)
        scale = torch.from_numpy(net.requantizer(layer, given)[1]).float()
        scale = torch.where(over, torch.maximum(scale, given), net.scales[layer.name])
        schemes = net.schemes[layer.name]
        if compensate:
            found, kept = round_weights(real, scale.reshape(len(real), -1), schemes, spread, book)
        else:
            found, kept = round_nearest(real.flatten(0, 1), scale, schemes, book).reshape(real.shape), real
        rows = over.reshape(len(real), -1, 1)
        best = torch.where(rows, found, best)
        net.scales[layer.name].copy_(scale)
        inside = _within(found, kept, scale, schemes, book).reshape(layer.weight.shape)
        net.weights[layer.name].copy_(torch.where(over[:, None, None, None], inside, net.weights[layer.name]))
        now = share(best)
    if before is not best:
        whole = max(error(real), 1e-30)
        warn_coarse(net, layer, first, *((error(rounded - real) / whole) ** 0.5 for rounded in (before, best)))
    return best


def _minimum(weight, hessian, drift, ridge):
    """Real weights (G, F / G, K) that undo most of the error before them: ``W + drift H^-1``, ``ridge`` keeps them near
    ``W``."""
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    damped = hessian + torch.diag_embed((ridge * diagonal.mean(1, keepdim=True) + 1e-12).expand_as(diagonal))
    return weight + torch.cholesky_solve(drift.transpose(1, 2), cholesky(damped)).transpose(1, 2)
