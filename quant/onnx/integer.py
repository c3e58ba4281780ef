"""The operators of quantized networks on one tensor, one short function each."""

from dataclasses import asdict, replace

import numpy as np
import torch

from spec.operators.average_pool import AveragePoolLayer
from spec.operators.windows import Window, pair

from ..capture.upsample import parts_of
from ..grids.emit import curve_of
from ..grids.rounding import MODES
from ..grids.values import Curve, Grid, Moved, Real, Rounded, Sum, Value, Weights
from .given import FUNCTIONS
from .layers import larger, window_of
from .module import compute, constant
from .quantized import Reader, Step, grid_of, reads_quantized

__all__ = ["affine", "curve_from", "rounded"]

CURVES = ("Sigmoid", "Tanh", "LeakyRelu", "Elu", "Celu", "Selu", "Softplus", "Softsign", "Mish", "HardSwish",
          "HardSigmoid", "Gelu", "Erf", "Exp", "Abs", "Neg", "Sqrt", "ThresholdedRelu", "Floor", "Ceil", "Round", "Log",
          "Reciprocal")


# -- roundings -------------------------------------------------------------------------------------------------------
@reads_quantized("QuantizeLinear")
def _quantize(reader: Reader, step: Step) -> Value:
    value, zero = step.inputs[0], step.array(2)
    if isinstance(value, np.ndarray):
        scale, zeros = _by_axis(step, value.shape)
        info = np.iinfo(zeros.dtype if zero.size else np.uint8)
        return np.asarray(np.clip(np.round(value / scale) + zeros.astype(np.int64), info.min, info.max), info.dtype)
    return Rounded(value, grid_of(step.number(1), zero, step), step.name, step.where)


@reads_quantized("DequantizeLinear")
def _dequantize(reader: Reader, step: Step) -> Value:
    value = step.inputs[0]
    if isinstance(value, np.ndarray):
        scale, zeros = _by_axis(step, value.shape)
        return Weights(value.astype(np.int64) - zeros.astype(np.int64), scale)
    return reader.taken(step, 0)


def _by_axis(step, shape):
    """(scale, zero point) of constants, arrays of their shape."""
    scale, zero, axis = step.array(1), step.array(2), step.attributes.get("axis", 1)
    if step.attributes.get("block_size", 0):
        step.refuse("has scales for blocks of weights: one for each filter is supported")
    zero = zero if zero.size else np.zeros(1, np.uint8)

    def spread(one):
        if one.ndim == 1 and one.size > 1:
            one = one.reshape([-1 if at == axis % len(shape) else 1 for at in range(len(shape))])
        return np.broadcast_to(one, shape)
    try:
        return spread(scale.astype(np.float32)), spread(zero)
    except ValueError:
        step.refuse(f"has {scale.size} scales and {zero.size} zero points for weights {shape}: export the model again")


@reads_quantized("Quant", "IntQuant")
def _quant(reader: Reader, step: Step) -> Value:
    """QONNX: scale, zero point and bits are inputs."""
    value, scale, zero, bits = step.inputs[0], step.array(1), step.array(2), step.number(3)
    signed, narrow = step.attributes.get("signed", 1), step.attributes.get("narrow", 0)
    mode = str(step.attributes.get("rounding_mode", "ROUND")).upper()
    if mode not in MODES or bits != round(bits) or not 1 <= bits <= 32:
        step.refuse(f"rounds {mode} to {bits:g} bits: known are {', '.join(MODES)} and whole numbers of bits")
    if signed and bits == 1:
        step.refuse("has signed codes of 1 bit, -1 and 1: use 2 bits or more")
    low = -(1 << int(bits) - 1) + narrow if signed else 0
    high = (1 << int(bits) - 1) - 1 if signed else (1 << int(bits)) - 1 - narrow
    if isinstance(value, np.ndarray):
        whole = MODES[mode](np.clip(value / scale + zero, low, high)) - zero
        if (whole != np.round(whole)).any():
            step.refuse("has a zero point that is no whole number: quantize weights symmetrically")
        return Weights(np.asarray(whole, np.int64), np.broadcast_to(np.asarray(scale, np.float32), value.shape))
    origin = step.number(2)
    if origin != round(origin):
        step.refuse(f"has the zero point {origin:g}, no whole number: use another")
    grid = Grid(step.number(1), round(origin), low, high, mode)
    grid.check(step.where)
    return reader.quantize(value, grid, step.name, step.where)


