"""Damaged and hostile ONNX files: one sentence each, and nothing outside the model's folder is read."""

import random

import numpy as np
import onnx
from onnx import TensorProto
import pytest

from quant.onnx import load
from spec.errors import AlloyError

from .graphs import node, save


def network(path):
    draw = np.random.default_rng(0)
    weights = {"a.weight": draw.normal(size=(4, 3, 3, 3)).astype(np.float32), "a.bias": np.zeros(4, np.float32),
               "s": np.array([0, -1]), "f.weight": draw.normal(size=(5, 144)).astype(np.float32)}
    nodes = [node("Conv", ["x", "a.weight", "a.bias"], ["a"], kernel_shape=[3, 3]), node("Relu", ["a"], ["b"]),
             node("Reshape", ["b", "s"], ["c"]), node("Gemm", ["c", "f.weight"], transB=1)]
    return save(path / "m.onnx", nodes, weights, (3, 8, 8))


def external(path, location, offset=0, length=None):
    """The network with the weights of its convolution in another file."""
    name = network(path)
    model = onnx.load(name)
    tensor = model.graph.initializer[0]
    content = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.MergeFrom(TensorProto(data_location=TensorProto.EXTERNAL))
    found = {"location": location, "offset": str(offset), "length": str(len(content) if length is None else length)}
    for key, value in found.items():
        tensor.external_data.add(key=key, value=value)
    (path / "m.onnx").write_bytes(model.SerializeToString())
    return name, content


def test_no_onnx(tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(AlloyError, match="is no file"):
        load(path)
    for content in (b"", b"hello, this is no model", np.random.default_rng(0).bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(AlloyError, match="is no (whole )?ONNX"):
            load(path)


def test_cut_off(tmp_path):
    name = network(tmp_path)
    content = (tmp_path / "m.onnx").read_bytes()
    for end in (len(content) // 3, len(content) - 200, len(content) - 1):
        (tmp_path / "m.onnx").write_bytes(content[:end])
        with pytest.raises(AlloyError):
            load(name)


@pytest.mark.parametrize("opset", [1, 6, 99])
def test_opset(tmp_path, opset):
    with pytest.raises(AlloyError, match=f"has opset {opset}, and 7 to"):
        load(save(tmp_path / "m.onnx", [node("Relu", ["x"])], {}, (3, 4, 4), opset=opset))


def test_not_right_as_onnx(tmp_path):
    with pytest.raises(AlloyError, match="is not right as ONNX"):
        load(save(tmp_path / "m.onnx", [node("Relu", ["nothing"])], {}, (3, 4, 4)))
    with pytest.raises(AlloyError, match="is not right as ONNX"):
        load(save(tmp_path / "m.onnx", [node("Relu", ["x"], colour=3)], {}, (3, 4, 4)))


def test_external_weights(tmp_path):
    name, content = external(tmp_path, "w.bin", offset=8)
    (tmp_path / "w.bin").write_bytes(b"12345678" + content)
    assert load(name).module.a.weight.shape == (4, 3, 3, 3)
    (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(AlloyError, match="432 bytes of weights a.weight from w.bin, more than there are"):
        load(name)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(AlloyError, match="w.bin, which is not there"):
        load(name)


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "inner/../../w.bin", "link.bin", ""])
def test_external_weights_elsewhere(tmp_path, location):
    """No path, and no link, leads out of the folder."""
    inner = tmp_path / "inner"
    inner.mkdir()
    name, content = external(inner, location)
    (tmp_path / "w.bin").write_bytes(content)
    (inner / "link.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(AlloyError, match="outside its folder"):
        load(name)


def test_external_weights_of_a_wrong_length(tmp_path):
    name, content = external(tmp_path, "w.bin", length=100)
    (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(AlloyError, match="are damaged|is not right"):
        load(name)


def test_weights_of_another_size(tmp_path):
    name = network(tmp_path)
    model = onnx.load(name)
    model.graph.initializer[3].raw_data = b"1234"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(AlloyError, match="is not right as ONNX|are damaged"):
        load(name)


def mutated(content, seed):
    """A file with a few bytes changed, taken out or put in."""
    draw, content = random.Random(seed), bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(content))
        match draw.randrange(4):
            case 0:
                content[at] ^= 1 << draw.randrange(8)
            case 1:
                content[at] = draw.randrange(256)
            case 2:
                del content[at:at + draw.randint(1, 20)]
            case _:
                content[at:at] = draw.randbytes(draw.randint(1, 8))
    return bytes(content)


def check_mutation(path, content, seed):
    """The file is loaded or refused; anything else fails. The large weights are left out of the mutations."""
    path.write_bytes(mutated(content, seed))
    try:
        load(path)
    except AlloyError as error:
        assert "\n" not in str(error)


def small(tmp_path):
    nodes = [node("Conv", ["x", "w"], ["a"], kernel_shape=[1, 1]), node("Relu", ["a"], ["b"]),
             node("Slice", ["b", "i", "j", "i"], ["c"]), node("Reshape", ["c", "s"], ["d"]), node("Clip", ["d", "m"])]
    weights = {"w": np.ones((2, 1, 1, 1), np.float32), "s": np.array([0, -1]), "i": np.array([1]), "j": np.array([2]),
               "m": np.float32(0)}
    path = tmp_path / "m.onnx"
    save(path, nodes, weights, (1, 2, 2))
    return path, path.read_bytes()


def small_quantized(tmp_path):
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["d"]),
             node("DequantizeLinear", ["w", "s", "z8"], ["v"]), node("Conv", ["d", "v"], ["c"], kernel_shape=[1, 1]),
             node("Relu", ["c"], ["r"]), node("QuantizeLinear", ["r", "s", "z"])]
    weights = {"w": np.ones((2, 1, 1, 1), np.int8), "s": np.float32(0.1), "z": np.uint8(3), "z8": np.int8(0)}
    path = tmp_path / "m.onnx"
    save(path, nodes, weights, (1, 2, 2))
    return path, path.read_bytes()


@pytest.mark.parametrize("make", [small, small_quantized])
def test_mutations(tmp_path, make):
    path, content = make(tmp_path)
    for seed in range(50):
        check_mutation(path, content, seed)


@pytest.mark.slow
@pytest.mark.parametrize("make", [small, small_quantized])
def test_many_mutations(tmp_path, make):
    path, content = make(tmp_path)
    for seed in range(50, 2050):
        check_mutation(path, content, seed)
