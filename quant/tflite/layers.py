"""Convolutions and linear layers of TFLite, one short function each."""

import numpy as np

from spec.operators.windows import Window, pair

from ..grids.values import Sum
from . import arrange
from .arithmetic import away, multiplier, times
from .reader import Reader, mapped, reads, wanted, whole
from .step import Step, View
from .window import NOTHING, window_of

__all__: list[str] = []


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
    if tensor.dtype not in ("INT8", "UINT8", "INT4"):
        step.refuse(f"has weights of type {tensor.dtype}: 8 or 4 bits are supported")
    if tensor.scale.size not in (1, filters) or tensor.scale.size > 1 and tensor.axis % value.ndim != axis % value.ndim:
        step.refuse(f"has {tensor.scale.size} scales along dimension {tensor.axis} of its weights: one for each of "
                    f"its {filters} filters is supported")
    zero = tensor.zero if tensor.zero.size else np.zeros(1, np.int64)
    if (zero != zero[0]).any() or zero[0] and tensor.dtype == "INT8" and step.op_type != "FULLY_CONNECTED":
        step.refuse(f"has weights with the zero point {int(zero[-1])}, which LiteRT takes for 0 or refuses: convert "
                    "the model again")
    return value.astype(np.int64) - int(zero[0])


def _bias(step, filters):
    if not step.has(2):
        return np.zeros(filters, np.int64)
    value = step.array(2)
    if value.shape != (filters,) or value.dtype.kind != "i":
        step.refuse(f"has a bias of {value.size} numbers of type {step.tensors[2].dtype}: whole numbers, one for each "
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
    return reader.round(made, grid, step.limits())


def _bordered(reader, step):
    """(tensor, what is put around it) of the input; a border of zeros is one with the convolution's padding."""
    view = step.view(0)
    found = arrange.border(wanted(view, step.where), view.codes.shape)
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
    window = window_of(step, codes.shape[1:], value.shape[1:3], border)
    return mapped(_layer(reader, step, codes, weight, window, _scaled(step, step.grid(), _signed(step))))


def _signed(step):
    """Kernels of codes with sign multiply scales in 64 bits."""
    return step.tensors[0].dtype == "INT8"


@reads("DEPTHWISE_CONV_2D")
def _depthwise(reader: Reader, step: Step) -> View:
    value = step.array(1)
    codes, border = _bordered(reader, step)
    if value.ndim != 4 or value.shape[0] != 1 or not value.shape[3] or value.shape[3] % codes.shape[0]:
        step.refuse(f"has weights {'x'.join(map(str, value.shape))} for {codes.shape[0]} channels: they do not fit, "
                    "convert the model again")
    weight = _weights(step, value.shape[3], 3).transpose(3, 0, 1, 2)
    window = window_of(step, codes.shape[1:], value.shape[1:3], border)
    return mapped(_layer(reader, step, codes, weight, window, _scaled(step, step.grid(), _signed(step))))


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