@reads_quantized("BipolarQuant", "Trunc", "FloatQuant", "MultiThreshold", "ConvInteger", "MatMulInteger",
                 "DynamicQuantizeLinear")
def _refused(reader: Reader, step: Step) -> Value:
    words = {"BipolarQuant": "makes codes -1 and 1, whose sums have no zero: quantize to 2 bits",
             "Trunc": "cuts bits off a sum: replace it by an average pool and a Quant",
             "FloatQuant": "makes floating-point codes: quantize to whole numbers",
             "MultiThreshold": "is what FINN makes of a Quant: give the file before FINN's conversion"}
    step.refuse(words.get(step.op_type, "quantizes by what it sees in each image: quantize statically"))


# -- layers ----------------------------------------------------------------------------------------------------------
def _weights(step, value, zero_index=None):
    """Quantized weights, from a value or from the three inputs of an operator on whole numbers."""
    if isinstance(value, Weights):
        return value
    if zero_index is None or not isinstance(value, np.ndarray):
        step.refuse("has float weights: quantize them in the file")
    scale, zero = step.array(zero_index - 1), step.array(zero_index)
    zero = zero.astype(np.int64) if zero.size else np.zeros(1, np.int64)
    column = [-1] + [1] * (value.ndim - 1) if step.op_type == "QLinearConv" else [1] * (value.ndim - 1) + [-1]
    if step.op_type == "QGemm" and step.attributes.get("transB", 0):
        column = column[::-1]
    return Weights(value.astype(np.int64) - zero.reshape(column),
                   np.broadcast_to(scale.astype(np.float32).reshape(column), value.shape))


def _linear_sum(step, codes, weights, bias, window, flat=False):
    """The sum of a convolution; ``weights`` are (F, C / g, kh, kw)."""
    scales = weights.scale.reshape(len(weights.scale), -1)
    if weights.whole.size == 0 or (scales != scales[:, :1]).any() or not (scales > 0).all():
        step.refuse("has weights with several scales in one filter, or with a scale of 0: one for each filter is "
                    "supported")
    scale, source = scales[:, 0], np.float32(codes.grid.scale)
    factor, whole, real = scale.astype(np.float64) * float(source), None, np.zeros(len(scale))
    if bias is None:
        whole = np.zeros(len(scale), np.int64)
    elif isinstance(bias, Weights):
        flat_bias = np.broadcast_to(bias.whole.ravel(), scale.shape)
        real = flat_bias * np.broadcast_to(bias.scale.ravel(), scale.shape).astype(np.float64)
        if np.allclose(np.broadcast_to(bias.scale.ravel(), scale.shape), factor, 1e-5):
            whole, real = flat_bias, flat_bias * factor
    else:
        real = np.broadcast_to(np.asarray(bias, np.float64).ravel(), scale.shape)
    return Sum(step.where, step.name, codes, weights.whole, window, factor, np.array(real),
               None if whole is None else (whole, float(source), scale), flat=flat)


def _conv_window(step, shape, kernel):
    image = torch.empty(1, *shape, device="meta")
    strides, dilations, before, behind = window_of(step.given(), image, kernel)
    return Window(pair(kernel), pair(strides), pair(before), pair(behind), pair(dilations))


