"""Every operator of TFLite files beside LiteRT's reference kernels: random sizes, scales and zero points."""

from ai_edge_litert import schema_py_generated as schema
import numpy as np
import pytest

from quant.grids.together import file_codes
from quant.tflite import load
from spec.errors import AlloyError

from .build import Builder, reference
from .compare import codes_of, compared, images_of, in_file

NONE, RELU, RELU6 = 0, 1, 3
DTYPES = [np.int8, np.uint8]


def draws(seed, dtype=np.int8):
    """(generator, builder, scale and zero point of an input)."""
    draw = np.random.default_rng(seed)
    info = np.iinfo(dtype)
    return draw, Builder(), float(draw.uniform(0.01, 0.1)), int(draw.integers(info.min, info.max + 1))


def grid(draw, low=0.01, high=0.1, dtype=np.int8):
    """A random scale and zero point."""
    info = np.iinfo(dtype)
    return float(draw.uniform(low, high)), int(draw.integers(info.min, info.max + 1))


def weights(builder, draw, shape, axis, dtype=np.int8, several=True, scale=None):
    """(weights, bias) of random numbers as constants."""
    count = shape[axis]
    info = np.iinfo(dtype)
    scales = draw.uniform(0.002, 0.01, count if several else 1).astype(np.float32)
    values = draw.integers(info.min + (dtype is np.int8), info.max + 1, shape).astype(dtype)
    bias = draw.integers(-3000, 3000, count).astype(np.int32)
    made = builder.const(values, scales, 0 if dtype is np.int8 else int(draw.integers(100, 156)), axis)
    return made, builder.const(bias, np.float32(scale) * scales, axis=0)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", DTYPES)
