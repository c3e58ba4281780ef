"""Networks of Brevitas, exported as QONNX and as QCDQ: codes are those that Brevitas and QONNX compute."""

from importlib.resources import files
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
import pytest
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
import torch

from quant.grids.together import file_codes, together
from quant.onnx import load
from spec.errors import AlloyError

from .graphs import node, save
from .test_quantized import input_codes

DOMAIN = "qonnx.custom_op.general"


@pytest.fixture(scope="module")
def brevitas():
    """The module with networks of Brevitas, whose import takes seconds and warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from . import brevitas_nets
    return brevitas_nets


def written(net, path, form):
    """The path of the exported network."""
    from brevitas.export import export_onnx_qcdq, export_qonnx
    export = export_qonnx if form == "qonnx" else export_onnx_qcdq
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(net, args=torch.zeros(1, 3, 16, 16), export_path=str(path), opset_version=17, dynamo=False)
    return str(path)


@pytest.mark.parametrize("form", ["qonnx", "qcdq"])
@pytest.mark.parametrize("weights, acts, fine", [
    (4, 4, False), (8, 8, True), pytest.param(2, 3, False, marks=pytest.mark.slow),
    pytest.param(3, 2, True, marks=pytest.mark.slow), pytest.param(8, 5, False, marks=pytest.mark.slow),
    pytest.param(6, 7, True, marks=pytest.mark.slow)])
def test_networks(tmp_path, brevitas, form, weights, acts, fine):
    net = brevitas.trained(weights=weights, acts=acts, fine=fine)
    model = load(written(net, tmp_path / "m.onnx", form))
    network = model.network
    assert [one.name for one in network.nodes] == ["conv1", "conv2", "pool", "fc"]
    assert [network.tensors[name].bits for name in ("conv1", "conv2")] == [acts, acts]
    assert all(int(one.scheme.max()) <= max(weights, 2) + (weights == 8) for one in network.nodes
               if one.kind == "conv")
    assert all(found.share < 0.01 and found.most <= 1 for found in model.findings)
    images = np.random.default_rng(5).normal(size=(32, 3, 16, 16)).astype(np.float32)
    with torch.no_grad():
        truth = net(torch.from_numpy(images))
    truth = getattr(truth, "value", truth).numpy()
    off = np.abs(network.logits(input_codes(network, images)).reshape(truth.shape) - truth)
    off = np.round(off / network.tensors[network.output].scale)
    assert off.max() <= 2 and (off > 0).mean() < 0.05


def quant_file(path, nodes, weights, shape=(3, 4, 4)):
    """A file of QONNX with a batch of 1."""
    name = save(path, nodes, weights, shape, batch=1, domains=(DOMAIN,))
    model = onnx.load(name)
    model.graph.output[0].type.tensor_type.shape.SetInParent()
    onnx.save(model, name)
    return name


def quant(source, out, prefix="a", **given):
    return node("Quant", [source, f"{prefix}_s", f"{prefix}_z", f"{prefix}_b"], [out], domain=DOMAIN,
                **{"signed": 1, "narrow": 0, "rounding_mode": "ROUND", **given})


def settings(prefix, scale, zero, bits):
    return {f"{prefix}_s": np.float32(scale), f"{prefix}_z": np.float32(zero), f"{prefix}_b": np.float32(bits)}


@pytest.mark.parametrize("mode", ["ROUND", "CEIL", "FLOOR", "HALF_UP", "HALF_DOWN", "DOWN", "UP"])
@pytest.mark.parametrize("signed, narrow, zero, bits", [(1, 0, 0, 4), (1, 1, 0, 3), (0, 0, 0, 5), (0, 1, 3, 4),
                                                        (1, 0, -2, 8), (0, 0, 0, 1)])
def test_every_rounding(tmp_path, mode, signed, narrow, zero, bits):
    """Scales that are powers of two: what QONNX computes, up to what the finding says."""
    rng = np.random.default_rng(bits)
    weights = settings("i", 2.0 ** -4, 0, 8) | settings("w", 2.0 ** -3, 0, 4) | settings("a", 2.0 ** -3, zero, bits)
    weights["w"] = rng.normal(0, 0.4, (5, 3, 2, 2)).astype(np.float32)
    nodes = [quant("x", "i", "i"), quant("w", "v", "w", narrow=1), node("Conv", ["i", "v"], ["c"], kernel_shape=[2, 2]),
             quant("c", "y", "a", signed=signed, narrow=narrow, rounding_mode=mode)]
    path = quant_file(tmp_path / "m.onnx", nodes, weights)
    model, wrapped = load(path), ModelWrapper(path).transform(InferShapes())
    images = (rng.integers(-128, 128, (12, 3, 4, 4)) / 16).astype(np.float32)
    expected = np.concatenate([next(iter(execute_onnx(wrapped, {"x": one[None]}).values())) for one in images])
    off = np.round(np.abs(model.network.logits(input_codes(model.network, images)).reshape(expected.shape) - expected)
                   * 8)
    found = model.findings[-1]
    assert off.max() <= found.most and (found.share > 0 or not off.any())
    assert (off > 0).mean() <= 4 * found.share + 0.02
    assert found.exact or mode in ("ROUND", "DOWN", "UP", "HALF_UP", "HALF_DOWN")


def test_float_images(tmp_path):
    """An input that nothing quantizes is taken for pixels, and that is said."""
    weights = settings("w", 0.01, 0, 4) | settings("a", 0.02, 0, 8)
    weights["w"] = np.random.default_rng(0).normal(0, 0.03, (5, 3, 2, 2)).astype(np.float32)
    nodes = [quant("w", "v", "w"), node("Conv", ["x", "v"], ["c"], kernel_shape=[2, 2]), quant("c", "y")]
    model = load(quant_file(tmp_path / "m.onnx", nodes, weights))
    assert model.findings[0].text == "the input is not quantized in the file: it is taken for pixels / 255"
    tensor = model.network.tensors["input"]
    assert (tensor.zero, tensor.bits, tensor.scale) == (0, 8, 1 / 255)


@pytest.mark.parametrize("op_type, words", [
    ("BipolarQuant", "makes codes -1 and 1"), ("Trunc", "cuts bits off a sum"), ("FloatQuant", "floating-point codes"),
    ("MultiThreshold", "before FINN's conversion")])
def test_other_roundings_are_refused(tmp_path, op_type, words):
    path = quant_file(tmp_path / "m.onnx", [node(op_type, ["x", "s"], domain=DOMAIN)], {"s": np.float32(1)})
    with pytest.raises(AlloyError, match=rf"layer {op_type}_0 \({op_type} node 0\) .*{words}"):
        load(path)


@pytest.mark.parametrize("given, other, words", [
    ((0.1, 0, 9), {}, "makes codes from -256 to 255: at most 8 bits"),
    ((0.1, 0, 1), {}, "signed codes of 1 bit"), ((0.1, 0.5, 4), {}, "zero point 0.5, no whole number"),
    ((0.1, 99, 4), {}, "zero point 99 outside its codes -8 to 7"), ((0.0, 0, 4), {}, "has the scale 0"),
    ((0.1, 0, 2.5), {}, "to 2.5 bits"), ((0.1, 0, 4), {"rounding_mode": "DICE"}, "rounds DICE")])
def test_quant_refusals(tmp_path, given, other, words):
    path = quant_file(tmp_path / "m.onnx", [quant("x", "y", **other)], settings("a", *given))
    with pytest.raises(AlloyError, match=words):
        load(path)


def test_scales_of_channels_are_for_weights(tmp_path):
    weights = settings("a", 0.1, 0, 4) | {"a_s": np.ones((1, 3, 1, 1), np.float32)}
    with pytest.raises(AlloyError, match="has 3 values in its input 1: activations have one scale"):
        load(quant_file(tmp_path / "m.onnx", [quant("x", "y")], weights))


def test_wide_weights(tmp_path):
    weights = settings("w", 0.01, 0, 12) | settings("a", 0.02, 0, 8)
    weights["w"] = np.full((5, 3, 1, 1), 9, np.float32)
    nodes = [quant("x", "i"), quant("w", "v", "w"), node("Conv", ["i", "v"], ["c"]), quant("c", "y")]
    with pytest.raises(AlloyError, match="has weights of up to 900 times their scale"):
        load(quant_file(tmp_path / "m.onnx", nodes, weights))


def test_two_sums(tmp_path):
    """What would need two accumulators."""
    weights = settings("w", 0.01, 0, 4) | settings("a", 0.02, 0, 8) | {"w": np.ones((3, 3, 1, 1), np.float32)}
    nodes = [quant("x", "i"), quant("w", "v", "w"), node("Conv", ["i", "v"], ["c"]), node("Conv", ["i", "v"], ["d"]),
             node("Add", ["c", "d"], ["e"]), quant("e", "y")]
    with pytest.raises(AlloyError, match="adds two sums that nothing has quantized"):
        load(quant_file(tmp_path / "m.onnx", nodes, weights))


def test_a_sum_and_a_tensor(tmp_path):
    """An addition before the rounding is the residual of the convolution."""
    rng = np.random.default_rng(0)
    weights = settings("w", 0.5, 0, 4) | settings("a", 0.25, 0, 8) | settings("o", 0.5, 0, 8)
    weights["w"] = rng.normal(0, 2, (3, 3, 1, 1)).astype(np.float32)
    nodes = [quant("x", "i"), quant("w", "v", "w"), node("Conv", ["i", "v"], ["c"]), node("Add", ["i", "c"], ["e"]),
             node("Relu", ["e"], ["r"]), quant("r", "y", "o")]
    path = quant_file(tmp_path / "m.onnx", nodes, weights)
    model, wrapped = load(path), ModelWrapper(path).transform(InferShapes())
    images = (rng.integers(-128, 128, (6, 3, 4, 4)) / 4).astype(np.float32)
    expected = np.concatenate([next(iter(execute_onnx(wrapped, {"x": one[None]}).values())) for one in images])
    got = model.network.logits(input_codes(model.network, images)).reshape(expected.shape)
    assert [one.residual for one in model.network.nodes] == ["input"]
    assert np.abs(got - expected).max() <= 0.5 and (got != expected).mean() <= 4 * model.findings[-1].share + 0.02


def test_proto_constants(tmp_path):
    """Scales as nodes of constants, as the exporters of PyTorch write them."""
    weights = settings("a", 0.1, 0, 4)
    constants = [helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value)))
                 for name, value in weights.items()]
    path = save(tmp_path / "m.onnx", [*constants, quant("x", "q"), node("Relu", ["q"], ["r"]), quant("r", "y")], {},
                (3, 4, 4), domains=(DOMAIN,), dtype=TensorProto.FLOAT)
    assert load(path).network.tensors["input"].bits == 4


def executed(path, images):
    """What qonnx's executor makes of real images."""
    wrapped = ModelWrapper(str(path)).transform(InferShapes())
    name = wrapped.graph.input[0].name
    return np.concatenate([next(iter(execute_onnx(wrapped, {name: one[None]}).values())) for one in images])