@reads_quantized("Conv", "QLinearConv")
def _conv(reader: Reader, step: Step) -> Value:
    linear = step.op_type == "QLinearConv"
    codes = reader.taken(step, 0) if linear else reader.codes(step.inputs[0], step.where)
    weights = _weights(step, step.inputs[3], 5) if linear else _weights(step, step.inputs[1])
    shape, groups = weights.whole.shape, step.attributes.get("group", 1)
    if len(shape) != 4 or shape[1] * groups != codes.shape[0] or shape[0] % groups or codes.flat:
        step.refuse(f"has weights {'x'.join(map(str, shape))} for images of {codes.shape[0]} channels in {groups} "
                    "groups: convolutions of images (N, C, H, W) are supported")
    at = 8 if linear else 2
    bias = step.inputs[at] if len(step.inputs) > at else None
    if linear and bias is not None:
        bias = Weights(bias.astype(np.int64), (np.float32(codes.grid.scale) * weights.scale[:, 0, 0, 0]))
    made = _linear_sum(step, codes, weights, bias, _conv_window(step, codes.shape, shape[2:]))
    return rounded(step, made, 6) if linear else made


def rounded(step: Step, value: Value, index: int) -> Rounded:
    """A result on whole numbers, whose scale and zero point are inputs ``index`` and the next."""
    return Rounded(value, grid_of(step.number(index), step.array(index + 1), step), step.name, step.where)


@reads_quantized("Gemm", "MatMul", "QLinearMatMul", "QGemm")
def _gemm(reader: Reader, step: Step) -> Value:
    linear = step.op_type in ("QLinearMatMul", "QGemm")
    codes = reader.taken(step, 0) if linear else reader.codes(step.inputs[0], step.where)
    weights = _weights(step, step.inputs[3], 5) if linear else _weights(step, step.inputs[1])
    given, bias = step.attributes, None
    if given.get("transA", 0) or given.get("alpha", 1.0) != 1 or given.get("beta", 1.0) != 1:
        step.refuse("scales or turns its operands: export it with alpha=1, beta=1, transA=0")
    turned = step.op_type in ("Gemm", "QGemm") and given.get("transB", 0)
    size = int(np.prod(codes.shape))
    if weights.whole.ndim != 2 or weights.whole.shape[1 if turned else 0] != size or not (
            codes.flat or codes.shape[1:] == (1, 1)):
        step.refuse(f"multiplies {'x'.join(map(str, codes.shape))} values by weights {weights.whole.shape}: flatten "
                    "the whole tensor before it")
    whole, scale = (one if turned else one.T for one in (weights.whole, weights.scale))
    weights = Weights(whole.reshape(-1, *codes.shape), scale.reshape(-1, *codes.shape))
    if step.op_type == "Gemm" and len(step.inputs) > 2:
        bias = step.inputs[2]
    if step.op_type == "QGemm" and step.has(6):
        bias = Weights(step.array(6).astype(np.int64), np.float32(codes.grid.scale) * weights.scale[:, 0, 0, 0])
    made = _linear_sum(step, codes, weights, bias, Window((codes.shape[1], codes.shape[2])), True)
    if step.op_type == "QGemm":
        return rounded(step, made, 7) if step.has(7) else made
    return rounded(step, made, 6) if linear else made


