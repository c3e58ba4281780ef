"""Quantized ONNX files: what is said to be exact is what onnxruntime computes bit for bit, the rest as near as said."""

import warnings

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
import pytest
import torch

from compiler import compile
from quant.onnx import load
from sim import command_model
from spec.config import EngineConfig
from spec.errors import AlloyError

from .graphs import check_same, node, run, save
from .nets import made

SHAPE = (3, 24, 24)
MS = ("com.microsoft",)
CONFIG = EngineConfig(name="onnx", ic=8, pixels=8, dsp_filters=4, lut_filters=0, act_depth=4096, weight_depth=512,
                      act_digit_bits=4, tables=2, ports=1, port_bits=64)


class Images(CalibrationDataReader):
    """Random pixels."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self._left = iter([{"x": rng.random((4, *SHAPE), np.float32)} for _ in range(4)])

    def get_next(self):
        return next(self._left, None)


def input_codes(network, images):
    """The codes that a network reads for real images."""
    tensor = network.tensors[network.input]
    codes = np.round(images / np.float32(tensor.scale)) + tensor.zero
    return np.clip(codes, 0, (1 << tensor.bits) - 1).astype(np.int64)


def compared(path, images, real=True, precise=True):
    """(model, |difference| of all outputs in codes) of the integer network and onnxruntime."""
    model = load(path)
    network, expected = model.network, run(path, images, precise)
    if real:
        got = network.logits(input_codes(network, images))
        off = np.abs(got.reshape(expected.shape) - expected) / network.tensors[network.output].scale
    else:       # codes in, codes out
        low = np.iinfo(images.dtype).min
        got = network.run(images.astype(np.int64) - low)
        off = np.abs(got.reshape(expected.shape) + np.iinfo(expected.dtype).min - expected.astype(np.int64))
    assert np.abs(off - np.round(off)).max() < 1e-3
    return model, np.round(off).astype(int)


def exported(tmp_path, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(made(name), (torch.zeros(1, *SHAPE),), str(tmp_path / "f.onnx"), dynamo=False,
                          input_names=["x"], dynamic_axes={"x": {0: "n"}})
    return str(tmp_path / "f.onnx")


@pytest.fixture(scope="module", params=["resnet", "mobilenet"])
def floating(request, tmp_path_factory):
    return exported(tmp_path_factory.mktemp("float"), request.param)


@pytest.mark.parametrize("form, channels, weights, acts, reduced", [
    (QuantFormat.QDQ, True, QuantType.QInt8, QuantType.QUInt8, False),
    (QuantFormat.QDQ, False, QuantType.QInt8, QuantType.QInt8, True),
    (QuantFormat.QOperator, True, QuantType.QInt8, QuantType.QUInt8, False),
    (QuantFormat.QOperator, False, QuantType.QUInt8, QuantType.QUInt8, False)])
def test_networks_of_onnxruntime(tmp_path, floating, form, channels, weights, acts, reduced):
    path = str(tmp_path / "q.onnx")
    quantize_static(floating, path, Images(), quant_format=form, per_channel=channels, weight_type=weights,
                    activation_type=acts, reduce_range=reduced)
    images = np.random.default_rng(1).random((8, *SHAPE), np.float32)
    model, off = compared(path, images)
    assert model.module is None and all(found.share < 3e-3 and found.most <= 1 for found in model.findings)
    assert off.max() <= 2 and (off > 0).mean() < 0.1
    network = model.network
    codes = input_codes(network, images[:1])
    program = compile(network, CONFIG, keep="all")
    got = command_model.run(program, CONFIG, codes[0])
    assert np.array_equal(got[network.output], network.codes(codes)[network.output][0])


def test_symmetric_codes_of_onnxruntime(tmp_path, floating):
    path = str(tmp_path / "q.onnx")
    quantize_static(floating, path, Images(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QInt8,
                    weight_type=QuantType.QInt8, extra_options={"ActivationSymmetric": True})
    _, off = compared(path, np.random.default_rng(1).random((8, *SHAPE), np.float32))
    assert off.max() <= 2 and (off > 0).mean() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("bits", [QuantType.QInt4, QuantType.QUInt4])
def test_four_bits_of_onnxruntime(tmp_path, floating, bits):
    path = str(tmp_path / "q.onnx")
    quantize_static(floating, path, Images(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
                    weight_type=bits, extra_options={"UseQDQContribOps": False})
    _, off = compared(path, np.random.default_rng(1).random((8, *SHAPE), np.float32))
    assert off.max() <= 2


def test_on_pixels(tmp_path):
    """A layer before the first makes the codes of normalized pixels; nothing, where they are the pixels."""
    weights = scalars(np.int8, x=(0.02, -3), y=(0.3, 90)) | {"w": np.ones((2, 3, 3, 3), np.int8), "s": np.float32(0.02)}
    nodes = [node("QuantizeLinear", ["x", "x_s", "x_z"], ["q"]), node("DequantizeLinear", ["q", "x_s", "x_z"], ["d"]),
             node("DequantizeLinear", ["w", "s"], ["v"]), node("Conv", ["d", "v"], ["c"]),
             node("QuantizeLinear", ["c", "y_s", "y_z"], ["e"]), node("DequantizeLinear", ["e", "y_s", "y_z"])]
    model = load(save(tmp_path / "m.onnx", nodes, weights, (3, 6, 5)))
    mean, std = (0.4, 0.5, 0.45), (0.2, 0.3, 0.25)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 6, 5))
    real = ((pixels / 255 - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]).astype(np.float32)
    made = model.on_pixels(mean, std)
    off = np.abs(made.network.codes(pixels)["input"] - input_codes(model.network, real))
    assert off.max() <= 1 and (off > 0).mean() < 0.02 and len(made.findings) == len(model.findings) + 1
    assert made.network.nodes[0].name == "normalization"
    plain = scalars(np.uint8, x=(1 / 255, 0), y=(0.3, 90)) | {"w": weights["w"], "s": weights["s"]}
    model = load(save(tmp_path / "m.onnx", nodes, plain, (3, 6, 5)))
    assert model.on_pixels() is model
    with pytest.raises(AlloyError, match="m is not quantized: give mean and std to quantize"):
        load(save(tmp_path / "m.onnx", [node("Relu", ["x"])], {}, (3, 6, 5))).on_pixels()


# -- operators on whole numbers, one by one: codes in, codes out ------------------------------------------------------
def one_node(tmp_path, nodes, weights, shape, dtype=np.uint8, seed=0, made_dtype=None, domains=MS, **other):
    """Compare a graph of codes with onnxruntime for random codes. Returns the finding of its last node."""
    types = {np.uint8: TensorProto.UINT8, np.int8: TensorProto.INT8}
    path = save(tmp_path / "m.onnx", nodes, weights, shape, dtype=types[dtype], made_dtype=types[made_dtype or dtype],
                domains=domains, **other)
    info = np.iinfo(dtype)
    codes = np.random.default_rng(seed).integers(info.min, info.max + 1, (6, *shape)).astype(dtype)
    # onnxruntime adds up 8-bit products in 16 bits, clipped, unless it is told not to; not so signed codes.
    model, off = compared(path, codes, real=False, precise=dtype is np.uint8)
    share, most = sum(one.share for one in model.findings), max((one.most for one in model.findings), default=0)
    assert off.max() <= (most if share else 0)
    assert share or not off.any()
    assert (off > 0).mean() <= 20 * share + 0.002 * (share > 0)
    return model


def scalars(dtype, **given):
    """{name: array}: pairs (scale, zero point) as ``name_s`` and ``name_z``."""
    return {f"{name}_{end}": np.array(value, np.float32 if end == "s" else dtype)
            for name, pair in given.items() for end, value in zip("sz", pair, strict=True)}


@pytest.mark.parametrize("seed", range(16))
def test_convolutions(tmp_path, seed):
    """Any strides, pads, groups, zero points of the weights; whether it is exact is said, and the same bit for bit."""
    rng = np.random.default_rng(seed)
    dtype, weight_dtype = [(np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8)][seed % 3]
    groups, channels = int(rng.choice([1, 2, 4])), 4
    filters, kernel = 4 * int(rng.integers(1, 3)), rng.integers(1, 4, 2)
    info, zinfo = np.iinfo(weight_dtype), np.iinfo(dtype)
    scales = rng.uniform(0.001, 0.02, filters if seed % 2 else ()).astype(np.float32)
    weights = scalars(dtype, x=(rng.uniform(0.01, 0.1), rng.integers(zinfo.min, zinfo.max)),
                      y=(rng.uniform(0.02, 0.5), rng.integers(zinfo.min, zinfo.max)))
    zero = np.array(rng.integers(100, 156), np.uint8) if weight_dtype is np.uint8 else np.zeros(scales.shape, np.int8)
    if weight_dtype is np.uint8 and scales.ndim:
        zero = np.full(scales.shape, zero)
    weights |= {"w": rng.integers(info.min, info.max + 1, (filters, channels // groups, *kernel)).astype(weight_dtype),
                "w_s": scales, "w_z": zero, "b": rng.integers(-3000, 3000, filters).astype(np.int32)}
    names = ["x", "x_s", "x_z", "w", "w_s", "w_z", "y_s", "y_z", *(["b"] if seed % 5 else [])]
    pads = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
    conv = node("QLinearConv", names, group=groups, pads=pads, strides=[int(rng.integers(1, 3)) for _ in range(2)])
    one_node(tmp_path, [conv], weights, (channels, 7, 6), dtype, seed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("op_type", ["QLinearMatMul", "QGemm"])
def test_linear(tmp_path, op_type, seed):
    rng = np.random.default_rng(seed)
    weights = scalars(np.uint8, x=(0.05, rng.integers(0, 256)), y=(rng.uniform(0.1, 0.5), rng.integers(0, 256)))
    weights |= {"w": rng.integers(-128, 128, (12, 5)).astype(np.int8), "w_s": np.float32(0.004), "w_z": np.int8(0),
                "b": rng.integers(-3000, 3000, 5).astype(np.int32)}
    weights |= {"w": weights["w"].view(np.uint8), "w_z": np.uint8(rng.integers(0, 256))} if seed % 2 else {}
    names = ["f", "x_s", "x_z", "w", "w_s", "w_z", *(["b"] if op_type == "QGemm" else []), "y_s", "y_z"]
    other = {"domain": "com.microsoft"} if op_type == "QGemm" else {}
    one_node(tmp_path, [node("Flatten", ["x"], ["f"]), node(op_type, names, **other)], weights, (3, 2, 2), seed=seed)


@pytest.mark.parametrize("seed", range(6))
def test_additions(tmp_path, seed):
    """A tensor and a function of it: all pairs of codes."""
    rng = np.random.default_rng(seed)
    dtype = [np.uint8, np.int8][seed % 2]
    info = np.iinfo(dtype)
    pairs = {name: (rng.uniform(0.01, 0.1), rng.integers(info.min, info.max + 1)) for name in ("x", "a", "y")}
    weights = scalars(dtype, **pairs)
    weights |= {"w": rng.permutation(np.eye(4))[..., None, None].astype(np.int8) * 50, "w_s": np.float32(0.02),
                "w_z": np.int8(0)}
    nodes = [node("QLinearConv", ["x", "x_s", "x_z", "w", "w_s", "w_z", "a_s", "a_z"], ["a"]),
             node("QLinearAdd", ["a", "a_s", "a_z", "x", "x_s", "x_z", "y_s", "y_z"], domain="com.microsoft")]
    one_node(tmp_path, nodes, weights, (4, 5, 6), dtype, seed)


@pytest.mark.parametrize("scales", [(0.02, 0.05), (0.05, 0.02)])
def test_both_orders_of_an_addition(tmp_path, scales):
    """Lead to one network, in which what has the smaller steps is added to the other one."""
    weights = scalars(np.uint8, x=(scales[0], 110), a=(scales[1], 90), y=(0.06, 100))
    first = [node("DequantizeLinear", ["x", "x_s", "x_z"], ["d"]), node("MaxPool", ["d"], ["m"], kernel_shape=[1, 1]),
             node("LeakyRelu", ["m"], ["l"]), node("QuantizeLinear", ["l", "a_s", "a_z"], ["e"]),
             node("DequantizeLinear", ["e", "a_s", "a_z"], ["f"])]
    one, two = (one_node(tmp_path, [*first, node("Add", pair, ["r"]), node("QuantizeLinear", ["r", "y_s", "y_z"])],
                         weights, (3, 6, 5), domains=()).network for pair in (["d", "f"], ["f", "d"]))
    check_same(one, two)
    fine = min((one.nodes[-1].input, one.nodes[-1].residual), key=lambda name: one.tensors[name].scale)
    assert one.nodes[-1].residual == fine


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("op_type", ["QLinearGlobalAveragePool", "QLinearAveragePool"])
def test_averages(tmp_path, op_type, seed):
    rng = np.random.default_rng(seed)
    weights = scalars(np.uint8, x=(0.03, rng.integers(0, 256)), y=(rng.uniform(0.01, 0.05), rng.integers(0, 256)))
    other = {"channels_last": 0} if "Global" in op_type else {"kernel_shape": [2, 3], "strides": [2, 1]}
    made_node = node(op_type, ["x", "x_s", "x_z", "y_s", "y_z"], domain="com.microsoft", **other)
    one_node(tmp_path, [made_node], weights, (4, 6, 5), seed=seed)


@pytest.mark.parametrize("attributes", [
    {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, {"kernel_shape": [3, 2], "pads": [0, 1, 2, 0], "strides": [2, 1]},
    {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 4], "pads": [1, 1, 1, 1], "strides": [2, 3], "ceil_mode": 1, "count_include_pad": 1},
    {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2], "strides": [3, 3], "ceil_mode": 1}])
@pytest.mark.parametrize("then", [[], [node("Mul", ["a", "c"], ["m"]), node("Clip", ["m", "lo", "hi"], ["r"])]],
                         ids=["alone", "clipped"])
def test_averages_of_what_is_there(tmp_path, attributes, then):
    """Windows at the border divide by what they count; products and bounds may follow, and the engine does the same."""
    if then and "auto_pad" not in attributes:       # onnxruntime has dilation between real numbers alone
        attributes = attributes | {"dilations": [1, 2]}
    more = {"lo": np.float32(-0.5), "hi": np.float32(1.5), "c": np.float32(1.7)} if then else {}
    weights = scalars(np.uint8, x=(0.03, 110), y=(0.0183, 90)) | more
    average = node("AveragePool", ["d"], ["a" if then else "r"], **attributes)
    model = one_node(tmp_path, rounded([average, *then]), weights, (5, 9, 8), domains=(), opset=19)
    assert max(found.share for found in model.findings) < 0.05
    codes = np.random.default_rng(1).integers(0, 256, (1, 5, 9, 8))
    program = compile(model.network, CONFIG, keep="all")
    got = command_model.run(program, CONFIG, codes[0])
    assert np.array_equal(got[model.network.output], model.network.codes(codes)[model.network.output][0])


@pytest.mark.parametrize("attributes", [{"pads": [1, 1, 1, 1]}, {"ceil_mode": 1, "strides": [2, 2]},
                                        {"pads": [1, 1, 1, 1], "count_include_pad": 1}])
def test_averages_on_whole_numbers(tmp_path, attributes):
    weights = scalars(np.uint8, x=(0.03, 77), y=(0.02, 30))
    made_node = node("QLinearAveragePool", ["x", "x_s", "x_z", "y_s", "y_z"], domain="com.microsoft",
                     kernel_shape=[3, 3], **attributes)
    one_node(tmp_path, [made_node], weights, (4, 8, 6))


@pytest.mark.parametrize("op_type, scale", [("ReduceMean", 0.025), ("ReduceSum", 0.9)])
@pytest.mark.parametrize("axes", [[1], [2], [-1], [1, 3], [1, 2, 3]])
def test_reductions(tmp_path, op_type, scale, axes):
    weights = scalars(np.uint8, x=(0.03, 110), y=(scale, 90)) | {"axes": np.array(axes)}
    reduced = node(op_type, ["d", "axes"], ["r"]) if op_type == "ReduceSum" else node(op_type, ["d"], ["r"], axes=axes)
    one_node(tmp_path, rounded([reduced]), weights, (3, 6, 5), domains=())


@pytest.mark.parametrize("op_type, attributes", [("QLinearSigmoid", {}), ("QLinearLeakyRelu", {"alpha": 0.1})])
def test_functions(tmp_path, op_type, attributes):
    """Tables are exact."""
    weights = scalars(np.uint8, x=(0.05, 120), y=(1 / 256 if "Sigmoid" in op_type else 0.05, 3))
    made_node = node(op_type, ["x", "x_s", "x_z", "y_s", "y_z"], domain="com.microsoft", **attributes)
    model = one_node(tmp_path, [made_node], weights, (4, 6, 5))
    assert all(found.exact for found in model.findings)


@pytest.mark.parametrize("attributes", [{}, {"pads": [1, 0, 1, 1]}, {"ceil_mode": 1}, {"strides": [2, 2]}])
def test_maxima(tmp_path, attributes):
    made_node = node("MaxPool", ["x"], **{"kernel_shape": [3, 2], "strides": [2, 1], **attributes})
    weights = scalars(np.uint8, x=(0.05, 20))
    nodes = [node("DequantizeLinear", ["x", "x_s", "x_z"], ["d"]), node("MaxPool", ["d"], ["m"], **{
        a.name: onnx.helper.get_attribute_value(a) for a in made_node.attribute}),
        node("QuantizeLinear", ["m", "x_s", "x_z"])]
    model = one_node(tmp_path, nodes, weights, (3, 8, 7))
    assert [one.kind for one in model.network.nodes] == ["pool"]


# -- real operators between roundings --------------------------------------------------------------------------------
def rounded(nodes, **pairs):
    """A graph of codes around float nodes that read ``d`` and make ``r``."""
    return [node("DequantizeLinear", ["x", "x_s", "x_z"], ["d"]), *nodes, node("QuantizeLinear", ["r", "y_s", "y_z"])]


@pytest.mark.parametrize("nodes, extra", [
    ([node("Sigmoid", ["d"], ["s"]), node("Mul", ["d", "s"], ["r"])], {}),
    ([node("HardSwish", ["d"], ["r"])], {}), ([node("Tanh", ["d"], ["r"])], {}),
    ([node("Relu", ["d"], ["r"])], {}), ([node("Clip", ["d", "lo", "hi"], ["r"])],
                                         {"lo": np.float32(-0.5), "hi": np.float32(1.5)}),
    ([node("Mul", ["d", "c"], ["r"])], {"c": np.float32([[[-0.5]], [[2.0]], [[0.0]]])}),
    ([node("Add", ["d", "c"], ["r"])], {"c": np.float32([[[-0.5]], [[2.0]], [[0.1]]])}),
    ([node("Sub", ["c", "d"], ["r"])], {"c": np.float32(0.25)}),
    ([node("Div", ["d", "c"], ["r"])], {"c": np.float32(3)}),
    ([node("Add", ["d", "d"], ["r"])], {}),
    ([node("BatchNormalization", ["d", "g", "o", "m", "v"], ["r"])],
     {name: np.float32(value) for name, value in (("g", [1, -2, .5]), ("o", [0, 1, 2]), ("m", [0.1, 0.2, 0.3]),
                                                  ("v", [1, 2, 0.5]))}),
    ([node("ReduceMean", ["d"], ["r"], axes=[2, 3])], {}),
    ([node("Add", ["d", "c"], ["a"]), node("Clip", ["a", "z", "s"], ["b"]), node("Mul", ["d", "b"], ["e"]),
      node("Div", ["e", "s"], ["r"])], {"c": np.float32(3), "z": np.float32(0), "s": np.float32(6)}),
    ([node("AveragePool", ["d"], ["r"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)], {}),
])
def test_between_roundings(tmp_path, nodes, extra):
    weights = scalars(np.uint8, x=(0.03, 110), y=(0.025, 90)) | extra
    one_node(tmp_path, rounded(nodes), weights, (3, 6, 5), domains=())


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("shape", [(), (3, 1, 1)])
@pytest.mark.parametrize("turned", [False, True])
def test_constants_with_scales(tmp_path, op_type, shape, turned):
    """As either operand."""
    weights = scalars(np.uint8, x=(0.03, 110), y=(0.025, 90), c=(0.011, 70)) | {
        "c": np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)}
    nodes = [node("DequantizeLinear", ["c", "c_s", "c_z"], ["e"]),
             node(op_type, ["e", "d"] if turned else ["d", "e"], ["r"])]
    one_node(tmp_path, rounded(nodes), weights, (3, 6, 5), domains=())


@pytest.mark.parametrize("axis, turned", [(1, 0), (-1, 0), (0, 1), (-2, 1)])
def test_scales_along_either_axis(tmp_path, axis, turned):
    """Of a matrix as Gemm multiplies with it, or turned."""
    rng = np.random.default_rng(2)
    weights = scalars(np.uint8, x=(0.03, 110), y=(0.2, 90)) | {
        "w": rng.integers(-128, 128, (5, 12) if turned else (12, 5)).astype(np.int8),
        "w_s": rng.uniform(0.002, 0.02, 5).astype(np.float32), "w_z": np.zeros(5, np.int8)}
    nodes = [node("DequantizeLinear", ["w", "w_s", "w_z"], ["v"], axis=axis), node("Flatten", ["d"], ["f"]),
             node("Gemm", ["f", "v"], ["r"], transB=turned)]
    one_node(tmp_path, rounded(nodes), weights, (3, 2, 2), domains=())


@pytest.mark.parametrize("dtype", ["int4", "uint4"])
def test_four_bit_weights(tmp_path, dtype):
    rng = np.random.default_rng(0)
    weight = rng.integers(*((-8, 8) if dtype == "int4" else (0, 16)), (5, 3, 3, 3)).astype(getattr(ml_dtypes, dtype))
    weights = scalars(np.uint8, x=(0.03, 110), y=(0.3, 90)) | {
        "w": weight, "w_s": rng.uniform(0.05, 0.1, 5).astype(np.float32),
        "w_z": np.full(5, 7 if dtype == "uint4" else 0).astype(getattr(ml_dtypes, dtype))}
    nodes = [node("DequantizeLinear", ["w", "w_s", "w_z"], ["v"], axis=0), node("Conv", ["d", "v"], ["r"])]
    types = TensorProto.UINT8
    path = save(tmp_path / "m.onnx", rounded(nodes), weights, (3, 6, 5), dtype=types, made_dtype=types, opset=21)
    codes = rng.integers(0, 256, (6, 3, 6, 5)).astype(np.uint8)
    _, off = compared(path, codes, real=False)
    assert off.max() <= 1 and (off > 0).mean() < 0.01


@pytest.mark.parametrize("seed", range(3))
def test_concatenation(tmp_path, seed):
    """Parts with scales of their own become codes of the whole."""
    rng = np.random.default_rng(seed)
    pairs = {name: (rng.uniform(0.02, 0.05), rng.integers(0, 256)) for name in ("x", "a", "y")}
    weights = scalars(np.uint8, **pairs) | {"w": rng.integers(-128, 128, (3, 4, 3, 3)).astype(np.int8),
                                            "w_s": np.float32(0.002), "w_z": np.int8(0)}
    nodes = [node("QLinearConv", ["x", "x_s", "x_z", "w", "w_s", "w_z", "a_s", "a_z"], ["a"], pads=[1, 1, 1, 1]),
             node("QLinearConcat", ["y_s", "y_z", "a", "a_s", "a_z", "x", "x_s", "x_z"], axis=1,
                  domain="com.microsoft")]
    model = one_node(tmp_path, nodes, weights, (4, 5, 6), seed=seed)
    codes = rng.integers(0, 256, (1, 4, 5, 6))
    program = compile(model.network, CONFIG, keep="all")
    got = command_model.run(program, CONFIG, codes[0])
    assert np.array_equal(got[model.network.output], model.network.codes(codes)[model.network.output][0])


def test_concatenation_of_one_grid(tmp_path):
    """Nothing is rounded again."""
    nodes = [node("Relu", ["d"], ["e"]), node("QuantizeLinear", ["e", "x_s", "x_z"], ["f"]),
             node("DequantizeLinear", ["f", "x_s", "x_z"], ["g"]), node("Concat", ["g", "d", "d"], ["r"], axis=1)]
    weights = scalars(np.uint8, x=(0.03, 110), y=(0.03, 110))
    model = one_node(tmp_path, rounded(nodes), weights, (3, 4, 5), domains=())
    assert [one.kind for one in model.network.nodes] == ["lookup", "concat"]


@pytest.mark.parametrize("moves, weights", [
    ([node("DepthToSpace", ["f"], ["r"], blocksize=2)], {}),
    ([node("DepthToSpace", ["f"], ["r"], blocksize=2, mode="CRD")], {}),
    ([node("SpaceToDepth", ["f"], ["r"], blocksize=2)], {}),
    ([node("Resize", ["f", "", "c"], ["r"], mode="nearest", coordinate_transformation_mode="asymmetric",
           nearest_mode="floor")], {"c": np.float32([1, 1, 2, 3])}),
    ([node("Pad", ["f", "c"], ["r"])], {"c": np.array([0, 0, 1, 2, 0, 0, 0, 1])}),
    ([node("Slice", ["f", "c", "e", "a"], ["m"]), node("Relu", ["m"], ["r"])],
     {"c": np.array([1, 2]), "e": np.array([7, 4]), "a": np.array([1, 2])}),
    ([node("Split", ["f", "c"], ["m", "t"], axis=1), node("Concat", ["t", "m"], ["r"], axis=1)],
     {"c": np.array([2, 6])}),
    ([node("Gather", ["f", "c"], ["m"], axis=1), node("Clip", ["m", "lo", "hi"], ["r"])],
     {"c": np.array([5, 5, 0]), "lo": np.float32(-1), "hi": np.float32(0.9)})])
@pytest.mark.parametrize("layer", [False, True])
def test_moves(tmp_path, moves, weights, layer):
    """Of codes, and of what a layer makes before it is rounded, which may have its bounds behind the move."""
    first = [node("Conv", ["d", "v"], ["f"])] if layer else [node("Identity", ["d"], ["f"])]
    given = scalars(np.uint8, x=(0.03, 110), y=(0.03, 110)) | weights
    given |= {"w": np.random.default_rng(0).integers(-99, 99, (8, 8, 1, 1)).astype(np.int8), "s": np.float32(0.004)}
    dequantized = [node("DequantizeLinear", ["w", "s"], ["v"])] if layer else []
    model = one_node(tmp_path, [*dequantized, *rounded([*first, *moves])], given, (8, 4, 6), domains=())
    codes = np.random.default_rng(1).integers(0, 256, (1, 8, 4, 6))
    got = command_model.run(compile(model.network, CONFIG, keep="all"), CONFIG, codes[0])
    assert np.array_equal(got[model.network.output], model.network.codes(codes)[model.network.output][0])


@pytest.mark.parametrize("form", ["QDQ", "QLinearMul"])
@pytest.mark.parametrize("scale", [0.011, 0.017, 0.023, 0.03])
def test_products(tmp_path, form, scale):
    """Squeeze-and-excite: the engine scales by a weight and a shift, and a table takes the rest."""
    weights = scalars(np.uint8, x=(0.03, 110), y=(scale, 90), s=(1 / 256, 0), m=(0.02, 120))
    first = [node("QuantizeLinear", ["p", "m_s", "m_z"], ["q"]), node("DequantizeLinear", ["q", "m_s", "m_z"], ["e"]),
             node("Sigmoid", ["e"], ["g"]), node("QuantizeLinear", ["g", "s_s", "s_z"], ["h"])]
    if form == "QDQ":
        nodes = rounded([node("ReduceMean", ["d"], ["p"], axes=[2, 3]), *first,
                         node("DequantizeLinear", ["h", "s_s", "s_z"], ["f"]), node("Mul", ["f", "d"], ["r"])])
    else:
        nodes = [node("DequantizeLinear", ["x", "x_s", "x_z"], ["d"]), node("ReduceMean", ["d"], ["p"], axes=[2, 3]),
                 *first, node("QLinearMul", ["x", "x_s", "x_z", "h", "s_s", "s_z", "y_s", "y_z"],
                              domain="com.microsoft")]
    model = one_node(tmp_path, nodes, weights, (8, 6, 5))
    assert model.network.nodes[-1].kind == "scaling"
    assert model.findings[-1].share < 0.2 and model.findings[-1].most <= 1
    codes = np.random.default_rng(1).integers(0, 256, (1, 8, 6, 5))
    got = command_model.run(compile(model.network, CONFIG, keep="all"), CONFIG, codes[0])
    assert np.array_equal(got[model.network.output], model.network.codes(codes)[model.network.output][0])


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_products_of_one_tensor(tmp_path, whole, turned):
    """SiLU as onnxruntime quantizes it: the sigmoid is rounded before the product, which is one table all the same,
    whichever comes first; and products with constants that are quantized as tensors are."""
    weights = scalars(np.uint8, x=(0.05, 110), y=(0.04, 20), s=(1 / 256, 0), t=(0.02, 30))
    weights["c"] = np.array(200, np.uint8)
    domain, order = {"domain": "com.microsoft"}, -1 if turned else 1
    if whole:
        pairs = (["x", "x_s", "x_z"], ["h", "s_s", "s_z"])[::order], (["p", "t_s", "t_z"], ["c", "s_s", "s_z"])[::order]
        nodes = [node("QLinearSigmoid", ["x", "x_s", "x_z", "s_s", "s_z"], ["h"], **domain),
                 node("QLinearMul", [*pairs[0][0], *pairs[0][1], "t_s", "t_z"], ["p"], **domain),
                 node("QLinearMul", [*pairs[1][0], *pairs[1][1], "y_s", "y_z"], **domain)]
    else:
        nodes = rounded([
            node("Sigmoid", ["d"], ["g"]), node("QuantizeLinear", ["g", "s_s", "s_z"], ["h"]),
            node("DequantizeLinear", ["h", "s_s", "s_z"], ["f"]), node("Mul", ["d", "f"][::order], ["m"]),
            node("QuantizeLinear", ["m", "t_s", "t_z"], ["p"]), node("DequantizeLinear", ["p", "t_s", "t_z"], ["q"]),
            node("DequantizeLinear", ["c", "s_s", "s_z"], ["e"]), node("Mul", ["q", "e"][::order], ["r"])])
    model = one_node(tmp_path, nodes, weights, (3, 6, 5))
    assert {one.kind for one in model.network.nodes} == {"lookup"} and all(one.exact for one in model.findings)


@pytest.mark.parametrize("attributes", [
    {"strides": [2, 2]}, {"strides": [2, 1], "pads": [1, 0, 0, 1]}, {"strides": [2, 2], "output_padding": [1, 1]},
    {"group": 2, "strides": [1, 2]}, {"dilations": [2, 1], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"strides": [3, 2], "auto_pad": "SAME_UPPER"}, {"strides": [1, 1]}])
@pytest.mark.parametrize("then", [False, True], ids=["alone", "more"])
def test_transposed_convolutions(tmp_path, attributes, then):
    """A scale for each filter, a bias, and behind it a batch norm, a ReLU and a move."""
    rng = np.random.default_rng(0)
    filters = 4 if then else 6
    share = filters // attributes.get("group", 1)
    weights = scalars(np.uint8, x=(0.03, 110), y=(0.05, 90)) | {
        "w": rng.integers(-127, 128, (4, share, 3, 2)).astype(np.int8),
        "w_s": np.tile(rng.uniform(0.002, 0.01, share), 1).astype(np.float32), "w_z": np.zeros(share, np.int8),
        "b": rng.normal(0, 0.3, filters).astype(np.float32)}
    weights |= {f"n_{end}": rng.uniform(0.5, 1.5, filters).astype(np.float32) for end in "gbmv"}
    nodes = [node("DequantizeLinear", ["w", "w_s", "w_z"], ["v"], axis=1),
             node("ConvTranspose", ["d", "v", "b"], ["t" if then else "r"], kernel_shape=[3, 2], **attributes)]
    if then:
        nodes += [node("BatchNormalization", ["t", *(f"n_{end}" for end in "gbmv")], ["n"]), node("Relu", ["n"], ["u"]),
                  node("DepthToSpace", ["u"], ["r"], blocksize=2)]
    model = one_node(tmp_path, rounded(nodes), weights, (4, 5, 4), domains=())
    codes = rng.integers(0, 256, (1, 4, 5, 4))
    got = command_model.run(compile(model.network, CONFIG, keep="all"), CONFIG, codes[0])
    assert np.array_equal(got[model.network.output], model.network.codes(codes)[model.network.output][0])


@pytest.mark.parametrize("scale, share", [(2.0 ** -6, 1 / 16), (0.007874016, 3 / 16)])
def test_sums_between_two_codes(tmp_path, scale, share):
    """An average of four in steps of an eighth: one in 16 sums is a half that goes to the even code below; with a scale
    that is no power of two, the source's 32-bit numbers may round each half to either side, and that is said."""
    nodes = rounded([node("AveragePool", ["d"], ["r"], kernel_shape=[2, 2], strides=[2, 2])])
    path = save(tmp_path / "m.onnx", nodes, scalars(np.uint8, x=(scale, 0), y=(2 * scale, 0)), (2, 4, 4),
                dtype=TensorProto.UINT8, made_dtype=TensorProto.UINT8)
    assert load(path).findings[-1].share == pytest.approx(share, rel=0.05)


