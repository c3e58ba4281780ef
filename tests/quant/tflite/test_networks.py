"""Whole TFLite networks: layouts, what only moves values, both ends, and the engine's program."""

import numpy as np
import pytest

from compiler import compile
from quant.models import load_model
from quant.tflite import load
from sim import command_model
from spec.config import EngineConfig
from spec.errors import AlloyError

from .build import Builder, reference
from .compare import codes_of, compared, images_of

SCALE, ZERO = 0.05, -20
CONFIG = EngineConfig(name="tflite", ic=8, pixels=8, dsp_filters=4, lut_filters=0, act_depth=4096, weight_depth=512,
                      act_digit_bits=4, tables=2, ports=1, port_bits=64)


def layers(builder, draw, scale):
    """Makers of layers of random weights, a convolution and a linear layer; their outputs have ``SCALE`` and
    ``ZERO``."""
    def constants(shape, axis, source):
        scales = draw.uniform(0.5, 1.5, shape[axis]).astype(np.float32) * np.float32(
            SCALE / source / np.prod(shape[1:]) ** 0.5 / 3)
        return [builder.const(draw.integers(-127, 128, shape).astype(np.int8), scales, axis=axis),
                builder.const(draw.integers(-500, 500, shape[axis]).astype(np.int32), scales * np.float32(source))]

    def conv(x, size, channels, filters, kernel=3, stride=1, source=SCALE, same=True, activation=1):
        out = [-(-one // stride) if same else (one - kernel) // stride + 1 for one in size]
        return builder.op("CONV_2D", [x, *constants((filters, kernel, kernel, channels), 0, source)],
                          (1, *out, filters), SCALE, ZERO, strideH=stride, strideW=stride, dilationHFactor=1,
                          dilationWFactor=1, padding=0 if same else 1, fusedActivationFunction=activation), out

    def linear(x, features, filters):
        return builder.op("FULLY_CONNECTED", [x, *constants((filters, features), 0, SCALE)], (1, filters), SCALE, ZERO)
    return conv, linear, scale


def near(path, images, model=None):
    """Share and size of differences of a whole network and LiteRT, after many roundings."""
    network, expected = (model or load(path)).network, reference(path, images)
    got = network.run(codes_of(images, network))
    low = np.iinfo(expected.dtype).min
    got = (got.transpose(0, 2, 3, 1) if got.ndim == 4 else got) + low
    off = np.abs(got.reshape(expected.shape) - expected.astype(int))
    return float((off > 0).mean()), int(off.max())


def residual(builder, draw):
    """A residual network with a border, a pool, a concatenation and a softmax; of odd size."""
    conv, linear, _ = layers(builder, draw, 0.02)
    x = builder.input((1, 15, 13, 3), np.int8, 0.02, 5)
    padded = builder.op("PAD", [x, builder.const(np.int32([[0, 0], [1, 1], [0, 1], [0, 0]]))], (1, 17, 14, 3), 0.02, 5)
    a, size = conv(padded, (17, 14), 3, 6, 3, 2, 0.02, same=False)
    b, _ = conv(a, size, 6, 6)
    total = builder.op("ADD", [a, b], (1, *size, 6), SCALE, ZERO, fusedActivationFunction=1)
    pooled = builder.op("MAX_POOL_2D", [total], (1, 4, 3, 6), SCALE, ZERO, filterHeight=2, filterWidth=2, strideH=2,
                        strideW=2, padding=0)
    joined = builder.op("CONCATENATION", [pooled, pooled], (1, 4, 3, 12), SCALE, ZERO, axis=3)
    flat = builder.op("RESHAPE", [joined, builder.const(np.int32([-1, 144]))], (1, 144), SCALE, ZERO)
    out = linear(flat, 144, 10)
    return builder.op("SOFTMAX", [out], (1, 10), 1 / 256, -128, beta=1.0), out


def test_a_residual_network_on_the_engine(tmp_path):
    builder, draw = Builder(), np.random.default_rng(0)
    softmax, logits = residual(builder, draw)
    images = images_of(builder, count=12)
    path = builder.save(tmp_path / "m.tflite", softmax)
    model = load(path)
    network = model.network
    share, most = near(builder.save(tmp_path / "n.tflite", logits), images, model)
    assert share < 0.05 and most <= 2
    assert network.nodes[0].padding == (1, 0) and network.nodes[0].padding_end == (1, 1)
    assert model.findings[-1].text.endswith("(SOFTMAX operator 8) is left out: the largest output stays the largest")
    program = compile(network, CONFIG, keep="all")
    codes = codes_of(images[:1], network)
    got, right = command_model.run(program, CONFIG, codes[0]), network.codes(codes)
    assert all(np.array_equal(got[name], right[name][0]) for name in got)


def test_float_ends_and_pixels(tmp_path):
    """QUANTIZE at the beginning, DEQUANTIZE at the end, and a first layer for pixels."""
    builder, draw = Builder(), np.random.default_rng(1)
    conv, linear, _ = layers(builder, draw, 0.02)
    real = builder.input((1, 8, 8, 3), np.float32)
    x = builder.op("QUANTIZE", [real], (1, 8, 8, 3), 0.02, 5)
    y, _ = conv(x, (8, 8), 3, 4, stride=2, source=0.02)
    mean = builder.op("MEAN", [y, builder.const(np.int32([1, 2]))], (1, 4), SCALE, ZERO, keepDims=False)
    out = builder.op("DEQUANTIZE", [linear(mean, 4, 5)], (1, 5), dtype=np.float32)
    path = builder.save(tmp_path / "m.tflite", out)
    loaded = load_model(path)
    images = np.random.default_rng(0).uniform(-2, 2, (8, 8, 8, 3)).astype(np.float32)
    source = loaded.model.tensors["input"]
    assert (source.scale, source.zero, source.bits) == (np.float32(0.02), 133, 8)
    codes = np.clip(np.round(images / np.float32(0.02)) + 5, -128, 127).astype(int) + 128
    off = loaded.model.logits(codes.transpose(0, 3, 1, 2)) - reference(path, images)
    assert np.abs(off).max() < 2.5 * SCALE and (np.abs(off) > 1e-4).mean() < 0.1
    assert loaded.on_pixels((0.5,) * 3, (0.25,) * 3).nodes[0].name == "normalization"


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_requantized_input(tmp_path, dtype):
    """uint8 images that become int8 codes are the same codes; other scales are a table."""
    builder, draw = Builder(), np.random.default_rng(1)
    conv, _, _ = layers(builder, draw, 0.02)
    x = builder.input((1, 6, 5, 3), dtype, 0.02, 133 if dtype is np.uint8 else 0)
    q = builder.op("QUANTIZE", [x], (1, 6, 5, 3), 0.02, 5)
    y, _ = conv(q, (6, 5), 3, 4, source=0.02)
    path = builder.save(tmp_path / "m.tflite", y)
    assert [node.kind for node in load(path).network.nodes] == ["conv"] if dtype is np.uint8 else ["lookup", "conv"]
    share, most = near(path, images_of(builder))
    assert share < 0.02 and most <= 1


def moved(builder, x, shape, what):
    """(tensor, shape) of something that moves values of a map (1, 4, 6, 8)."""
    grid = {"scale": SCALE, "zero": ZERO}
    def ints(*values):
        return builder.const(np.int32(values))
    if what == "crop":
        return builder.op("STRIDED_SLICE", [x, ints(0, 1, 0, 2), ints(1, 4, -1, 0), ints(1, 1, 2, 1)], (1, 3, 3, 6),
                          **grid, beginMask=1, endMask=8), (1, 3, 3, 6)
    if what == "slice":
        return builder.op("SLICE", [x, ints(0, 0, 1, 3), ints(1, -1, 4, 2)], (1, 4, 4, 2), **grid), (1, 4, 4, 2)
    if what == "shuffle":
        a = builder.op("RESHAPE", [x, ints(1, 4, 6, 2, 4)], (1, 4, 6, 2, 4), **grid)
        b = builder.op("TRANSPOSE", [a, ints(0, 1, 2, 4, 3)], (1, 4, 6, 4, 2), **grid)
        return builder.op("RESHAPE", [b, ints(1, 4, 6, 8)], (1, 4, 6, 8), **grid), (1, 4, 6, 8)
    if what == "upsample":
        return builder.op("RESIZE_NEAREST_NEIGHBOR", [x, ints(8, 12)], (1, 8, 12, 8), **grid,
                          halfPixelCenters=True), (1, 8, 12, 8)
    if what == "split":
        parts = builder.op("SPLIT", [builder.const(np.int32(3)), x], [(1, 4, 6, 4)] * 2, **grid, numSplits=2)
        return parts[1], (1, 4, 6, 4)
    if what == "space to depth":
        return builder.op("SPACE_TO_DEPTH", [x], (1, 2, 3, 32), **grid, blockSize=2), (1, 2, 3, 32)
    if what == "depth to space":
        return builder.op("DEPTH_TO_SPACE", [x], (1, 8, 12, 2), **grid, blockSize=2), (1, 8, 12, 2)
    if what == "border":
        width = builder.const(np.int32([[0, 0], [1, 2], [0, 3], [0, 0]]))
        return builder.op("PAD", [x, width], (1, 7, 9, 8), **grid), (1, 7, 9, 8)
    a = builder.op("EXPAND_DIMS", [x, ints(1)], (1, 1, 4, 6, 8), **grid)
    return builder.op("SQUEEZE", [a], shape, **grid, squeezeDims=[1]), shape


@pytest.mark.parametrize("what", ["crop", "slice", "shuffle", "upsample", "split", "space to depth", "depth to space",
                                  "border", "dimensions"])
def test_moves(tmp_path, monkeypatch, what):
    """Exactly, in front of something that computes with places: a maximum, whose borders count."""
    builder = Builder()
    x = builder.input((1, 4, 6, 8), np.int8, SCALE, ZERO)
    made, shape = moved(builder, x, (1, 4, 6, 8), what)
    y = builder.op("MAX_POOL_2D", [made], (1, shape[1] - 1, shape[2] - 1, shape[3]), SCALE, ZERO, filterHeight=2,
                   filterWidth=2, strideH=1, strideW=1, padding=1)
    _, off = compared(monkeypatch, builder.save(tmp_path / "m.tflite", y), images_of(builder))
    assert not off.any()


@pytest.mark.parametrize("what", ["crop", "shuffle", "split", "border", "upsample"])
def test_moves_before_linear_layers(tmp_path, what):
    builder, draw = Builder(), np.random.default_rng(2)
    _, linear, _ = layers(builder, draw, SCALE)
    x = builder.input((1, 4, 6, 8), np.int8, SCALE, ZERO)
    made, shape = moved(builder, x, (1, 4, 6, 8), what)
    count = int(np.prod(shape))
    flat = builder.op("RESHAPE", [made, builder.const(np.int32([1, count]))], (1, count), SCALE, ZERO)
    share, most = near(builder.save(tmp_path / "m.tflite", linear(flat, count, 9)), images_of(builder))
    assert share < 0.05 and most <= 1


def test_channels_first(tmp_path):
    """A model that was written channels first turns its input: the network reads images as they are."""
    builder, draw = Builder(), np.random.default_rng(1)
    conv, _, _ = layers(builder, draw, 0.02)
    x = builder.input((1, 3, 6, 5), np.int8, 0.02, 5)
    turned = builder.op("TRANSPOSE", [x, builder.const(np.int32([0, 2, 3, 1]))], (1, 6, 5, 3), 0.02, 5)
    y, _ = conv(turned, (6, 5), 3, 4, source=0.02)
    path = builder.save(tmp_path / "m.tflite", y)
    network, images = load(path).network, images_of(builder)
    got = network.run(images.astype(int) + 128).transpose(0, 2, 3, 1) - 128
    assert network.tensors["input"].shape == (3, 6, 5) and len(network.nodes) == 1
    assert np.abs(got - reference(path, images)).max() <= 1


def test_vectors_and_shapes_that_are_computed(tmp_path):
    """A vector that becomes an image; a shape made of SHAPE, STRIDED_SLICE and PACK, as Keras writes it."""
    builder, draw = Builder(), np.random.default_rng(1)
    conv, linear, _ = layers(builder, draw, 0.02)
    def ints(*values):
        return builder.const(np.int32(values))
    x = builder.input((1, 30), np.int8, 0.02, 5)
    image = builder.op("RESHAPE", [x, ints(1, 6, 5, 1)], (1, 6, 5, 1), 0.02, 5)
    y, size = conv(image, (6, 5), 1, 4, source=0.02)
    shape = builder.op("SHAPE", [y], (4,), dtype=np.int32, outType=2)
    first = builder.op("STRIDED_SLICE", [shape, ints(0), ints(1), ints(1)], (), dtype=np.int32, shrinkAxisMask=1)
    target = builder.op("PACK", [first, builder.const(np.int32(120))], (2,), dtype=np.int32, valuesCount=2, axis=0)
    flat = builder.op("RESHAPE", [y, target], (1, 120), SCALE, ZERO)
    path = builder.save(tmp_path / "m.tflite", linear(flat, 120, 7))
    assert load(path).shape == (1, 6, 5)
    share, most = near(path, images_of(builder, count=12))
    assert share < 0.1 and most <= 1


def test_open_sizes(tmp_path):
    builder, draw = Builder(), np.random.default_rng(1)
    conv, _, _ = layers(builder, draw, 0.02)
    x = builder.input((1, 1, 1, 3), np.int8, 0.02, 5, signature=(-1, -1, -1, 3))
    y, _ = conv(x, (1, 1), 3, 4, source=0.02)
    assert load(builder.save(tmp_path / "m.tflite", y), (7, 9)).network.tensors["input"].shape == (3, 7, 9)


def test_what_no_step_does(tmp_path):
    """Rows and columns change places."""
    builder, draw = Builder(), np.random.default_rng(1)
    conv, _, _ = layers(builder, draw, 0.02)
    x = builder.input((1, 6, 5, 3), np.int8, SCALE, ZERO)
    turned = builder.op("TRANSPOSE", [x, builder.const(np.int32([0, 2, 1, 3]))], (1, 5, 6, 3), SCALE, ZERO)
    with pytest.raises(AlloyError, match="moved in a way that no step of the engine does"):
        load(builder.save(tmp_path / "m.tflite", conv(turned, (5, 6), 3, 4)[0]))
