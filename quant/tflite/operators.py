"""The operators of TFLite that compute, one short function each."""

from dataclasses import replace
from math import prod

import numpy as np
from scipy.special import erf, expit

from spec.operators.average_pool import AveragePool
from spec.operators.concat import Concat
from spec.operators.max_pool import MaxPool
from spec.operators.windows import MULT_BITS, Window, pair

from ..onnx.emit import EQUAL, codes_tensor, finding_of
from ..onnx.rounding import NEAR
from ..onnx.values import Codes, Sum
from ..requantizer import largest_shift
from . import place
from .arithmetic import away, bounds, hard_swish, multiplier, table_of, times
from .reader import Reader, four, is_map, reads, wanted, whole
from .step import LARGEST, Step, Value, View

__all__: list[str] = []

NOTHING = place.Border()
SHIFT = 20          # of the operands of an addition, before they are scaled
FUNCTIONS = {"LOGISTIC": expit, "TANH": np.tanh, "EXP": np.exp,
             "ELU": lambda x: np.where(x < 0, np.expm1(x), x)}
"""Real functions that are tables."""


def _limits(step, grid):
    """Least and largest code behind the fused activation."""
    kind = int(step.option("fusedActivationFunction", 0))
    if kind not in range(4):
        step.refuse("has the activation TANH or SIGN_BIT inside, which is not supported: use RELU, RELU6 or none")
    return bounds(kind, grid)


# -- layers ----------------------------------------------------------------------------------------------------------
def _scaled(step, grid, exact=True):
    """(31 bits, shift), (F,) or (1,), of the products' scale over the output's; and the products' scale."""
    weights = step.tensors[1]
    one, two, out = np.float32(step.grid_in(0).scale), weights.scale.astype(np.float32), np.float32(grid.scale)
    if not two.size or not (np.isfinite(two) & (two > 0)).all() or not weights.plain:
        step.refuse(f"has weights with {two.size} scales, or some that are not above 0: one for each filter is "
                    "supported")
    product = one.astype(np.float64) * two if exact else (one * two).astype(np.float64)
    return *multiplier(product / np.float64(out)), one.astype(np.float64) * two


def _weights(step, filters, axis):
    """Whole weights of the file's shape, less their zero point."""
    tensor, value = step.tensors[1], step.array(1)
    if tensor.kind not in ("INT8", "UINT8", "INT4"):
        step.refuse(f"has weights of type {tensor.kind}: 8 or 4 bits are supported")
    if tensor.scale.size not in (1, filters) or tensor.scale.size > 1 and tensor.axis % value.ndim != axis % value.ndim:
        step.refuse(f"has {tensor.scale.size} scales along dimension {tensor.axis} of its weights: one for each of "
                    f"its {filters} filters is supported")
    zero = tensor.zero if tensor.zero.size else np.zeros(1, np.int64)
    if (zero != zero[0]).any() or zero[0] and tensor.kind == "INT8" and step.kind != "FULLY_CONNECTED":
        step.refuse(f"has weights with the zero point {int(zero[-1])}, which LiteRT takes for 0 or refuses: convert "
                    "the model again")
    return value.astype(np.int64) - int(zero[0])


def _bias(step, filters):
    if not step.has(2):
        return np.zeros(filters, np.int64)
    value = step.array(2)
    if value.shape != (filters,) or value.dtype.kind != "i":
        step.refuse(f"has a bias of {value.size} numbers of type {step.tensors[2].kind}: whole numbers, one for each "
                    f"of its {filters} filters, are supported")
    return value.astype(np.int64)


def _layer(reader, step, codes, weight, window, scales, real=False):
    """A convolution of ``weight`` (F, C / g, kh, kw); ``real``: the product is rounded once, of 64-bit numbers."""
    grid, filters = step.grid(), len(weight)
    mult, shift, product = (np.broadcast_to(one, filters)[:, None] for one in scales)
    bias, ratio = _bias(step, filters), product / np.float64(np.float32(grid.scale))

    def exact(acc, res, pick):
        total = acc + bias[pick, None]
        return (away(total * ratio[pick]) if real else times(total, mult[pick], shift[pick])) + grid.zero
    made = Sum(step.where, step.name, codes, weight, window, product[:, 0], bias * product[:, 0], exact=exact)
    return reader.round(made, grid, _limits(step, grid))


