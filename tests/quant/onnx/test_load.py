"""ONNX files of PyTorch's exporters are the networks that were exported: layers, names, integer networks."""

from dataclasses import replace
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper
import pytest
import torch

from quant import quantize, trace
from quant.onnx import load
from spec.errors import AlloyError

from .graphs import check_same, node, run, save
from .nets import NETS, made

SHAPE = (3, 32, 32)


def export(net, path, way):
    """The path of the ONNX file that an exporter of PyTorch writes: "torchscript", "unfolded", "dynamo" or "plain",
    which is that without its optimizer."""
    images = torch.zeros(2, *SHAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if way in ("dynamo", "plain"):
            torch.onnx.export(net, (images,), str(path), dynamo=True, verbose=False, external_data=False,
                              optimize=way == "dynamo")
        else:
            more = {} if way == "torchscript" else {
                "do_constant_folding": False, "training": torch.onnx.TrainingMode.PRESERVE}
            torch.onnx.export(net, (images,), str(path), dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}},
                              **more)
    return path


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (8, *SHAPE), np.uint8)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("way", ["torchscript", "unfolded", *(
    pytest.param(way, marks=pytest.mark.slow) for way in ("dynamo", "plain"))])
def test_layers(tmp_path, name, way):
    """The layers of the float graph, their names, weights and sources are those of the model itself, bit for bit but
    where the older exporter folds batch norms with PyTorch's root."""
    net = made(name)
    model = load(export(net, tmp_path / "net.onnx", way))
    assert model.shape == SHAPE and model.name == "net"
    one, two = trace(net, SHAPE, logits=True), trace(model.module, model.shape, logits=True)
    assert [type(layer) for layer in one.layers] == [type(layer) for layer in two.layers]
    assert [layer.name for layer in one.weighted] == [layer.name for layer in two.weighted]
    for first, second in zip(one.weighted, two.weighted, strict=True):
        assert first.residual == second.residual and first.stride == second.stride and first.padding == second.padding
        rtol, atol = (1e-6, 1e-6) if way == "torchscript" else (0, 0)
        torch.testing.assert_close(first.weight, second.weight, rtol=rtol, atol=atol)
        torch.testing.assert_close(first.bias, second.bias, rtol=rtol, atol=atol)


def test_constants_take_no_names(tmp_path):
    """Exporters compute shapes and bounds within the scope of a layer, of its weights and of the image's type."""
    nodes = [node("Shape", ["conv1.weight"], ["s"]), node("Gather", ["s", "first"], ["f"]),
             node("Expand", ["zero", "f"], ["bias"]), node("Conv", ["x", "conv1.weight", "bias"], ["c"]),
             node("CastLike", ["top", "c"], ["high"]), node("Clip", ["c", "", "high"])]
    weights = {"conv1.weight": np.ones((5, 3, 1, 1), np.float32), "zero": np.float32([0.5]), "first": np.array([0]),
               "top": np.float64(6)}
    path = save(tmp_path / "m.onnx", nodes, weights, (3, 4, 4))
    model, images = load(path).module, torch.randn(2, 3, 4, 4)
    assert [layer.name for layer in trace(model, (3, 4, 4)).weighted] == ["conv1"]
    np.testing.assert_allclose(model(images).numpy(), run(path, images.numpy()), rtol=1e-5)


@pytest.mark.parametrize("name", ["resnet", pytest.param("mobilenet", marks=pytest.mark.slow)])
def test_same_network(tmp_path, name, images):
    """What is exported as it is gives the very same integer network."""
    net = made(name)
    model = load(export(net, tmp_path / "net.onnx", "unfolded"))
    one, two = (quantize(module, images, report=None, recipe="fixed4", name="net") for module in (net, model.module))
    assert [node.name for node in one.nodes if node.kind == "conv"] == [
        node.name for node in two.nodes if node.kind == "conv"]
    check_same(one, two)
    assert np.array_equal(one.run(images), two.run(images))
    changed = replace(two, nodes=[*two.nodes[:-1], replace(two.nodes[-1], bias=two.nodes[-1].bias + 1)])
    with pytest.raises(AssertionError):
        check_same(one, changed)


@pytest.mark.slow
def test_folded_batch_norms_change_little(tmp_path, images):
    """Exporters fold batch norms: the answers stay, within a few codes."""
    net = made("resnet")
    model = load(export(net, tmp_path / "net.onnx", "torchscript"))
    one, two = (quantize(module, images, report=None, recipe="fixed8", name="net") for module in (net, model.module))
    step = one.tensors[one.output].scale
    assert np.abs(one.logits(images) - two.logits(images)).max() <= 3 * step


def test_messages_name_the_node(tmp_path):
    weights = {"body.0.weight": np.ones((4, 3, 3, 3), np.float32), "bad.weight": np.ones((4, 3, 3, 3), np.float32)}
    nodes = [node("Conv", ["x", "body.0.weight"], ["a"], name="Conv_0"),
             node("Resize", ["a", "", "k"], ["b"], name="Up_7", mode="linear"),
             node("Conv", ["b", "bad.weight"], group=1)]
    weights["k"] = np.float32([1, 1, 2, 2])
    cubic = node("Resize", ["a", "", "k"], ["b"], name="Up_7", mode="cubic")
    path = save(tmp_path / "m.onnx", [nodes[0], cubic], weights, (3, 8, 8), output="b")
    with pytest.raises(AlloyError, match=r"layer Up_7 \(Resize node 1 Up_7\) resizes with the mode cubic"):
        trace(load(path).module, (3, 8, 8))
    path = save(tmp_path / "m.onnx", nodes, weights, (3, 8, 8))
    with pytest.raises(AlloyError, match=r"layer bad \(Conv node 2\) cannot be computed for inputs of 2x4x12x12, 4x3"):
        load(path)