# -- refusals --------------------------------------------------------------------------------------------------------
def refused(tmp_path, nodes, weights, words, shape=(3, 4, 4), **other):
    with pytest.raises(AlloyError, match=words):
        load(save(tmp_path / "m.onnx", nodes, weights, shape, **other))


BASE = scalars(np.uint8, x=(0.03, 110), y=(0.025, 90))
ANOTHER = [node("MaxPool", ["d"], ["p"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]), node("Sigmoid", ["p"], ["o"])]


@pytest.mark.parametrize("nodes, extra, words", [
    ([node("LRN", ["d"], ["r"], size=3)], {}, "is LRN, which is not supported in a quantized network"),
    ([node("Conv", ["d", "w"], ["r"])], {"w": np.ones((2, 3, 1, 1), np.float32)}, "has float weights: quantize them"),
    ([node("Sigmoid", ["d"], ["s"]), node("Add", ["d", "s"], ["r"])], {}, "reads a tensor that nothing has quantized"),
    ([node("Concat", ["d", "d"], ["r"], axis=2)], {}, "joins tensors along dimension 2"),
    ([node("Flatten", ["d"], ["f"]), node("Concat", ["f", "f"], ["r"], axis=1)], {}, "of several sizes or vectors"),
    ([node("Sum", ["d", "d", "d"], ["r"])], {}, "adds 3 tensors"),
    ([node("MaxPool", ["d"], ["p"], kernel_shape=[4, 4]), node("Add", ["d", "p"], ["r"])], {},
     "adds tensors of 3x4x4 and 3x1x1"),
    ([node("MaxPool", ["d"], ["p"], kernel_shape=[4, 4]), node("Add", ["p", "d"], ["r"])], {},
     "adds tensors of 3x1x1 and 3x4x4"),
    ([node("Sub", ["d", "d"], ["r"])], {}, "subtracts two tensors"),
    ([node("Div", ["d", "d"], ["r"])], {}, "divides by a tensor"),
    ([node("DequantizeLinear", ["c", "x_s", "x_z"], ["e"]), node("Mul", ["e", "e"], ["f"]),
      node("Add", ["d", "f"], ["r"])], {"c": np.uint8(3)}, "computes with quantized weights"),
    ([*ANOTHER, node("Mul", ["d", "o"], ["r"])], {}, "multiplies two tensors value by value"),
    ([*ANOTHER, node("Mul", ["o", "d"], ["r"])], {}, "multiplies two tensors value by value"),
    ([node("Mul", ["d", "c"], ["r"])], {"c": np.ones((4, 1), np.float32)}, r"constant of shape \(4, 1\)"),
    ([node("Reshape", ["d", "c"], ["r"])], {"c": np.array([0, 12, 4])}, "makes 12x4 of 3x4x4: only flattening"),
    ([node("ReduceMean", ["d"], ["r"], axes=[0, 2])], {}, r"reduces the dimensions \[0, 2\]: only channels"),
    ([node("ReduceMean", ["d"], ["r"], axes=[3], keepdims=0)], {}, r"dimensions \[3\] and leaves them out"),
    ([node("Flatten", ["d"], ["f"]), node("GlobalAveragePool", ["f"], ["r"])], {}, "averages over vectors"),
    ([node("AveragePool", ["d"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]), node("Add", ["a", "d"], ["r"])], {},
     "averages over fewer values at the border, and is followed by a sum"),
    ([node("AveragePool", ["d"], ["r"], kernel_shape=[2, 2], pads=[2, 2, 2, 2])], {}, "nothing but padding: pad less"),
    ([node("PRelu", ["d", "c"], ["r"])], {"c": np.ones((3, 1, 1), np.float32)}, "has several slopes"),
    ([node("Softmax", ["d"], ["s"]), node("Relu", ["s"], ["r"])], {}, "comes behind .*Softmax.*, which is left out"),
    ([node("Gemm", ["d", "w"], ["r"])], {"w": np.ones((3, 3), np.float32)}, "float weights"),
    ([node("Transpose", ["d"], ["r"], perm=[1, 0, 2, 3])], {}, "only what moves values within"),
    ([node("Pad", ["d", "c", "o"], ["r"])], {"c": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "o": np.float32(0.5)},
     "and pads with 0, is supported"),
    ([node("Transpose", ["d"], ["r"], perm=[0, 3, 2, 1])], {}, "moves codes between pixels in a way that no layer"),
])
def test_refusals(tmp_path, nodes, extra, words):
    refused(tmp_path, rounded(nodes), BASE | extra, words, dtype=TensorProto.UINT8, made_dtype=TensorProto.UINT8)