def _window(step, size, kernel, border=NOTHING):
    """The window of an operator over a map of ``size``, around which ``border`` is put first."""
    stride = int(step.option("strideH", 1)), int(step.option("strideW", 1))
    dilation = int(step.option("dilationHFactor", 1)), int(step.option("dilationWFactor", 1))
    if min(*stride, *dilation, *kernel) < 1:
        step.refuse(f"has kernel {kernel}, stride {stride} and dilation {dilation}: they are 1 or more")
    window = Window(pair(kernel), stride, border.before, border.behind, dilation)
    if not int(step.option("padding", 1)):      # SAME
        full = [length + a + b for length, a, b in zip(size, border.before, border.behind, strict=True)]
        total = [max((-(-one // s) - 1) * s + r - one, 0) for one, s, r in zip(full, stride, window.reach, strict=True)]
        before, behind = ([b + part for b, part in zip(side, parts, strict=True)] for side, parts in (
            (border.before, [one // 2 for one in total]), (border.behind, [one - one // 2 for one in total])))
        window = replace(window, padding=pair(before), padding_end=pair(behind))
    if prod(a + length + b for a, length, b in zip(window.padding, size, window.end, strict=True)) > LARGEST:
        step.refuse(f"has a kernel of {window.reach} pixels for a map of {size}: use smaller kernels")
    if min(window.size(size)) < 1:
        step.refuse(f"has a kernel of {window.reach} pixels for a map of {size}: use larger images")
    return window


def _bordered(reader, step):
    """(tensor, what is put around it) of the input; a border of zeros is one with the convolution's padding."""
    view = step.view(0)
    found = place.border(wanted(view, step.where), view.codes.shape)
    return (view.codes, found) if found else (reader.settle(view, step.where), NOTHING)


@reads("CONV_2D")
def _conv(reader: Reader, step: Step) -> View:
    value = step.array(1)
    if value.ndim != 4:
        step.refuse(f"has weights of {value.ndim} dimensions: 4 are supported")
    filters, weight = len(value), _weights(step, len(value), 0).transpose(0, 3, 1, 2)
    codes, border = _bordered(reader, step)
    channels = codes.shape[0]
    if not weight.shape[1] or channels % weight.shape[1] or filters % (channels // weight.shape[1]):
        step.refuse(f"has weights {'x'.join(map(str, value.shape))} for {channels} channels: they do not fit, convert "
                    "the model again")
    window = _window(step, codes.shape[1:], value.shape[1:3], border)
    return _mapped(_layer(reader, step, codes, weight, window, _scaled(step, step.grid(), _signed(step))))


def _signed(step):
    """Kernels of codes with sign multiply scales in 64 bits."""
    return step.tensors[0].kind == "INT8"


def _mapped(codes):
    return whole(codes, (1, *codes.shape[1:], codes.shape[0]))


@reads("DEPTHWISE_CONV_2D")
def _depthwise(reader: Reader, step: Step) -> View:
    value = step.array(1)
    codes, border = _bordered(reader, step)
    if value.ndim != 4 or value.shape[0] != 1 or not value.shape[3] or value.shape[3] % codes.shape[0]:
        step.refuse(f"has weights {'x'.join(map(str, value.shape))} for {codes.shape[0]} channels: they do not fit, "
                    "convert the model again")
    weight = _weights(step, value.shape[3], 3).transpose(3, 0, 1, 2)
    window = _window(step, codes.shape[1:], value.shape[1:3], border)
    return _mapped(_layer(reader, step, codes, weight, window, _scaled(step, step.grid(), _signed(step))))


@reads("FULLY_CONNECTED")
def _linear(reader: Reader, step: Step) -> View:
    """All values of the file's order, or those of the last dimension, pixel by pixel."""
    view, value = step.view(0), step.array(1)
    if value.ndim != 2 or not value.size or view.index.size % value.shape[1] or step.option("weightsFormat", 0):
        step.refuse(f"multiplies {view.index.size} values by weights {'x'.join(map(str, value.shape))}, or has them in "
                    "another order: convert the model again")
    weight, (filters, columns) = _weights(step, len(value), 0), value.shape
    keeps = bool(step.option("keepNumDims", False))
    shape = (*view.index.shape[:-1], filters) if keeps else (view.index.size // columns, filters)
    real = _signed(step)
    scales = _scaled(step, step.grid(), real)
    if view.index.size > columns:
        if view.index.shape[-1] != columns:
            step.refuse(f"multiplies parts of {columns} of {'x'.join(map(str, view.index.shape))} values: a whole "
                        "last dimension is supported")
        codes = reader.settle(view, step.where)
        made = _layer(reader, step, codes, weight[:, :, None, None], Window((1, 1)), scales, real)
        return whole(made, shape)
    codes, index = view.codes, view.index.ravel()
    inside = index >= 0
    if len(np.unique(index[inside])) < inside.sum():
        codes = reader.settle(view, step.where)
        index, inside = whole(codes, view.index.shape).index.ravel(), np.ones(columns, bool)
    spread = np.zeros((filters, int(np.prod(codes.shape))), np.int64)
    spread[:, index[inside]] = weight[:, inside]
    made = _layer(reader, step, codes, spread.reshape(filters, *codes.shape), Window(pair(codes.shape[1:])), scales,
                  real)
    return whole(made, shape)


# -- pools -----------------------------------------------------------------------------------------------------------
@reads("MAX_POOL_2D")
def _max_pool(reader: Reader, step: Step) -> View:
    view = step.view(0)
    reader.check_same(step, view)
    codes = reader.settle(view, step.where)
    kernel = int(step.option("filterHeight", 1)), int(step.option("filterWidth", 1))
    return _clipped(reader, step, _mapped(_maxima(reader, step, codes, _window(step, codes.shape[1:], kernel))))


def _maxima(reader, step, codes, window):
    name = reader.unique(step.name)
    shape = (codes.shape[0], *window.size(codes.shape[1:]))
    tensor = replace(reader.tensors[codes.name], name=name, height=shape[1], width=shape[2])
    reader.append(MaxPool(name=name, input=codes.name, output=name, kernel=window.kernel, stride=window.stride,
                          padding=window.padding, padding_end=window.padding_end, hi=(1 << tensor.bits) - 1), tensor,
                  finding_of(step.where, 0.0, 0))
    return Codes(name, codes.grid, shape)


def _clipped(reader, step, view):
    """The fused activation of what rounds nothing."""
    grid = step.grid()
    return reader.table(view, np.clip(np.arange(grid.low, grid.high + 1), *_limits(step, grid)), grid, step)


def _mean(total, count):
    """As the kernels divide: to the nearest, halves away from zero."""
    return np.where(total > 0, (total + count // 2) // count, -((count // 2 - total) // count))


@reads("AVERAGE_POOL_2D")
def _average(reader: Reader, step: Step) -> View:
    view, grid = step.view(0), step.grid()
    reader.check_same(step, view)
    codes, kernel = reader.settle(view, step.where), (int(step.option("filterHeight", 1)),
                                                      int(step.option("filterWidth", 1)))
    window = _window(step, codes.shape[1:], kernel)
    counts = window.over(np.ones((1, 1, *codes.shape[1:]), np.int64), 0).sum((4, 5))[0, 0]
    if (counts != counts.flat[0]).any():
        return _mapped(_uneven(reader, step, codes, window, counts))
    count = int(counts.flat[0])
    made = _of_ones(step, codes, window, grid.scale / count,
                    lambda acc, res, pick: _mean(acc + count * grid.zero, count))
    return _mapped(reader.round(made, grid, _limits(step, grid)))


def _of_ones(step, codes, window, factor, exact):
    channels = codes.shape[0]
    return Sum(step.where, step.name, codes, np.ones((channels, 1, *window.kernel), np.int64), window,
               np.full(channels, factor), np.zeros(channels), exact=exact)


def _uneven(reader, step, codes, window, counts):
    """Averages whose windows reach over the border, where fewer values count: a multiplier for each number of them."""
    grid, (low, high) = step.grid(), _limits(step, step.grid())
    shift = largest_shift(1 / counts.min())
    mults, off, total, most = np.zeros(counts.shape, np.int32), 0, 0, 0
    for count in np.unique(counts).tolist():
        sums = np.arange(count * (grid.low - grid.zero), count * (grid.high - grid.zero) + 1)
        right = np.clip(_mean(sums + count * grid.zero, count), low, high)
        tried = np.clip(round(2 ** shift / count) + np.arange(-NEAR, NEAR + 1), 0, (1 << MULT_BITS) - 1)
        made = np.clip((sums * tried[:, None] + (1 << shift - 1) >> shift) + grid.zero, low, high)
        best = int((made != right).sum(1).argmin())
        mults[counts == count] = tried[best]
        off, total = off + int((made[best] != right).sum()), total + len(sums)
        most = max(most, int(np.abs(made[best] - right).max()))
    name, shape = reader.unique(step.name), (codes.shape[0], *counts.shape)
    node = AveragePool(name=name, input=codes.name, output=name, kernel=window.kernel, stride=window.stride,
                       padding=window.padding, padding_end=window.padding_end, mult=int(mults.max()), shift=shift,
                       mults=mults, lo=low - grid.low, hi=high - grid.low)
    reader.append(node, codes_tensor(name, shape, grid), finding_of(step.where, off / total, most))
    return Codes(name, grid, shape)


def _over_space(step, view):
    """(window of the whole map, file's shape of the result) of a reduction over all dimensions but the last."""
    rank = view.index.ndim
    axes = {axis % rank for axis in step.ints(1)}
    left = [at for at in range(rank - 1) if at not in axes and view.index.shape[at] > 1]
    if rank - 1 in axes or left:
        step.refuse(f"reduces the dimensions {sorted(axes)} of {'x'.join(map(str, view.index.shape))} values: rows and "
                    "columns together are supported")
    keeps = bool(step.option("keepDims", False))
    shape = tuple(1 if at in axes else size for at, size in enumerate(view.index.shape) if keeps or at not in axes)
    return Window(four(view.index.shape, step.where)[:2]), shape


@reads("MEAN")
def _reduced(reader: Reader, step: Step) -> View:
    view, grid = step.view(0), step.grid()
    window, shape = _over_space(step, view)
    codes = reader.settle(view, step.where)
    source, count = step.grid_in(0), int(np.prod(window.kernel))
    mult, shift = multiplier(float(np.float32(source.scale)) / float(np.float32(grid.scale)))
    down = min(count.bit_length() - 1, 32, 31 + int(shift))
    mult, shift = (mult << down) // count, shift - down
    made = _of_ones(step, codes, window, source.scale / count,
                    lambda acc, res, pick: times(acc, mult, shift) + grid.zero)
    return whole(reader.round(made, grid, (grid.low, grid.high)), shape)


@reads("REDUCE_MAX")
def _reduced_maximum(reader: Reader, step: Step) -> View:
    view = step.view(0)
    reader.check_same(step, view)
    window, shape = _over_space(step, view)
    return whole(_maxima(reader, step, reader.settle(view, step.where), window), shape)


# -- sums and products -----------------------------------------------------------------------------------------------
def _pair(reader, step):
    """(view of the first, of the second) with the same places, for two tensors that depend on the image."""
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
    grid, (low, high) = step.grid(), _limits(step, step.grid())
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
    limits, source = _limits(step, grid), view.codes.grid
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
    if step.kind == "MUL":      # a product with 0 is one code, at any factor
        return np.where(real < 0, -1, 1), other.scale * np.where(real == 0, 1, np.abs(real)), np.zeros(len(value))
    ones, minus = np.ones(len(value), np.int64), step.kind == "SUB"
    return ones * (-1 if minus and index == 0 else 1), ones * other.scale, real * (-1 if minus and index == 1 else 1)


@reads("ADD", "SUB")
def _add(reader: Reader, step: Step) -> View:
    grid, one, two = step.grid(), step.grid_in(0), step.grid_in(1)
    top = 2 * float(np.float32(max(one.scale, two.scale)))
    first, second = (multiplier(float(np.float32(side.scale)) / top) for side in (one, two))
    last = multiplier(top / ((1 << SHIFT) * float(np.float32(grid.scale))))
    sign = -1 if step.kind == "SUB" else 1
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

    def make(a, b, limits):
        step.refuse("multiplies two tensors, which is not supported in a quantized network: multiply by constants")
    return _binary(reader, step, function, make)


@reads("MAXIMUM", "MINIMUM")
def _bound(reader: Reader, step: Step) -> View:
    larger = np.maximum if step.kind == "MAXIMUM" else np.minimum
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
    if _limits(step, grid) != (grid.low, grid.high):
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
    reader.append(node, codes_tensor(name, shape, grid), finding_of(step.where, 0.0, 0))
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


# -- of each value ---------------------------------------------------------------------------------------------------
@reads(*FUNCTIONS)
def _function(reader: Reader, step: Step) -> View:
    view, grid = step.view(0), step.grid()
    return reader.table(view, table_of(FUNCTIONS[step.kind], view.codes.grid, grid), grid, step)


@reads("GELU")
def _gelu(reader: Reader, step: Step) -> View:
    def exact(x):
        return x * (1 + erf(x / np.sqrt(2))) / 2

    def near(x):
        return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3))) / 2
    view, grid = step.view(0), step.grid()
    function = near if step.option("approximate", False) else exact
    return reader.table(view, table_of(function, view.codes.grid, grid), grid, step)


def _offsets(view):
    """Codes less their zero point, all that there are."""
    grid = view.codes.grid
    return np.arange(grid.low, grid.high + 1) - grid.zero


def _ratio(step, grid, gain=1.0):
    """The multiplier of a code of the input, times a gain, in 32 bits."""
    scale = np.float32(step.grid_in(0).scale)
    return multiplier(float(scale * np.float32(gain) / np.float32(grid.scale)))


@reads("RELU", "RELU6", "RELU_N1_TO_1")
def _relu(reader: Reader, step: Step) -> View:
    view, grid = step.view(0), step.grid()
    low, high = bounds({"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}[step.kind], grid)
    scaled = times(_offsets(view), *_ratio(step, grid)) + grid.zero
    return reader.table(view, np.clip(scaled, low, high), grid, step)


@reads("LEAKY_RELU", "PRELU")
def _leaky_relu(reader: Reader, step: Step) -> View:
    view, grid, x = step.view(0), step.grid(), _offsets(step.view(0))
    positive = times(x, *_ratio(step, grid))
    if step.kind == "LEAKY_RELU":
        alpha = float(step.option("alpha", 0.0))
        negative = times(x, *_ratio(step, grid, abs(alpha))) * (1 if alpha >= 0 else -1)
    elif step.array(1).size != 1:
        step.refuse(f"has {step.array(1).size} slopes, which no table of codes can hold: use one")
    else:
        slopes = step.grid_in(1)
        negative = times(x * (int(step.array(1).flat[0]) - slopes.zero), *_ratio(step, grid, slopes.scale))
    made = np.where(x >= 0, positive, negative) + grid.zero
    return reader.table(view, np.clip(made, grid.low, grid.high), grid, step)


@reads("HARD_SWISH")
def _hard_swish(reader: Reader, step: Step) -> View:
    view, grid = step.view(0), step.grid()
    made = hard_swish(_offsets(view), view.codes.grid, grid)
    return reader.table(view, np.clip(made, grid.low, grid.high), grid, step)


# -- roundings -------------------------------------------------------------------------------------------------------
@reads("QUANTIZE")
def _quantize(reader: Reader, step: Step) -> Value:
    """Of the input, of real numbers that were codes, or from codes to codes."""
    view, grid = step.inputs[0], step.grid()
    assert isinstance(view, View)
    if view.codes.name == reader.input_name and view.codes.grid.scale == 0:
        if not is_map(view) and len(np.unique(view.index)) < view.index.size:
            step.refuse("quantizes a part of the input: quantize all of it first")
        return replace(reader.enter(view, grid), index=view.index)
    source = view.codes.grid
    if view.real:
        q = np.float32(source.scale) * _offsets(view).astype(np.float32)
        made = away(q / np.float32(grid.scale)) + grid.zero
    else:
        made = times(_offsets(view), *multiplier(float(np.float32(source.scale)) / float(np.float32(grid.scale))))
        made = made + grid.zero
    codes = np.clip(made, grid.low, grid.high).astype(np.int64)
    return reader.table(replace(view, real=False), codes, grid, step)


@reads("DEQUANTIZE")
def _dequantize(reader: Reader, step: Step) -> Value:
    return replace(step.view(0), real=True)