def relu(tmp_path, shape=(3, 8, 8), **other):
    return save(tmp_path / "m.onnx", [node("Relu", ["x"])], {}, shape, **other)


def test_sizes(tmp_path):
    """Open sizes are asked for; others are the file's own."""
    path = relu(tmp_path, (3, "h", "w"))
    with pytest.raises(AlloyError, match="reads images nx3xhxw, whose rows and columns are open: .* --size"):
        load(path)
    assert load(path, (6, 4)).shape == (3, 6, 4)
    with pytest.raises(AlloyError, match="nx3x8x8, and the size 6x4 was asked for"):
        load(relu(tmp_path), (6, 4))
    assert load(relu(tmp_path), (8, 8)).shape == (3, 8, 8)
    with pytest.raises(AlloyError, match="nx0x6x4|of a size that exists"):
        load(relu(tmp_path, (0, 6, 4)))
    with pytest.raises(AlloyError, match="65536x4096x4096: export it for images of a size that exists"):
        load(relu(tmp_path, (1 << 16, 4096, 4096)))
    with pytest.raises(AlloyError, match="whose channels are open"):
        load(relu(tmp_path, ("c", 6, 4)))
    with pytest.raises(AlloyError, match="of 3 dimensions"):
        load(relu(tmp_path, (6, 4)))


def test_inputs_and_outputs(tmp_path):
    nodes = [node("Relu", ["x"], ["a"]), node("Neg", ["x"], ["b"])]
    with pytest.raises(AlloyError, match=r"has 2 outputs \(a, b\): export a model that returns one"):
        load(save(tmp_path / "m.onnx", nodes, {}, (3, 4, 4), output=["a", "b"]))
    with pytest.raises(AlloyError, match=r"has 0 outputs"):
        load(save(tmp_path / "m.onnx", nodes, {}, (3, 4, 4), output=[]))
    with pytest.raises(AlloyError, match=r"has 2 inputs \(x, z\)"):
        load(save(tmp_path / "m.onnx", [node("Add", ["x", "z"])], {}, (3, 4, 4), inputs=("x", "z")))
    with pytest.raises(AlloyError, match="does not depend on the image"):
        load(save(tmp_path / "m.onnx", [node("Relu", ["c"])], {"c": np.float32([1])}, (3, 4, 4)))


def test_operators_that_are_not_known(tmp_path):
    with pytest.raises(AlloyError, match=r"layer LRN_0 \(LRN node 0\) is LRN, which is not supported"):
        load(save(tmp_path / "m.onnx", [node("LRN", ["x"], size=3)], {}, (3, 4, 4)))
    with pytest.raises(AlloyError, match="is my.domain.Thing, which is not supported"):
        load(save(tmp_path / "m.onnx", [node("Thing", ["x"], domain="my.domain")], {}, (3, 4, 4),
                  domains=("my.domain",)))


def test_control_flow(tmp_path):
    branch = helper.make_graph([node("Relu", ["x"], ["z"])], "branch", [],
                               [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3, 4, 4])])
    made_if = node("If", ["c"], then_branch=branch, else_branch=branch)
    with pytest.raises(AlloyError, match=r"layer If_0 \(If node 0\) is control flow"):
        load(save(tmp_path / "m.onnx", [made_if], {"c": np.array(True)}, (3, 4, 4)))


def test_local_functions(tmp_path):
    """Functions that a file defines are written out."""
    body = helper.make_function("own", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])],
                                [helper.make_opsetid("", 17)])
    path = save(tmp_path / "m.onnx", [node("Twice", ["x"], domain="own")], {}, (3, 4, 4), domains=("own",))
    model = onnx.load(path)
    model.functions.append(body)
    onnx.save(model, path)
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(load(path).module(images), 2 * images)


def test_half_precision(tmp_path):
    """16-bit weights are computed with as 32-bit ones."""
    weights = {"w": np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float16)}
    path = save(tmp_path / "m.onnx", [node("Conv", ["x", "w"])], weights, (3, 4, 4), dtype=TensorProto.FLOAT16)
    graph = trace(load(path).module, (3, 4, 4))
    assert graph.layers[0].weight.dtype == torch.float32


def test_constants_that_are_too_large(tmp_path):
    for nodes, weights in (
            ([node("ConstantOfShape", ["s"], ["c"]), node("Add", ["x", "c"])], {"s": np.array([1 << 20, 1 << 20])}),
            ([node("Expand", ["c", "s"], ["d"]), node("Add", ["x", "d"])],
             {"c": np.float32([1]), "s": np.array([1 << 20, 1 << 20])}),
            ([node("Tile", ["x", "s"])], {"s": np.array([1, 1 << 15, 1 << 15, 1])}),
            ([node("Range", ["z", "e", "o"], ["r"]), node("Gather", ["x", "r"], axis=1)],
             {"z": np.int64(0), "e": np.int64(1 << 40), "o": np.int64(1)})):
        with pytest.raises(AlloyError, match="values"):
            load(save(tmp_path / "m.onnx", nodes, weights, (3, 4, 4)))


def test_channels_last(tmp_path):
    """Other frameworks read images (N, H, W, C) and turn them at once: Alloy's are (N, C, H, W)."""
    weights = {"w": np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)}
    nodes = [node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), node("Conv", ["t", "w"])]
    path = save(tmp_path / "m.onnx", nodes, weights, (6, 5, 3))
    images = np.random.default_rng(1).normal(size=(2, 6, 5, 3)).astype(np.float32)
    model = load(path)
    assert model.shape == (3, 6, 5)
    with torch.no_grad():
        got = model.module(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(got, run(path, images), rtol=1e-4, atol=1e-5)