def test_other_scales_than_the_codes_were_made_with(tmp_path):
    nodes = [node("QuantizeLinear", ["x", "x_s", "x_z"], ["q"]), node("DequantizeLinear", ["q", "y_s", "y_z"])]
    refused(tmp_path, nodes, BASE, "reads codes with the scale 0.025 and zero point 90, but they were made with 0.03")


@pytest.mark.parametrize("zero, words", [
    (np.uint16(3), "makes codes from 0 to 65535: at most 8 bits"), (np.array([1, 2, 3], np.uint8), "3 zero points")])
def test_codes_that_the_engine_does_not_have(tmp_path, zero, words):
    refused(tmp_path, [node("QuantizeLinear", ["x", "s", "z"])], {"s": np.float32(1), "z": zero}, words, opset=21)


def test_scales_for_blocks(tmp_path):
    nodes = [node("DequantizeLinear", ["w", "s"], ["v"], axis=1, block_size=2), node("Conv", ["d", "v"], ["r"])]
    weights = {"w": np.ones((2, 4, 1, 1), np.int8), "s": np.ones((2, 2, 1, 1), np.float32)}
    refused(tmp_path, rounded(nodes), BASE | weights,
            "scales for blocks of weights", opset=21, dtype=TensorProto.UINT8)


def test_an_output_that_is_not_quantized(tmp_path):
    """Gets codes of its own, of all that it can be."""
    weights = BASE | {"w": np.array([[3, -5], [7, 1], [0, 2]], np.int8), "s": np.float32(0.1)}
    nodes = [node("QuantizeLinear", ["x", "x_s", "x_z"], ["q"]), node("DequantizeLinear", ["q", "x_s", "x_z"], ["d"]),
             node("DequantizeLinear", ["w", "s"], ["v"]), node("GlobalAveragePool", ["d"], ["p"]),
             node("QuantizeLinear", ["p", "x_s", "x_z"], ["e"]), node("DequantizeLinear", ["e", "x_s", "x_z"], ["g"]),
             node("Flatten", ["g"], ["h"]), node("MatMul", ["h", "v"])]
    path = save(tmp_path / "m.onnx", nodes, weights, (3, 4, 4))
    images = np.random.default_rng(0).normal(size=(9, 3, 4, 4)).astype(np.float32)
    model, expected = load(path), run(path, images)
    got = model.network.logits(input_codes(model.network, images)).reshape(expected.shape)
    assert np.abs(got - expected).max() < 0.03
    assert "the output is not quantized in the file" in model.findings[-2].text