def test_conv(tmp_path, monkeypatch, seed, dtype):
    draw, builder, scale, zero = draws(seed, dtype)
    size, kernel = draw.integers(5, 10, 2).tolist(), draw.integers(1, 4, 2).tolist()
    channels, filters = int(draw.integers(1, 6)), int(draw.integers(1, 7))
    stride, same = int(draw.integers(1, 4)), seed % 2 == 0
    dilation = 1 if stride > 1 else int(draw.integers(1, 3))
    x = builder.input((1, *size, channels), dtype, scale, zero)
    w, b = weights(builder, draw, (filters, *kernel, channels), 0, dtype, dtype is np.int8 and seed % 3 > 0, scale)
    reach = [(k - 1) * dilation + 1 for k in kernel]
    out = [-(-s // stride) if same else (s - r) // stride + 1 for s, r in zip(size, reach, strict=True)]
    y = builder.op("CONV_2D", [x, w, b], (1, *out, filters), *grid(draw, dtype=dtype), dtype,
                   strideH=stride, strideW=stride, dilationHFactor=dilation, dilationWFactor=dilation,
                   padding=0 if same else 1, fusedActivationFunction=seed % 4)
    compared(monkeypatch, builder.save(tmp_path / "m.tflite", y), images_of(builder), 5e-3)


def test_conv_in_groups(tmp_path, monkeypatch):
    draw, builder, scale, zero = draws(3)
    x = builder.input((1, 5, 6, 6), np.int8, scale, zero)
    w, b = weights(builder, draw, (4, 3, 3, 3), 0, scale=scale)
    y = builder.op("CONV_2D", [x, w, b], (1, 3, 4, 4), 0.05, 3, strideH=1, strideW=1, padding=1, dilationHFactor=1,
                   dilationWFactor=1)
    compared(monkeypatch, builder.save(tmp_path / "m.tflite", y), images_of(builder))


@pytest.mark.parametrize("what", ["CONV_2D", "FULLY_CONNECTED"])
def test_weights_of_four_bits(tmp_path, monkeypatch, what):
    """Two in a byte; an odd number of them."""
    draw, builder, scale, zero = draws(4)
    shape = (3, 1, 1, 9) if what == "CONV_2D" else (3, 9)
    x = builder.input((1, 5, 4, 9) if what == "CONV_2D" else (1, 9), np.int8, scale, zero)
    values, scales = np.append(draw.integers(-7, 8, shape), 0), draw.uniform(0.01, 0.03, 3)
    w = builder.tensor(shape, np.int8, scales, data=(values[::2] & 15 | values[1::2] << 4).astype(np.uint8))
    builder.tensors[w].type = schema.TensorType.INT4
    b = builder.const(draw.integers(-30, 30, 3).astype(np.int32), scale * scales)
    y = builder.op(what, [x, w, b], (1, 5, 4, 3) if what == "CONV_2D" else (1, 3), scale / 4, 3, **(
        {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1} if what == "CONV_2D" else {}))
    compared(monkeypatch, builder.save(tmp_path / "m.tflite", y), images_of(builder), 0.1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", DTYPES)
def test_depthwise(tmp_path, monkeypatch, seed, dtype):
    draw, builder, scale, zero = draws(seed, dtype)
    size, channels, multiplier = draw.integers(4, 9, 2).tolist(), int(draw.integers(1, 6)), 1 + seed % 2
    stride = 1 + seed % 3
    x = builder.input((1, *size, channels), dtype, scale, zero)
    w, b = weights(builder, draw, (1, 3, 3, channels * multiplier), 3, dtype, dtype is np.int8, scale)
    y = builder.op("DEPTHWISE_CONV_2D", [x, w, b], (1, *(-(-s // stride) for s in size), channels * multiplier),
                   *grid(draw, dtype=dtype), dtype, strideH=stride, strideW=stride, padding=0, dilationHFactor=1,
                   dilationWFactor=1, depthMultiplier=multiplier, fusedActivationFunction=seed % 4)
    compared(monkeypatch, builder.save(tmp_path / "m.tflite", y), images_of(builder))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["map", "vector", "pixels"])
def test_linear(tmp_path, monkeypatch, several, dtype, form):
    """Of a map in the file's order, of a vector, and of each pixel."""
    draw, builder, scale, zero = draws(5, dtype)
    shape = {"map": (1, 3, 4, 5), "vector": (1, 60), "pixels": (1, 3, 4, 60)}[form]
    x = builder.input(shape, dtype, scale, zero)
    w, b = weights(builder, draw, (7, 60), 0, dtype, several and dtype is np.int8, scale)
    y = builder.op("FULLY_CONNECTED", [x, w, b], (1, 3, 4, 7) if form == "pixels" else (1, 7),
                   *grid(draw, 0.1, 0.4, dtype), dtype, keepNumDims=form == "pixels", fusedActivationFunction=RELU)
    compared(monkeypatch, builder.save(tmp_path / "m.tflite", y), images_of(builder))


@pytest.mark.parametrize("dtype, seed", [(np.int8, 0), (np.int8, 1), (np.int8, 4), (np.uint8, 1), (np.uint8, 3)])
def test_two_tensors(tmp_path, monkeypatch, dtype, seed):
    """Sums and differences of two tensors of different scales: the other one is a maximum of the input's windows."""
    draw, builder, scale, zero = draws(seed, dtype)
    what = "ADD" if seed % 2 or dtype is np.uint8 else "SUB"
    x = builder.input((1, 4, 5, 3), dtype, scale, zero)
    pooled = builder.op("MAX_POOL_2D", [x], (1, 4, 5, 3), scale, zero, dtype, filterHeight=2, filterWidth=2, strideH=1,
                        strideW=1, padding=0)
    other = builder.op("RELU", [pooled], (1, 4, 5, 3), *grid(draw, 0.01, 0.2, dtype), dtype)
    y = builder.op(what, [x, other] if seed < 3 else [other, x], (1, 4, 5, 3), *grid(draw, 0.05, 0.2, dtype), dtype,
                   fusedActivationFunction=seed % 4)
    compared(monkeypatch, builder.save(tmp_path / "m.tflite", y), images_of(builder), 2e-2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("what", ["ADD", "SUB", "MUL"])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_constants(tmp_path, monkeypatch, dtype, what, first, size):
    if what == "SUB" and dtype is np.uint8:
        pytest.skip("as with sign")
    draw, builder, scale, zero = draws(size + first, dtype)
    x = builder.input((1, 4, 5, 3), dtype, scale, zero)
    info = np.iinfo(dtype)
    c = builder.const(draw.integers(info.min, info.max, size).astype(dtype), *grid(draw, dtype=dtype))
    y = builder.op(what, [c, x] if first else [x, c], (1, 4, 5, 3), *grid(draw, 0.05, 0.2, dtype), dtype)
    _, off = compared(monkeypatch, builder.save(tmp_path / "m.tflite", y), images_of(builder), 1e-2)
    assert size > 1 or not off.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel, stride, same", [(2, 2, False), (3, 2, True), (3, 1, True), (1, 2, False),
                                                  (5, 3, True)])
@pytest.mark.parametrize("what", ["MAX", "AVERAGE"])
def test_pools(tmp_path, monkeypatch, dtype, kernel, stride, same, what):
    draw, builder, scale, zero = draws(kernel, dtype)
    x = builder.input((1, 7, 6, 3), dtype, scale, zero)
    out = [-(-s // stride) if same else (s - kernel) // stride + 1 for s in (7, 6)]
    y = builder.op(f"{what}_POOL_2D", [x], (1, *out, 3), scale, zero, dtype, filterHeight=kernel, filterWidth=kernel,
                   strideH=stride, strideW=stride, padding=0 if same else 1,
                   fusedActivationFunction=RELU6 if stride == 2 else NONE)
    _, off = compared(monkeypatch, builder.save(tmp_path / "m.tflite", y), images_of(builder), 0.2)
    assert not off.any() or what == "AVERAGE" and same


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("what", ["MEAN", "REDUCE_MAX"])
@pytest.mark.parametrize("keeps", [False, True])
def test_reductions(tmp_path, monkeypatch, dtype, what, keeps):
    draw, builder, scale, zero = draws(7, dtype)
    x = builder.input((1, 5, 7, 4), dtype, scale, zero)
    made = (scale, zero) if what == "REDUCE_MAX" else grid(draw, dtype=dtype)
    y = builder.op(what, [x, builder.const(np.int32([1, 2]))], (1, 1, 1, 4) if keeps else (1, 4), *made, dtype,
                   keepDims=keeps)
    compared(monkeypatch, builder.save(tmp_path / "m.tflite", y), images_of(builder), 2e-2)


TABLES = ["RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "PRELU", "HARD_SWISH", "LOGISTIC", "TANH", "ELU", "GELU",
          "QUANTIZE", "EXP", "MAXIMUM", "MINIMUM"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("what", TABLES)
@pytest.mark.parametrize("seed", range(3))
def test_tables(tmp_path, monkeypatch, dtype, what, seed):
    """Every code, exactly."""
    if dtype is np.uint8 and what in ("ELU", "EXP"):
        pytest.skip("TFLite has it with sign only")
    draw, builder, scale, zero = draws(seed, dtype)
    x = builder.input((1, 16, 16, 1), dtype, scale, zero)
    scale_out, zero_out = grid(draw, dtype=dtype)
    if what == "LOGISTIC":
        scale_out, zero_out = 1 / 256, np.iinfo(dtype).min
    if what in ("MAXIMUM", "MINIMUM"):
        scale_out, zero_out = scale, zero
    more = [builder.const(np.array([draw.integers(1, 100)]).astype(dtype), scale_out, zero_out)] if what in (
        "PRELU", "MAXIMUM", "MINIMUM") else []
    options = {"alpha": (0.1, 1.5, -0.2)[seed]} if what == "LEAKY_RELU" else {
        "approximate": bool(seed % 2)} if what == "GELU" else {}
    y = builder.op(what, [x, *more], (1, 16, 16, 1), scale_out, zero_out, dtype, **options)
    info = np.iinfo(dtype)
    images = np.arange(info.min, info.max + 1).astype(dtype).reshape(1, 16, 16, 1)
    _, off = compared(monkeypatch, builder.save(tmp_path / "m.tflite", y), images)
    assert not off.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_concatenation(tmp_path, monkeypatch, dtype):
    """Without sign, of several scales."""
    draw, builder, scale, zero = draws(1, dtype)
    x = builder.input((1, 4, 5, 3), dtype, scale, zero)
    made = grid(draw, dtype=dtype)
    other = builder.op("RELU", [x], (1, 4, 5, 3), *made, dtype)
    third = x if dtype is np.uint8 else builder.op("TANH", [x], (1, 4, 5, 3), *made, dtype)
    y = builder.op("CONCATENATION", [other, third, other], (1, 4, 5, 9), *made, dtype, axis=-1)
    _, off = compared(monkeypatch, builder.save(tmp_path / "m.tflite", y), images_of(builder))
    assert not off.any()


def test_products_of_one_value(tmp_path, monkeypatch):
    """``x * sigmoid(x)`` is one table."""
    _, builder, scale, zero = draws(1)
    x = builder.input((1, 16, 16, 1), np.int8, scale, zero)
    gate = builder.op("LOGISTIC", [x], (1, 16, 16, 1), 1 / 256, -128)
    y = builder.op("MUL", [x, gate], (1, 16, 16, 1), 0.03, -20)
    images = np.arange(-128, 128).astype(np.int8).reshape(1, 16, 16, 1)
    model, off = compared(monkeypatch, builder.save(tmp_path / "m.tflite", y), images)
    assert not off.any() and [node.kind for node in model.network.nodes] == ["lookup"]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", DTYPES)
def test_scaling(tmp_path, dtype, seed):
    """Squeeze-and-excite: each channel by a number that the network computes; the file's arithmetic is known exactly,
    and the engine's weight and shift come as near as they can."""
    draw, builder, scale, zero = draws(seed, dtype)
    x = builder.input((1, 4, 5, 8), dtype, scale, zero)
    mean = builder.op("MEAN", [x, builder.const(np.int32([1, 2]))], (1, 1, 1, 8), scale, zero, dtype, keepDims=True)
    low = np.iinfo(dtype).min
    gate = builder.op("LOGISTIC", [mean], (1, 1, 1, 8), 1 / 256, low, dtype)
    pair = [x, gate] if seed % 2 else [gate, x]
    y = builder.op("MUL", pair, (1, 4, 5, 8), scale * draw.uniform(0.4, 0.9), int(np.clip(zero, low + 30, low + 220)),
                   dtype, fusedActivationFunction=seed % 3)
    path, images = builder.save(tmp_path / "m.tflite", y), images_of(builder)
    model, expected = load(path), reference(path, images)
    network, codes = model.network, codes_of(images, model.network)
    theirs = file_codes(network, model.findings, codes)[network.output]
    assert np.array_equal(in_file(theirs, expected), expected), "the arithmetic is not that of the file"
    off = np.abs(in_file(network.codes(codes)[network.output], expected).astype(int) - expected)
    last = model.findings[-1]
    assert network.nodes[-1].kind == "scaling" and last.layer == network.output and last.most <= 1 and last.share < 0.15
    assert off.max() <= 2 and (off > 0).mean() < 0.3        # the mean before it may be another, too


@pytest.mark.parametrize("shape", [(1, 4, 5, 1), (1, 1, 5, 8)])
def test_scaling_by_other_shapes(tmp_path, shape):
    builder = Builder()
    x = builder.input((1, 4, 5, 8), np.int8, 0.1)
    begin = builder.const(np.zeros(4, np.int32))
    part = builder.op("SLICE", [x, begin, builder.const(np.int32(shape))], shape, 0.1)
    path = builder.save(tmp_path / "m.tflite", builder.op("MUL", [x, part], (1, 4, 5, 8), 0.1))
    with pytest.raises(AlloyError, match="only one number for each channel, 1x1x1x8, is supported"):
        load(path)
