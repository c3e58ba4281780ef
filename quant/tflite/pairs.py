"""Operators of TFLite on two tensors or more: sums, products, bounds, and channels side by side."""

from dataclasses import replace

import numpy as np

from spec.operators.concat import Concat
from spec.operators.windows import Window

from ..grids.emit import EQUAL, codes_tensor, finding_of
from ..grids.products import scaled
from ..grids.values import Codes, Sum
from .arithmetic import away, multiplier, times
from .reader import Reader, reads, whole
from .step import Step, View

__all__: list[str] = []

SHIFT = 20          # of the operands of an addition, before they are scaled


def _pair(reader, step):
    """(view of the first, of the second) with the same index, for two tensors that depend on the image."""
    one, two = step.view(0), step.view(1)
    if one.index.shape != two.index.shape:
        step.refuse(f"works on tensors of {'x'.join(map(str, one.index.shape))} and "
                    f"{'x'.join(map(str, two.index.shape))} values: they need one shape")
    if one.codes.shape == two.codes.shape and np.array_equal(one.index, two.index) and (one.index >= 0).all():
        return one, two
    return tuple(whole(reader.settle(view, step.where), view.index.shape) for view in (one, two))


def _binary(reader, step, function, make):
    """A function of two codes: a table where both are functions of one; otherwise what ``make`` makes of two
    views."""
    grid, (low, high) = step.grid(), step.limits()
    for index in (0, 1):
        if isinstance(step.inputs[index], np.ndarray):
            return _with_constant(reader, step, function, index)
    one, two = _pair(reader, step)
    (source, first), (other, second) = reader.root(one.codes), reader.root(two.codes)
    if source.name == other.name:
        values = np.clip(function(first, second), low, high)
        return reader.table(replace(one, codes=source), values, grid, step)
    return make(one, two, (low, high))


def _with_constant(reader, step, function, index):
    """One operand is a constant: a table, or a sum of one value with a number for each channel."""
    value, view, grid = step.array(index).astype(np.int64), step.view(1 - index), step.grid()
    limits, source = step.limits(), view.codes.grid
    if value.size == 1:
        codes = np.arange(source.low, source.high + 1)
        found = function(*((value.ravel(), codes) if index == 0 else (codes, value.ravel())))
        if value.ndim > view.index.ndim:
            step.refuse("has a constant of more dimensions than its tensor: convert the model again")
        return reader.table(view, np.clip(found, *limits), grid, step)
    channels = view.index.shape[-1]
    if value.size != channels or value.shape[-1:] != (channels,) or value.ndim > view.index.ndim:
        step.refuse(f"has a constant of {'x'.join(map(str, value.shape))} values beside {channels} channels: one, or "
                    "one for each channel, is supported")
    codes, value = reader.settle(view, step.where), value.ravel()
    weight, factor, bias = _line(step, value, index)

    def exact(acc, res, pick):
        """Of codes that the weight has multiplied."""
        x = acc // weight[pick, None] + source.zero
        return function(*((value[pick, None], x) if index == 0 else (x, value[pick, None])))
    made = Sum(step.where, step.name, codes, weight[:, None, None, None], Window((1, 1)), factor, bias, exact=exact)
    return whole(reader.round(made, grid, limits), view.index.shape)


def _line(step, value, index):
    """(weight, factor, bias), (C,), of a sum or product with constants as a line of the other operand."""
    constants, other = step.grid_in(index), step.grid_in(1 - index)
    real = constants.scale * (value - constants.zero)
    if step.op_type == "MUL":      # a product with 0 is one code, at any factor
        return np.where(real < 0, -1, 1), other.scale * np.where(real == 0, 1, np.abs(real)), np.zeros(len(value))
    ones, minus = np.ones(len(value), np.int64), step.op_type == "SUB"
    return ones * (-1 if minus and index == 0 else 1), ones * other.scale, real * (-1 if minus and index == 1 else 1)


@reads("ADD", "SUB")
def _add(reader: Reader, step: Step) -> View:
    grid, one, two = step.grid(), step.grid_in(0), step.grid_in(1)
    top = 2 * float(np.float32(max(one.scale, two.scale)))
    first, second = (multiplier(float(np.float32(side.scale)) / top) for side in (one, two))
    last = multiplier(top / ((1 << SHIFT) * float(np.float32(grid.scale))))
    sign = -1 if step.op_type == "SUB" else 1
    if last[1] > 0:
        step.refuse(f"adds numbers of scale {top / 2:g} to codes of scale {grid.scale:g}, which TFLite cannot: convert "
                    "the model again")

    def function(x, y):
        total = times((x - one.zero) << SHIFT, *first) + sign * times((y - two.zero) << SHIFT, *second)
        return times(total, *last) + grid.zero

    def make(a, b, limits):
        swapped = sign < 0 or two.scale > one.scale     # what is subtracted has the weights, which have signs
        main, other = (b, a) if swapped else (a, b)
        grids = (two, one) if swapped else (one, two)
        weight = np.full((main.codes.shape[0], 1, 1, 1), sign if swapped else 1)

        def exact(acc, res, pick):
            x, y = acc * int(weight.flat[0]) + grids[0].zero, res + grids[1].zero
            return function(y, x) if swapped else function(x, y)
        channels = len(weight)
        made = Sum(step.where, step.name, main.codes, weight, Window((1, 1)), np.full(channels, grids[0].scale),
                   np.zeros(channels), residual=other.codes, exact=exact)
        return View(reader.round(made, grid, limits), a.index)
    return _binary(reader, step, function, make)