@reads_quantized("ConvTranspose")
def _transposed(reader: Reader, step: Step) -> Value:
    """A convolution that makes the pixels of one place, as channels, which are moved then."""
    codes, weights = reader.codes(step.inputs[0], step.where), _weights(step, step.inputs[1])
    shape, groups = weights.whole.shape, step.attributes.get("group", 1)
    if len(shape) != 4 or shape[0] != codes.shape[0] or shape[0] % groups or codes.flat:
        step.refuse(f"has weights {'x'.join(map(str, shape))} for images of {codes.shape[0]} channels in {groups} "
                    "groups: transposed convolutions of images (N, C, H, W) are supported")
    given, image = step.given(), torch.empty(1, *codes.shape, device="meta")
    move = larger(given, image, shape[2:])
    out = FUNCTIONS["ConvTranspose"](given, image, torch.empty(shape, device="meta")).shape[2:]
    whole, scale = (parts_of(torch.from_numpy(np.array(one, np.float64)), groups, pair(move.dilations),
                             pair(move.strides), pair(move.before), codes.shape[1:], out)
                    for one in (weights.whole, weights.scale))
    parts, bias = int(np.prod(move.strides)), step.inputs[2] if step.has(2) else None
    each = scale.weight.flatten(1).amax(1).unflatten(0, (parts, -1)).amax(0)    # no position may lead to some pixels
    scales = each.repeat(parts).numpy()[:, None, None, None]
    if isinstance(bias, Weights):
        bias = Weights(np.tile(bias.whole, parts), np.tile(bias.scale, parts))
    elif bias is not None:
        bias = np.tile(bias, parts)
    found = np.where(scale.weight.numpy() == 0, scales, scale.weight.numpy())
    window = Window(pair(whole.weight.shape[2:]), padding=whole.before, padding_end=whole.behind)
    made = _linear_sum(step, codes, Weights(whole.weight.numpy().astype(np.int64), found.astype(np.float32)), bias,
                       window)
    filters, rows, cols = whole.size
    index = np.arange(filters * rows * cols).reshape(move.strides[0], move.strides[1], filters,
                                                     rows // move.strides[0], cols // move.strides[1])
    spread = Moved(made, index.transpose(2, 3, 0, 4, 1).reshape(filters, rows, cols), step.where)
    if (rows, cols) == tuple(out):
        return spread
    return Moved(spread, np.arange(filters * rows * cols).reshape(whole.size)[:, :out[0], :out[1]], step.where)


@reads_quantized("BatchNormalization")
def _batch_norm(reader: Reader, step: Step) -> Value:
    gain, bias, mean, var = (step.array(index).astype(np.float64) for index in range(1, 5))
    gain = gain / np.sqrt(var + step.attributes.get("epsilon", 1e-5))
    return affine(reader, step, step.inputs[0], gain, bias - mean * gain)


def affine(reader: Reader, step: Step, value: Value, gain: np.ndarray, offset: np.ndarray) -> Sum | Moved:
    """``gain * value + offset``, one number or one for each channel; of what is moved before it is moved, if each of
    its channels becomes one."""
    if not isinstance(value, Moved) or not isinstance(value.value, Sum | Moved):
        return reader.sum_of(value, step).affine(gain, offset)
    channels, rows, cols = reader.shape_of(value.value)[1:]
    becomes = np.stack([np.bincount(one[one >= 0] // (rows * cols), minlength=channels) > 0 for one in value.index])
    if (becomes.sum(0) > 1).any() or (value.index < 0).any() and np.any(offset):
        step.refuse("is applied to channels that several have become, or to a border of zeros: quantize in between")
    gain, offset = (np.broadcast_to(one, len(value.index))[becomes.argmax(0)] for one in (gain, offset))
    return replace(value, value=affine(reader, step, value.value, gain, offset))


# -- pools -----------------------------------------------------------------------------------------------------------
@reads_quantized("MaxPool")
def _max_pool(reader: Reader, step: Step) -> Value:
    value, kernel = step.inputs[0], list(step.attributes["kernel_shape"])
    source = value if isinstance(value, Sum) else reader.codes(value, step.where)
    shape = reader.shape_of(replace(source, flat=False))[1:]
    window = _pool_window(step, shape, _conv_window(step, shape, kernel))
    if isinstance(source, Sum):
        return replace(source, pools=(*source.pools, window))
    return reader.pool(source, window, step.name)


def _pool_window(step, shape, window):
    """``window`` with so much padding at the end that the last one of ``ceil_mode`` is whole."""
    if not step.attributes.get("ceil_mode", 0):
        return window
    counts = FUNCTIONS["MaxPool"](step.given(), torch.empty(1, *shape, device="meta")).shape[2:]
    more = [max(end, (n - 1) * s + r - size - start) for end, n, s, r, size, start in zip(
        window.end, counts, window.stride, window.reach, shape[1:], window.padding, strict=True)]
    return replace(window, padding_end=pair(more))


def _divisors(step, shape, plain, window):
    """(rows, cols) of the values that each ``window`` counts; ``plain`` is that without ``ceil_mode``."""
    counted = (plain.padding, plain.end) if step.attributes.get("count_include_pad", 0) else ((0, 0), (0, 0))
    layer = AveragePoolLayer(name=step.name, sources=("x",), output="y", counted=counted, **asdict(window))
    divisors = layer.divisors(shape[1:])
    if not divisors.all():
        step.refuse("averages over windows of nothing but padding: pad less")
    return divisors


@reads_quantized("AveragePool", "GlobalAveragePool", "QLinearAveragePool", "QLinearGlobalAveragePool")
def _average(reader: Reader, step: Step) -> Value:
    linear = step.op_type.startswith("QLinear")
    if step.attributes.get("channels_last", 0):
        step.refuse("has channels last: export it with channels first")
    codes = reader.taken(step, 0) if linear else reader.codes(step.inputs[0], step.where)
    if codes.flat:
        step.refuse("averages over vectors: average over rows and columns of images (N, C, H, W)")
    if step.op_type in ("GlobalAveragePool", "QLinearGlobalAveragePool"):
        window, divisors = Window(pair(codes.shape[1:])), np.array(codes.shape[1] * codes.shape[2])
    else:
        plain = _conv_window(step, codes.shape, list(step.attributes["kernel_shape"]))
        window = _pool_window(step, codes.shape, plain)
        divisors = _divisors(step, codes.shape, plain, window)
    count, alike = codes.shape[0], (divisors == divisors.flat[0]).all()
    made = Sum(step.where, step.name, codes, np.ones((count, 1, *window.kernel), np.int64), window,
               np.full(count, codes.grid.scale / (divisors.flat[0] if alike else 1)), np.zeros(count),
               divisors=None if alike else divisors)
    return rounded(step, made, 3) if linear else made


@reads_quantized("ReduceMean", "ReduceSum")
def _reduced(reader: Reader, step: Step) -> Value:
    """Over rows, columns, channels or several of them: one window of ones."""
    codes, given = reader.codes(step.inputs[0], step.where), step.given()
    axes = sorted(axis % (2 if codes.flat else 4) for axis in given.ints(1, "axes") or [])
    kept = step.attributes.get("keepdims", 1)
    if not axes or axes[0] == 0 or codes.flat or not kept and axes != [2, 3]:
        step.refuse(f"reduces the dimensions {axes or 'all'}{'' if kept else ' and leaves them out'}: only channels, "
                    "rows and columns of images, [1, 2, 3], that stay, or rows and columns, [2, 3], are supported")
    channels, rows, cols = codes.shape
    window = Window((rows if 2 in axes else 1, cols if 3 in axes else 1))
    count, depth = (1, channels) if 1 in axes else (channels, 1)
    weight = np.ones((count, depth, *window.kernel), np.int64)
    return Sum(step.where, step.name, codes, weight, window,
               np.full(count, codes.grid.scale / (weight[0].size if step.op_type == "ReduceMean" else 1)),
               np.zeros(count), flat=not kept)


# -- of each value ---------------------------------------------------------------------------------------------------
@reads_quantized("Relu")
def _relu(reader: Reader, step: Step) -> Value:
    return _bounded(reader, step, step.inputs[0], 0.0, None)


@reads_quantized("Clip")
def _clip(reader: Reader, step: Step) -> Value:
    given, value = step.given(), step.inputs[0]
    low, high = given.number(1, "min"), given.number(2, "max")
    if isinstance(value, Rounded):      # of whole numbers: fewer bits than their type has
        grid = value.grid
        grid = Grid(grid.scale, grid.zero, max(grid.low, round(low if low is not None else grid.low)),
                    min(grid.high, round(high if high is not None else grid.high)), grid.mode)
        grid.check(step.where)
        return Rounded(value.value, grid, value.name, value.where)
    return _bounded(reader, step, value, low, high)


def _bounded(reader, step, value, low, high):
    if isinstance(value, Moved) and np.clip(0.0, low, high) == 0:       # of padding, too
        return replace(value, value=_bounded(reader, step, value.value, low, high))
    if isinstance(value, Curve):
        return Curve(value.source, np.clip(value.values, low, high), step.where, step.name)
    return reader.sum_of(value, step).bounded(low, high)


def curve_from(reader: Reader, step: Step, value: Value) -> Curve:
    """A value as a function of the codes of one tensor."""
    value = curve_of(value) or value
    if isinstance(value, Curve):
        return value
    if isinstance(value, Sum):
        step.refuse("is applied to a sum that nothing has quantized: quantize its input")
    codes = reader.codes(value, step.where)
    grid = codes.grid
    return Curve(codes, grid.real(np.arange(grid.high - grid.low + 1)), step.where, step.name)


@reads_quantized(*CURVES, "QLinearSigmoid", "QLinearLeakyRelu")
def _function(reader: Reader, step: Step) -> Value:
    linear = step.op_type.startswith("QLinear")
    curve = curve_from(reader, step, reader.taken(step, 0) if linear else step.inputs[0])
    given = step.given(step.op_type.removeprefix("QLinear"))
    values = FUNCTIONS[given.op_type](given, torch.from_numpy(curve.values.astype(np.float32))).numpy()
    out = Curve(curve.source, values.astype(np.float64), step.where, step.name)
    return rounded(step, out, 3) if linear else out


@reads_quantized("PRelu")
def _prelu(reader: Reader, step: Step) -> Value:
    if step.array(1).size != 1:
        step.refuse("has several slopes, which no table of codes can hold: use one")
    curve = curve_from(reader, step, step.inputs[0])
    return Curve(curve.source, np.where(curve.values < 0, curve.values * step.number(1), curve.values), step.where,
                 step.name)


# -- moves -----------------------------------------------------------------------------------------------------------
@reads_quantized("Identity", "Dropout", "Cast")
def _same(reader: Reader, step: Step) -> Value:
    return step.inputs[0]


@reads_quantized("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def _flatten(reader: Reader, step: Step) -> Value:
    """Vectors of the whole tensor, or a tensor of one pixel as vectors and back."""
    value = step.inputs[0]
    value = value if isinstance(value, Sum | Real) else reader.codes(value, step.where)
    shape = reader.shape_of(value)
    rest = [None if one is None else constant(one) for one in step.inputs[1:]]
    found = tuple(compute(step.given(), [torch.empty(shape, device="meta"), *rest], "meta")[0].shape)
    size = int(np.prod(shape[1:]))
    for flat, wanted in ((True, (shape[0], size)), (False, reader.shape_of(replace(value, flat=False)))):
        if found == wanted:
            return replace(value, flat=flat)
    step.refuse(f"makes {'x'.join(map(str, found[1:]))} of {'x'.join(map(str, shape[1:]))}: only flattening a whole "
                "tensor is supported in a quantized network")


@reads_quantized("DepthToSpace", "SpaceToDepth", "Resize", "Upsample", "Slice", "Split", "Gather", "Pad", "Transpose")
def _moved(reader: Reader, step: Step) -> Value | tuple[Value, ...]:
    """Where values come to stand: the float operator moves their numbers, which count from 1, for it pads with 0."""
    kept = isinstance(step.inputs[0], Sum | Curve | Moved)
    value = step.inputs[0] if kept else reader.codes(step.inputs[0], step.where)
    shape = reader.shape_of(value)
    size = int(np.prod(shape[1:]))
    numbers = torch.arange(1, 1 + shape[0] * size, dtype=torch.float64).reshape(shape)
    rest, found = [None if one is None else constant(one) for one in step.inputs[1:]], []
    for made in compute(step.given(), [numbers, *rest], "cpu"):
        index = made.numpy() - 1
        at = index[0].astype(np.int64)
        if len(index) != len(numbers) or at.ndim != 3 or (index[0] != at).any() or at.max() >= size or (
                index[1] != np.where(at < 0, at, at + size)).any():
            step.refuse(f"makes {'x'.join(map(str, made.shape[1:]))} of {'x'.join(map(str, shape[1:]))}: only what "
                        "moves values within images (N, C, H, W), and pads with 0, is supported in a quantized network")
        found.append(Moved(value, at, step.where) if kept else reader.put(value, at, step.where))
    return found[0] if len(found) == 1 else tuple(found)


@reads_quantized("Softmax")
def _softmax(reader: Reader, step: Step) -> Value:
    """Behind the network: the answers stay as they are without it."""
    return reader.end(step)