def beside(path, images):
    """(model, differences in codes of the network, of the file's own arithmetic) from qonnx's executor."""
    model, expected = load(path), executed(path, images)
    network = model.network
    codes, out = input_codes(network, images), network.tensors[network.output]
    right = np.round(expected / out.scale) + out.zero
    found = [network.codes(codes)[out.name], file_codes(network, model.findings, codes)[out.name]]
    return model, *(np.abs(one.reshape(right.shape) - right).astype(int) for one in found)


def test_differences_spread(tmp_path):
    """A code of 4 bits that the engine rounds otherwise reaches many of 8 bits: not the single layers, but what is said
    of all together is how far the output may be off."""
    rng = np.random.default_rng(3)
    weights = settings("i", 1 / 255, 0, 8) | settings("a", 0.1137421, 0, 4) | settings("o", 0.0041931, 0, 8)
    for at, shape in enumerate(((32, 3, 5, 5), (32, 32, 3, 3), (4, 32, 3, 3)), 1):
        scale = rng.uniform(0.001, 0.02, (shape[0], 1, 1, 1)).astype(np.float32)
        weights |= settings(f"w{at}", scale, 0, 4) | {f"w{at}": rng.normal(0, 3.5, shape).astype(np.float32) * scale}
    nodes = [quant("x", "i", "i", signed=0)]
    for index, (scale, source) in enumerate((("a", "i"), ("a", "y1"), ("o", "y2")), 1):
        pads = [2 if index == 1 else 1] * 4
        nodes += [quant(f"w{index}", f"v{index}", f"w{index}", narrow=1),
                  node("Conv", [source, f"v{index}"], [f"c{index}"], pads=pads),
                  node("Relu", [f"c{index}"], [f"r{index}"]),
                  quant(f"r{index}", f"y{index}" if index < 3 else "y", scale, signed=0)]
    path = quant_file(tmp_path / "m.onnx", nodes, weights, (3, 32, 32))
    images = (rng.integers(0, 256, (4, 3, 32, 32)) / 255).astype(np.float32)
    model, ours, theirs = beside(path, images)
    assert all(one.most <= 1 and one.share < 2e-3 for one in model.findings)
    said = together(model.network, model.findings)
    assert ours.max() > 1                                       # more than any layer by itself
    assert ours.max() <= said.most and (ours > 0).mean() <= 2 * said.share
    assert (theirs > 0).mean() < (ours > 0).mean() / 4          # all but 32-bit sums beside a border
    assert said.text.startswith("all layers together: the output differs by at most")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["subpixel", "nn_resize"])
def test_networks_of_others(kind):
    """ESPCN of 4 bits as QONNX brings it."""
    path = files("qonnx").joinpath("data", "onnx", "bsd300x3-espcn", kind, "quant_model.onnx")
    images = (np.random.default_rng(0).integers(0, 256, (1, 3, 128, 128)) / 255).astype(np.float32)
    model, ours, theirs = beside(path, images)
    said = together(model.network, model.findings)
    assert (theirs > 0).mean() < 1e-3 and ours.max() <= said.most + 1 and (ours > 0).mean() < 2 * said.share
    assert all(one.most <= 1 and one.share < 1e-3 for one in model.findings)
