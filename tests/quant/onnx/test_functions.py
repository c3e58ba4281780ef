"""Every operator of ONNX computes what onnxruntime computes, for random attributes and sizes, and what the examples of
the ONNX standard say."""

from collections import defaultdict

import numpy as np
import onnx
from onnx import numpy_helper
import pytest
import torch

from quant import trace
from quant.onnx import load
from quant.onnx.given import FUNCTIONS
from quant.onnx.module import build
from spec.errors import AlloyError

from .graphs import node, run, save

ACTIVATIONS = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Celu", "Selu", "Softplus", "Softsign", "HardSwish",
               "HardSigmoid", "ThresholdedRelu", "Identity", "Erf", "Exp", "Abs", "Neg", "Dropout", "Softmax",
               "LogSoftmax")


def same(tmp_path, nodes, weights, shape, *, opset=17, images=None, **other):
    """The module of the file computes what onnxruntime computes."""
    path = save(tmp_path / "m.onnx", nodes, weights, shape, opset=opset, **other)
    if images is None:
        images = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32) * 3
    expected, model = run(path, images), load(path)
    with torch.no_grad():
        got = model.module(torch.from_numpy(images)).numpy()
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    return model


def some(count):
    """Seeds, of which all but the first four are for long runs."""
    return [seed if seed < 4 else pytest.param(seed, marks=pytest.mark.slow) for seed in range(count)]


@pytest.mark.parametrize("op_type", ACTIVATIONS)
def test_activations(tmp_path, op_type):
    same(tmp_path, [node(op_type, ["x"])], {}, (3, 5, 4))


@pytest.mark.parametrize("op_type, attributes", [
    ("LeakyRelu", {"alpha": 0.2}), ("Elu", {"alpha": 0.5}), ("Selu", {"alpha": 1.0, "gamma": 2.0}),
    ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}), ("Softmax", {"axis": 1}), ("LogSoftmax", {"axis": 2})])
@pytest.mark.parametrize("opset", [8, 12, 15])
def test_attributes_of_activations(tmp_path, op_type, attributes, opset):
    same(tmp_path, [node(op_type, ["x"], **attributes)], {}, (4, 3, 3), opset=opset)


@pytest.mark.parametrize("op_type, opset", [("Mish", 18), ("Gelu", 20)])
def test_newer_activations(tmp_path, op_type, opset):
    same(tmp_path, [node(op_type, ["x"])], {}, (4, 3, 3), opset=opset)


@pytest.mark.parametrize("slope", [(1,), (4, 1, 1), (1, 1, 1)])
def test_prelu(tmp_path, slope):
    weight = np.random.default_rng(0).uniform(0, 1, slope).astype(np.float32)
    same(tmp_path, [node("PRelu", ["x", "s"])], {"s": weight}, (4, 3, 3))


@pytest.mark.parametrize("opset, low, high", [(6 + 1, 0.0, 6.0), (11, 0.0, 6.0), (13, -1.0, 1.0), (13, 0.0, None),
                                              (13, None, 2.0), (13, None, None)])
def test_clip(tmp_path, opset, low, high):
    bounds = {key: value for key, value in (("min", low), ("max", high)) if value is not None}
    if opset < 11:
        same(tmp_path, [node("Clip", ["x"], **bounds)], {}, (4, 3, 3), opset=opset)
    else:
        names = ["min" if low is not None else "", "max" if high is not None else ""]
        same(tmp_path, [node("Clip", ["x", *names])], {k: np.float32(v) for k, v in bounds.items()}, (4, 3, 3),
             opset=opset)


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", [(), (3, 1, 1), (1, 3, 1, 1), (4,), (1,)])
@pytest.mark.parametrize("turned", [False, True])
def test_arithmetic_with_constants(tmp_path, op_type, shape, turned):
    constant = np.random.default_rng(0).uniform(0.5, 2, shape).astype(np.float32)
    images = np.random.default_rng(1).uniform(1, 2, (2, 3, 5, 4)).astype(np.float32)
    same(tmp_path, [node(op_type, ["c", "x"] if turned else ["x", "c"])], {"c": constant}, (3, 5, 4), images=images)


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Sum", "Max", "Min"])
def test_arithmetic_of_tensors(tmp_path, op_type):
    nodes = [node("Relu", ["x"], ["a"]), node("Neg", ["x"], ["b"]), node(op_type, ["a", "b"])]
    same(tmp_path, nodes, {}, (3, 5, 4))