@reads("MUL")
def _mul(reader: Reader, step: Step) -> View:
    grid, one, two = step.grid(), step.grid_in(0), step.grid_in(1)
    scale = np.float32(one.scale) * np.float32(two.scale) / np.float32(grid.scale)
    mult, shift = multiplier(float(scale))

    def function(x, y):
        return times((x - one.zero) * (y - two.zero), mult, shift) + grid.zero

    views = [view for view in step.inputs if isinstance(view, View)]
    if len(views) == 2 and views[0].index.shape != views[1].index.shape:
        return _scaled(reader, step, function)

    def make(a, b, limits):
        step.refuse("multiplies two tensors value by value, which is not supported: multiply by constants, by a "
                    "function of the same tensor, or by one number for each channel (1, 1, 1, channels)")
    return _binary(reader, step, function, make)


def _scaled(reader, step, function):
    """Each channel times a number of its own."""
    views, grid, limits = [step.view(0), step.view(1)], step.grid(), step.limits()
    turned = views[0].index.size < views[1].index.size
    image, numbers = views[::-1] if turned else views
    channels = image.index.shape[-1]
    if numbers.index.shape[-1:] != (channels,) or numbers.index.size != channels:
        step.refuse(f"multiplies {'x'.join(map(str, image.index.shape))} values by "
                    f"{'x'.join(map(str, numbers.index.shape))}: only one number for each channel, 1x1x1x{channels}, "
                    "is supported")
    x, s = reader.settle(image, step.where), reader.settle(numbers, step.where)
    codes, factors = (np.arange(view.codes.grid.low, view.codes.grid.high + 1) for view in (image, numbers))
    pair = codes[:, None], factors[None]
    right = np.clip(function(*(pair[::-1] if turned else pair)), *limits) - grid.low
    root, values = reader.root(s)
    return whole(scaled(reader, x, s, right, grid, step.name, step.where, (root, values - s.grid.low)),
                 image.index.shape)


@reads("MAXIMUM", "MINIMUM")
def _bound(reader: Reader, step: Step) -> View:
    larger = np.maximum if step.op_type == "MAXIMUM" else np.minimum
    index = 0 if isinstance(step.inputs[0], np.ndarray) else 1
    value, view = step.array(index).astype(np.int64), step.view(1 - index)
    reader.check_same(step, view)
    if value.size != 1:
        step.refuse(f"has {value.size} bounds: one is supported")
    grid = step.grid()
    return reader.table(view, larger(np.arange(grid.low, grid.high + 1), value.ravel()), grid, step)


@reads("CONCATENATION")
def _concat(reader: Reader, step: Step) -> View:
    views, grid = [step.view(index) for index in range(len(step.inputs))], step.grid()
    axis = int(step.option("axis", 0))
    if step.limits() != (grid.low, grid.high):
        step.refuse("has an activation inside, which is not supported: use none")
    joined = np.concatenate([view.index for view in views], axis)       # of one tensor: it is moved only
    parts = [_on_grid(reader, step, view, step.grid_in(at), grid) for at, view in enumerate(views)]
    if len({view.codes.name for view in parts}) == 1:
        return replace(parts[0], index=joined)
    if axis % joined.ndim != joined.ndim - 1:
        step.refuse(f"joins tensors along dimension {axis} of {joined.ndim}: only channels, the last, are supported")
    codes = [reader.settle(view, step.where) for view in parts]
    name, shape = reader.unique(step.name), (sum(one.shape[0] for one in codes), *codes[0].shape[1:])
    node = Concat(name=name, input=codes[0].name, others=tuple(one.name for one in codes[1:]), output=name,
                  mult=np.full(len(codes), 1 << EQUAL, np.int32), shift=EQUAL)
    reader.append(node, codes_tensor(name, shape, grid), finding_of(step.where, name))
    return whole(Codes(name, grid, shape), joined.shape)


def _on_grid(reader, step, view, source, grid):
    """A part of a concatenation with the scale and zero point of the whole, as ``ConcatenationWithScaling`` rounds."""
    if np.isclose(source.scale, grid.scale, 1e-6) and source.zero == grid.zero:
        return view
    if source.low < 0:
        step.refuse("joins tensors of several scales, which TFLite does with codes without sign only: convert the "
                    "model again")
    ratio = np.float32(source.scale) * (np.float32(1) / np.float32(grid.scale))
    q = np.arange(source.low, source.high + 1).astype(np.float32)
    made = away(q * ratio + np.float32(-source.zero) * ratio) + grid.zero
    return reader.table(view, np.clip(made, grid.low, grid.high).astype(np.int64), grid, step)
