"""What is refused of the operators of TFLite files, each with its sentence."""

import numpy as np
import pytest

from quant.tflite import load
from spec.errors import AlloyError

from .build import Builder

G = {"scale": 0.1, "zero": 0}
SAME = {"strideH": 1, "strideW": 1, "padding": 0}


def conv(b, x, **changed):
    given = {"dtype": np.int8, "scale": 0.01, "zero": 0, "bias": np.zeros(2, np.int32), "shape": (2, 3, 3, 3)} | changed
    w = b.const(np.ones(given.pop("shape")).astype(given.pop("dtype")), given.pop("scale"), given.pop("zero"))
    inputs = [x, w, b.const(given.pop("bias"), 0.001)]
    return b.op("CONV_2D", inputs, (1, 4, 4, 2), **G, **(SAME | {"dilationHFactor": 1, "dilationWFactor": 1} | given))


def two_images(b, x):
    return b.op("ADD", [x, b.op("MAX_POOL_2D", [x], (1, 2, 2, 3), **G, filterHeight=2, filterWidth=2, strideH=2,
                                strideW=2, padding=1)], (1, 4, 4, 3), **G)


CASES = {
    "TANH or SIGN_BIT inside": lambda b, x: conv(b, x, fusedActivationFunction=4),
    "weights of type INT16": lambda b, x: conv(b, x, dtype=np.int16),
    "has weights with 2 scales, or some that are not above 0": lambda b, x: conv(b, x, scale=[0.1, 0.0]),
    "has 3 scales along dimension 0": lambda b, x: conv(b, x, scale=[0.1, 0.1, 0.1]),
    "has 3 scales along dimension 3": lambda b, x: b.op("CONV_2D", [x, b.const(
        np.ones((3, 3, 3, 3), np.int8), [0.1, 0.2, 0.3], axis=3)], (1, 4, 4, 3), **G, **SAME),
    "weights with the zero point 3": lambda b, x: conv(b, x, zero=3),
    "a bias of 3 numbers": lambda b, x: conv(b, x, bias=np.zeros(3, np.int32)),
    "weights 2x3x3x5 for 3 channels": lambda b, x: conv(b, x, shape=(2, 3, 3, 5)),
    "has weights of 2 dimensions": lambda b, x: conv(b, x, shape=(2, 3)),
    "kernel of .* use larger images": lambda b, x: conv(b, x, shape=(2, 9, 9, 3), padding=1),
    "kernel of .* use smaller kernels": lambda b, x: b.op(
        "MAX_POOL_2D", [x], (1, 4, 4, 3), **G, filterHeight=1 << 20, filterWidth=1 << 20, **SAME),
    "stride .0, 1.": lambda b, x: conv(b, x, strideH=0),
    "has weights 2x3x3x3 for 3 channels": lambda b, x: b.op("DEPTHWISE_CONV_2D", [x, b.const(
        np.ones((2, 3, 3, 3), np.int8), 0.1)], (1, 4, 4, 3), **G, **SAME),
    "multiplies 48 values by weights 2x5": lambda b, x: b.op("FULLY_CONNECTED", [x, b.const(
        np.ones((2, 5), np.int8), 0.1)], (1, 2), **G),
    "parts of 6 of 1x4x4x3": lambda b, x: b.op("FULLY_CONNECTED", [x, b.const(np.ones((2, 6), np.int8), 0.1)],
                                               (8, 2), **G),
    "reduces the dimensions .1.": lambda b, x: b.op("MEAN", [x, b.const(np.int32([1]))], (1, 4, 3), **G),
    "they need one shape": two_images,
    "constant of 4x4x3 values beside 3 channels": lambda b, x: b.op("ADD", [x, b.const(
        np.ones((4, 4, 3), np.int8), 0.1)], (1, 4, 4, 3), **G),
    "constant of more dimensions": lambda b, x: b.op("ADD", [x, b.const(np.ones((1, 1, 1, 1, 1), np.int8), 0.1)],
                                                     (1, 1, 4, 4, 3), **G),
    "adds numbers of scale": lambda b, x: b.op("ADD", [x, b.const(np.ones(1, np.int8), 0.1)], (1, 4, 4, 3), 1e-8, 0),
    "has 3 bounds": lambda b, x: b.op("MAXIMUM", [x, b.const(np.ones(3, np.int8), 0.1)], (1, 4, 4, 3), **G),
    "joins tensors along dimension 1": lambda b, x: b.op(
        "CONCATENATION", [x, b.op("RELU", [x], (1, 4, 4, 3), **G)], (1, 8, 4, 3), **G, axis=1),
    "joins tensors of several scales": lambda b, x: b.op(
        "CONCATENATION", [x, b.op("RELU", [x], (1, 4, 4, 3), 0.2, 0)], (1, 4, 4, 6), **G, axis=3),
    "activation inside, which is not supported: use none": lambda b, x: b.op(
        "CONCATENATION", [x, x], (1, 4, 4, 6), **G, axis=3, fusedActivationFunction=1),
    "has 3 slopes": lambda b, x: b.op("PRELU", [x, b.const(np.ones(3, np.int8), 0.1)], (1, 4, 4, 3), **G),
    "pads with the code": lambda b, x: b.op("PADV2", [x, b.const(np.int32([[0, 0], [1, 1], [0, 0], [0, 0]])), b.const(
        np.int8([5]), 0.1)], (1, 6, 4, 3), **G),
    "pads 4 dimensions by": lambda b, x: b.op("PAD", [x, b.const(np.int32([[0, 0], [-1, 1], [0, 0], [0, 0]]))],
                                              (1, 4, 4, 3), **G),
    "67108864 are the most": lambda b, x: b.op("RESIZE_NEAREST_NEIGHBOR", [x, b.const(np.int32([1 << 15, 1 << 15]))],
                                               (1, 1 << 15, 1 << 15, 3), **G),
    "use batch_dims=0": lambda b, x: b.op("GATHER", [x, b.const(np.int32([0]))], (1, 1, 4, 3), **G, axis=1,
                                          batchDims=1),
    "says that they have 0.2": lambda b, x: b.op("RESHAPE", [x, b.const(np.int32([1, 48]))], (1, 48), 0.2, 0),
    "does not fit what it reads": lambda b, x: b.op("RESHAPE", [x, b.const(np.int32([1, 47]))], (1, 47), **G),
    "makes a tensor without values": lambda b, x: b.op("SLICE", [x, b.const(np.int32([0, 0, 0, 0])), b.const(
        np.int32([1, 4, 0, 3]))], (1, 4, 0, 3), **G),
    "in several inputs: only constants": lambda b, x: b.op("RESHAPE", [x, x], (1, 48), **G),
    "comes behind layer .*which is left out": lambda b, x: b.op(
        "RELU", [b.op("SOFTMAX", [x], (1, 4, 4, 3), 1 / 256, -128)], (1, 4, 4, 3), **G),
    "with 0 scales": lambda b, x: b.op("RELU", [x], (1, 4, 4, 3)),
    "has the scale nan": lambda b, x: b.op("RELU", [x], (1, 4, 4, 3), float("nan")),
    "outside its codes": lambda b, x: b.op("RELU", [x], (1, 4, 4, 3), 0.1, 300),
    "returns its input": lambda b, x: b.op("RESHAPE", [x, b.const(np.int32([1, 48]))], (1, 48), **G),
    "the output does not depend on the image": lambda b, x: b.op("RESHAPE", [
        b.const(np.ones(4, np.int8), 0.1), b.const(np.int32([2, 2]))], (2, 2), **G),
    "computes constants alone": lambda b, x: b.op("RELU", [b.const(np.ones(4, np.int8), 0.1)], (4,), **G),
    "is PACK of what depends on the image": lambda b, x: b.op("PACK", [x, x], (2, 1, 4, 4, 3), **G, axis=0),
    "values: images .1, rows, columns, channels. are supported": lambda b, x: b.op("MAX_POOL_2D", [b.op(
        "RESHAPE", [x, b.const(np.int32([2, 2, 4, 3]))], (2, 2, 4, 3), **G)], (2, 2, 4, 3), **G, filterHeight=1,
        filterWidth=1, **SAME),
}