def random_window(draw, count):
    """Attributes of a window over a map, by chance."""
    kernel = [int(draw.integers(1, 4)) for _ in range(count)]
    found = {"kernel_shape": kernel, "strides": [int(draw.integers(1, 4)) for _ in range(count)]}
    way = draw.choice(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
    if way == "NOTSET":
        found["pads"] = [int(draw.integers(0, k // 2 + 1)) for k in kernel * 2]
    else:
        found["auto_pad"] = str(way)        # onnxruntime knows no window that skips values then
        found["strides"] = [min(pair) for pair in zip(found["strides"], kernel, strict=True)]
    return found


@pytest.mark.parametrize("seed", some(24))
def test_convolutions(tmp_path, seed):
    draw = np.random.default_rng(seed)
    count, group = int(draw.integers(1, 3)), int(draw.choice([1, 2]))
    found = random_window(draw, count)
    if "auto_pad" not in found or found["auto_pad"] == "VALID":     # onnxruntime takes no other with dilation
        found["dilations"] = [int(draw.integers(1, 3)) for _ in range(count)]
    weight = draw.normal(size=(4, 4 // group, *found["kernel_shape"])).astype(np.float32)
    size = tuple(int(one) for one in draw.integers(6, 10, count))
    weights = {"w": weight, "b": draw.normal(size=4).astype(np.float32)}
    names = ["x", "w", "b"][:2 + seed % 2]
    before = [node("Squeeze", ["x", "axes"], ["s"])] if count == 1 else []
    shape = (4, *size) if count == 2 else (4, size[0], 1)
    if count == 1:
        names[0], weights = "s", weights | {"axes": np.array([3])}
    same(tmp_path, [*before, node("Conv", names, group=group, **found)], weights, shape)


@pytest.mark.parametrize("seed", some(16))
def test_transposed_convolutions(tmp_path, seed):
    draw = np.random.default_rng(seed)
    group, found = int(draw.choice([1, 2])), random_window(draw, 2)
    if seed % 3 == 0:
        found.pop("auto_pad", None)
        found["output_padding"] = [step - 1 for step in found["strides"]]
    if found.get("auto_pad") == "VALID":
        found.pop("auto_pad")
    weight = draw.normal(size=(4, 6 // group, *found["kernel_shape"])).astype(np.float32)
    same(tmp_path, [node("ConvTranspose", ["x", "w"], group=group, **found)], {"w": weight}, (4, 5, 6))


@pytest.mark.parametrize("kernel", [[1, 1], [2, 3], [3, 2]])
@pytest.mark.parametrize("more, attributes", [
    ((0, 0), {}), ((1, 0), {}), ((1, 1), {}), ((-1, -2), {}), ((-3, 1), {}), ((-2, -1), {"auto_pad": "SAME_UPPER"}),
    ((1, -1), {"output_padding": [0, 1]})])
def test_sizes_of_transposed_convolutions(tmp_path, kernel, more, attributes):
    """As asked for: less is cut off, and what is more than the windows reach has the bias alone."""
    draw = np.random.default_rng(0)
    size = [2 * (count - 1) + k + n for count, k, n in zip((5, 6), kernel, more, strict=True)]
    weights = {"w": draw.normal(size=(4, 3, *kernel)).astype(np.float32), "b": np.float32([1, -2, 3])}
    same(tmp_path, [node("ConvTranspose", ["x", "w", "b"], strides=[2, 2], output_shape=size, **attributes)], weights,
         (4, 5, 6))


@pytest.mark.parametrize("way", ["SAME_UPPER", "SAME_LOWER"])
def test_transposed_convolutions_of_fewer_values_than_their_stride(tmp_path, way):
    """By the standard the output is as many times larger as the stride says; onnxruntime's is smaller."""
    weights = {"w": np.ones((1, 1, 1, 2), np.float32), "b": np.float32([5])}
    path = save(tmp_path / "m.onnx", [node("ConvTranspose", ["x", "w", "b"], strides=[2, 3], auto_pad=way)], weights,
                (1, 2, 2))
    found = load(path).module(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    assert (found[0, 0] == torch.tensor([[6, 6, 5, 7, 7, 5], [5] * 6, [8, 8, 5, 9, 9, 5], [5] * 6])).all()


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("seed", some(24))
def test_pools(tmp_path, op_type, seed):
    """Windows that PyTorch has no function for are refused, never computed otherwise."""
    draw = np.random.default_rng(seed)
    found = random_window(draw, 2)
    if seed % 3 == 0:
        found["ceil_mode"] = 1
    if op_type == "AveragePool" and seed % 2:
        found["count_include_pad"] = 1
    size = tuple(int(one) for one in draw.integers(6, 10, 2))
    uneven = "auto_pad" in found or found["pads"][:2] != found["pads"][2:]
    try:
        same(tmp_path, [node(op_type, ["x"], **found)], {}, (3, *size))
    except AlloyError as error:
        assert op_type == "AveragePool" and uneven and "not counted" in str(error)


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool", "Conv", "ConvTranspose"])
def test_windows_of_three_dimensions(tmp_path, op_type):
    weights = {"axes": np.array([2]), "w": np.ones((3, 3, 1, 2, 2), np.float32)}
    names = ["s", "w"] if op_type.startswith("Conv") else ["s"]
    attributes = {} if op_type.startswith("Conv") else {"kernel_shape": [1, 2, 2]}
    nodes = [node("Unsqueeze", ["x", "axes"], ["s"]), node(op_type, names, ["t"], **attributes),
             node("Squeeze", ["t", "axes"])]
    path = save(tmp_path / "m.onnx", nodes, weights, (3, 6, 6))
    with pytest.raises(AlloyError, match=f"{op_type} node 1.* has a window of 3 dimensions over a tensor of 5: use"):
        load(path)


@pytest.mark.parametrize("attributes", [{"auto_pad": "SAME_UPPER"}, {"pads": [0, 0, 1, 1]}])
@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
def test_pool_of_other_frameworks(tmp_path, op_type, attributes):
    """3x3 with stride 2 pads even sizes on one side only: the last windows of PyTorch's ceil_mode."""
    model = same(tmp_path, [node(op_type, ["x"], kernel_shape=[3, 3], strides=[2, 2], **attributes)], {}, (3, 8, 8))
    assert len(model.module.steps) == 1


@pytest.mark.parametrize("op_type, axes, keep", [("ReduceMean", [2, 3], 1), ("ReduceMean", [-1, -2], 0),
                                              ("ReduceMax", [2, 3], 1), ("ReduceSum", [1], 1), ("ReduceMin", [3], 0)])
@pytest.mark.parametrize("opset", [13, 18])
def test_reductions(tmp_path, op_type, axes, keep, opset):
    given = opset == 18 or op_type == "ReduceSum"
    names, weights = (["x", "axes"], {"axes": np.array(axes)}) if given else (["x"], {})
    other = {} if given else {"axes": axes}
    same(tmp_path, [node(op_type, names, keepdims=keep, **other)], weights, (3, 5, 4), opset=opset)


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(tmp_path, op_type):
    same(tmp_path, [node(op_type, ["x"])], {}, (3, 5, 4))


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("bias", [None, (5,), (1, 5), (1,)])
@pytest.mark.parametrize("alpha, beta", [(1.0, 1.0), (0.5, 2.0)])
def test_gemm(tmp_path, turned, bias, alpha, beta):
    draw = np.random.default_rng(0)
    weights = {"w": draw.normal(size=(5, 12) if turned else (12, 5)).astype(np.float32)}
    names = ["f", "w"]
    if bias is not None:
        weights["b"] = draw.normal(size=bias).astype(np.float32)
        names.append("b")
    same(tmp_path, [node("Flatten", ["x"], ["f"]), node("Gemm", names, transB=turned, alpha=alpha, beta=beta)], weights,
         (3, 2, 2))


def test_matmul_and_batch_norm(tmp_path):
    draw = np.random.default_rng(0)
    weights = {"w": draw.normal(size=(3, 5)).astype(np.float32), "b": draw.normal(size=5).astype(np.float32),
               **{name: draw.uniform(0.5, 2, 5).astype(np.float32) for name in ("g", "o", "m", "v")}}
    nodes = [node("GlobalAveragePool", ["x"], ["p"]), node("Flatten", ["p"], ["f"]), node("MatMul", ["f", "w"], ["a"]),
             node("Add", ["a", "b"], ["c"]), node("BatchNormalization", ["c", "g", "o", "m", "v"], epsilon=0.01)]
    same(tmp_path, nodes, weights, (3, 4, 4))


MOVES = {
    "transpose": ([node("Transpose", ["x"], perm=[0, 2, 3, 1])], {}),
    "reshape": ([node("Reshape", ["x", "s"])], {"s": np.array([0, -1, 4, 2])}),
    "flatten": ([node("Flatten", ["x"])], {}),
    "split": ([node("Split", ["x", "s"], ["a", "b"], axis=1), node("Concat", ["b", "a"], axis=1)],
              {"s": np.array([1, 3])}),
    "split evenly": ([node("Split", ["x"], ["a", "b"], axis=1), node("Sub", ["a", "b"])], {}),
    "slice": ([node("Slice", ["x", "s", "e", "a"])], {"s": np.array([1, -3]), "e": np.array([3, 99]),
                                                      "a": np.array([1, 2])}),
    "slice by steps": ([node("Slice", ["x", "s", "e", "a", "t"])],
                       {"s": np.array([0, 5]), "e": np.array([4, -99]), "a": np.array([1, 3]), "t": np.array([2, -2])}),
    "gather": ([node("Gather", ["x", "i"], axis=1)], {"i": np.array([3, -4, 1])}),
    "gather one": ([node("Gather", ["x", "i"], axis=1)], {"i": np.array(2)}),
    "squeeze": ([node("GlobalAveragePool", ["x"], ["p"]), node("Squeeze", ["p", "a"], ["q"]),
                 node("Unsqueeze", ["q", "u"])], {"a": np.array([2, 3]), "u": np.array([1, -1])}),
    "pad": ([node("Pad", ["x", "p", "v"])], {"p": np.array([0, 0, 1, 2, 0, 0, 3, 0]), "v": np.float32(1.5)}),
    "pad channels": ([node("Pad", ["x", "p"])], {"p": np.array([0, 1, 0, 0, 0, 2, 0, 0])}),
    "crop": ([node("Pad", ["x", "p"])], {"p": np.array([0, 0, -1, 0, 0, 0, 0, -2])}),
    "reflect": ([node("Pad", ["x", "p"], mode="reflect")], {"p": np.array([0, 0, 1, 2, 0, 0, 1, 2])}),
    "depth to space": ([node("DepthToSpace", ["x"], blocksize=2)], {}),
    "depth to space, PyTorch": ([node("DepthToSpace", ["x"], blocksize=2, mode="CRD")], {}),
    "space to depth": ([node("SpaceToDepth", ["x"], blocksize=2)], {}),
    "shape": ([node("Shape", ["x"], ["s"]), node("Slice", ["s", "z", "o"], ["n"]),
               node("Concat", ["n", "m"], ["t"], axis=0), node("Reshape", ["x", "t"])],
              {"z": np.array([0]), "o": np.array([1]), "m": np.array([-1])}),
    "expand": ([node("Expand", ["c", "s"], ["e"]), node("Add", ["x", "e"])],
               {"c": np.float32(2), "s": np.array([4, 1, 1])}),
    "tile": ([node("Tile", ["c", "s"], ["e"]), node("Add", ["x", "e"])],
             {"c": np.float32([[[2]], [[1]]]), "s": np.array([2, 1, 1])}),
    "constant of shape": ([node("ConstantOfShape", ["s"], ["e"]), node("Add", ["x", "e"])], {"s": np.array([4, 1, 1])}),
    "range": ([node("Range", ["z", "o", "i"], ["r"]), node("Gather", ["x", "r"], axis=1)],
              {"z": np.int64(3), "o": np.int64(-1), "i": np.int64(-2)}),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves(tmp_path, name):
    nodes, weights = MOVES[name]
    same(tmp_path, nodes, weights, (4, 4, 6))


@pytest.mark.parametrize("name, nodes, said", [
    ("mask", [node("Dropout", ["x"], ["a", "more"])], "returns its mask, which is not supported: export"),
    ("places", [node("MaxPool", ["x"], ["a", "more"], kernel_shape=[1, 1])], "returns the places of its maxima")])
def test_what_else_is_returned(tmp_path, name, nodes, said):
    """Is refused where it is read, and not made up."""
    nodes += [node("Cast", ["more"], ["c"], to=1), node("Add", ["a", "c"])]
    with pytest.raises(AlloyError, match=said):
        load(save(tmp_path / "m.onnx", nodes, {}, (3, 4, 4)))


@pytest.mark.parametrize("batch", [1, 2, "n"])
def test_reshapes_of_a_fixed_batch(tmp_path, batch):
    """A file for one image says 1 where it means the batch."""
    weights = {"s": np.array([-1 if batch == "n" else batch, 48])}
    same(tmp_path, [node("Reshape", ["x", "s"])], weights, (4, 4, 3), batch=batch)


@pytest.mark.parametrize("mode", ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"])
@pytest.mark.parametrize("way", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize("scales", [(2, 2), (3, 1), (0.5, 2), (1.5, 1.5)])
def test_nearest(tmp_path, mode, way, scales):
    weights = {"k": np.float32([1, 1, *scales])}
    made = [node("Resize", ["x", "", "k"], coordinate_transformation_mode=mode, nearest_mode=way)]
    same(tmp_path, made, weights, (2, 4, 6))


@pytest.mark.parametrize("mode", ["half_pixel", "align_corners"])
def test_linear(tmp_path, mode):
    made = [node("Resize", ["x", "", "", "s"], mode="linear", coordinate_transformation_mode=mode)]
    path = save(tmp_path / "m.onnx", made, {"s": np.array([1, 2, 8, 12])}, (2, 4, 6), batch=1)
    images = np.random.default_rng(0).normal(size=(3, 2, 4, 6)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(load(path).module(torch.from_numpy(images)).numpy(), run(path, images), atol=1e-5)


def test_upsample(tmp_path):
    same(tmp_path, [node("Upsample", ["x", "k"])], {"k": np.float32([1, 1, 2, 3])}, (2, 4, 6), opset=9)


STANDARD = sorted(set(FUNCTIONS) - {"CastLike", "Range", "Where", "Not", "And", "Or", "ReduceProd"})


@pytest.fixture(scope="module")
def examples():
    """{operator: (name, model, inputs, outputs) of the standard's examples of it}."""
    from onnx.backend.test.case.node import collect_testcases
    found = defaultdict(list)
    real = {np.dtype(np.float32), np.dtype(np.int64), np.dtype(bool)}
    for case in collect_testcases(None):
        inputs, outputs = case.data_sets[0]
        if len(case.model.graph.node) == 1 and inputs and all(
                isinstance(value, np.ndarray) and value.dtype in real for value in (*inputs, *outputs)):
            found[case.model.graph.node[0].op_type].append((case.name, case.model, inputs, outputs))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("op_type", STANDARD)
def test_examples_of_the_standard(examples, op_type):
    """All examples are met or refused; what the first input is stands for the image, the others for weights."""
    met = 0
    for name, case, inputs, outputs in examples[op_type]:
        model = onnx.ModelProto()
        model.CopyFrom(case)
        model.graph.initializer.extend(numpy_helper.from_array(value, one.name) for value, one in
                                       list(zip(inputs, model.graph.input, strict=True))[1:])
        image = torch.from_numpy(inputs[0])
        try:
            module = build(model, tuple(image.shape), None)
        except AlloyError:
            continue
        if module.refused:
            continue
        got = module(image)
        assert got.shape == outputs[0].shape, name
        np.testing.assert_allclose(got.numpy(), outputs[0], rtol=1e-3, atol=1e-5, err_msg=name)
        met += 1
    assert met or op_type in ("Cast", "ConstantOfShape", "Equal", "Pad", "PRelu")      # of other types and shapes


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("places", [np.arange(60)[None], np.arange(59, -1, -2)[None], np.arange(60).reshape(1, 5, 12)])
def test_values_of_one_image_in_a_row(tmp_path, places, literal):
    """PyTorch's word for a view whose strides are not those of its shape; the file is for one image."""
    nodes, weights = [node("Reshape", ["x", "row"], ["r"]), node("Gather", ["r", "places"], axis=0)], {
        "row": np.array([-1]), "places": places}
    if literal:
        nodes = [onnx.helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
                 for name, value in weights.items()] + nodes
    same(tmp_path, nodes, {} if literal else weights, (3, 4, 5), batch=1)


def test_places_in_a_row_that_two_dimensions_hold(tmp_path):
    """A whole network behind it, as the exporter of PyTorch writes CIFAR ResNets."""
    rng = np.random.default_rng(0)
    weights = {"c": rng.normal(size=(6, 3, 3, 3)).astype(np.float32), "axes": np.array([-1, -2]),
               "row": np.array([-1]), "places": np.arange(6)[None], "flat": np.array([1, 6]),
               "w": rng.normal(size=(4, 6)).astype(np.float32)}
    model = same(tmp_path, [
        node("Conv", ["x", "c"], ["a"]), node("ReduceMean", ["a", "axes"], ["m"], keepdims=1),
        node("Reshape", ["m", "row"], ["r"]), node("Gather", ["r", "places"], ["g"]),
        node("Reshape", ["g", "flat"], ["f"]), node("Gemm", ["f", "w"], transB=1)], weights, (3, 6, 6), batch=1,
        opset=18)
    assert len(trace(model.module, (3, 6, 6)).layers) == 3