@pytest.mark.parametrize("words", CASES)
def test_operators(tmp_path, words):
    builder = Builder()
    x = builder.input((1, 4, 4, 3), np.int8, 0.1)
    path = builder.save(tmp_path / "m.tflite", CASES[words](builder, x))
    with pytest.raises(AlloyError, match=words):
        load(path)


def test_the_input(tmp_path):
    """Quantized twice in two ways; two of them; a graph whose operators are in disorder."""
    builder = Builder()
    x = builder.input((1, 4, 4, 3), np.float32)
    one, two = (builder.op("QUANTIZE", [x], (1, 4, 4, 3), scale) for scale in (0.1, 0.2))
    with pytest.raises(AlloyError, match=r"quantized with the scale 0.1 and with 0.2"):
        load(builder.save(tmp_path / "m.tflite", builder.op("ADD", [one, two], (1, 4, 4, 3), 0.1)))
    builder = Builder()
    x, y = builder.input((1, 4, 4, 3), np.int8, 0.1), builder.input((1, 4, 4, 3), np.int8, 0.1)
    with pytest.raises(AlloyError, match="has 2 inputs and 1 outputs"):
        load(builder.save(tmp_path / "m.tflite", builder.op("ADD", [x, y], (1, 4, 4, 3), 0.1)))
    builder = Builder()
    x = builder.input((1, 4, 4, 3), np.int8, 0.1)
    y = builder.op("RELU", [builder.op("TANH", [x], (1, 4, 4, 3), 0.1)], (1, 4, 4, 3), 0.1)
    builder.operators.reverse()
    with pytest.raises(AlloyError, match="reads t, which nothing before it makes|reads t/1, which nothing before it"):
        load(builder.save(tmp_path / "m.tflite", y))
