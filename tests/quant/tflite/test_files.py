"""Damaged, hostile and other TFLite files: one sentence each."""

import random
import time

from ai_edge_litert import schema_py_generated as schema
import flatbuffers
import numpy as np
import pytest

from quant.tflite import load
from spec.errors import AlloyError

from .build import Builder


def network():
    draw, builder = np.random.default_rng(0), Builder()
    x = builder.input((1, 6, 6, 3), np.int8, 0.02, 3)
    w = builder.const(draw.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8), draw.uniform(0.01, 0.02, 4))
    b = builder.const(draw.integers(-100, 100, 4).astype(np.int32), 0.0004)
    y = builder.op("CONV_2D", [x, w, b], (1, 6, 6, 4), 0.05, -128, strideH=1, strideW=1, padding=0, dilationHFactor=1,
                   dilationWFactor=1)
    z = builder.op("MAX_POOL_2D", [y], (1, 3, 3, 4), 0.05, -128, filterHeight=2, filterWidth=2, strideH=2, strideW=2,
                   padding=1)
    flat = builder.op("RESHAPE", [z, builder.const(np.int32([1, 36]))], (1, 36), 0.05, -128)
    w = builder.const(draw.integers(-127, 128, (5, 36)).astype(np.int8), 0.01)
    return builder, builder.op("FULLY_CONNECTED", [flat, w, -1], (1, 5), 0.1, 0)


def test_no_tflite(tmp_path):
    path = tmp_path / "m.tflite"
    with pytest.raises(AlloyError, match="is no file"):
        load(path)
    for content in (b"", b"hello, this is no model", np.random.default_rng(0).bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(AlloyError, match="is no TFLite file, it looks like"):
            load(path)
    path.write_bytes(b"\0\0\0\0TFL3" + bytes(100))
    with pytest.raises(AlloyError, match="is no whole TFLite file|cannot be read"):
        load(path)


def test_cut_off(tmp_path):
    builder, y = network()
    content, path = builder.content(y), tmp_path / "m.tflite"
    for end in range(8, len(content) - 1, len(content) // 40):
        path.write_bytes(content[:end])
        with pytest.raises(AlloyError):
            load(path)


@pytest.mark.parametrize("seed", range(4))
def test_mutants(tmp_path, seed):
    """A hundred changed files, bytes and whole numbers alike: each loads or is one sentence, within seconds."""
    builder, y = network()
    content, path, draw, began = builder.content(y), tmp_path / "m.tflite", random.Random(seed), time.process_time()
    for _ in range(25):
        changed = bytearray(content)
        for _ in range(draw.randint(1, 6)):
            at = draw.randrange(8, len(changed) - 4)
            if draw.random() < 0.5:
                changed[at] = draw.randrange(256)
            else:
                changed[at & ~3:(at & ~3) + 4] = draw.choice([0, 1, 2, 1 << 16, 1 << 30, (1 << 31) - 1, (1 << 32) - 1,
                                                              len(content)]).to_bytes(4, "little")
        path.write_bytes(changed)
        try:
            load(path)
        except AlloyError as error:
            assert "\n" not in str(error)
    assert time.process_time() - began < 60


def test_lists_without_end(tmp_path):
    """A vector that says that it has 2**30 tables, which may all be the same one."""
    builder, y = network()
    content = bytearray(builder.content(y))
    graph = schema.Model.GetRootAs(content).Subgraphs(0)
    place = graph._tab.Vector(flatbuffers.number_types.UOffsetTFlags.py_type(graph._tab.Offset(4))) - 4
    content[place:place + 4] = (1 << 30).to_bytes(4, "little")
    (tmp_path / "m.tflite").write_bytes(content)
    with pytest.raises(AlloyError, match="says that it has 1073741824 tensors, more than 20000: it is damaged"):
        load(tmp_path / "m.tflite")


@pytest.mark.parametrize("index", [-2, 99])
def test_tensors_that_are_not_there(tmp_path, index):
    """-1 is an input that is left out, and no other number below 0 is anything."""
    builder, y = network()
    builder.operators[-1].inputs[2] = index
    with pytest.raises(AlloyError, match=f"it names tensor {index} of {len(builder.tensors)}: it is damaged"):
        load(builder.save(tmp_path / "m.tflite", y))


def test_a_scale_without_a_zero_point(tmp_path):
    """It is 0."""
    builder = Builder()
    x = builder.input((1, 4, 4, 3), np.int8, 0.1)
    y = builder.op("RELU", [x], (1, 4, 4, 3), 0.1)
    for tensor in builder.tensors:
        vars(tensor.quantization).update(zeroPoint=None)
    found = load(builder.save(tmp_path / "m.tflite", y)).network
    assert {tensor.zero for tensor in found.tensors.values()} == {128}


@pytest.mark.parametrize("dtype, words", [(np.float32, "32-bit numbers"), (np.int16, "16-bit codes")])
def test_other_numbers(tmp_path, dtype, words):
    builder = Builder()
    x = builder.input((1, 4, 4, 3), dtype, None if dtype is np.float32 else 0.1)
    y = builder.op("RELU", [x], (1, 4, 4, 3), None if dtype is np.float32 else 0.1, 0, dtype)
    with pytest.raises(AlloyError, match=f"computes with {words}: convert it with full integer quantization"):
        load(builder.save(tmp_path / "m.tflite", y))


def test_float_in_the_middle(tmp_path):
    builder = Builder()
    x = builder.input((1, 4, 4, 3), np.int8, 0.1)
    real = builder.op("DEQUANTIZE", [x], (1, 4, 4, 3), dtype=np.float32)
    y = builder.op("RELU", [real], (1, 4, 4, 3), dtype=np.float32)
    z = builder.op("QUANTIZE", [y], (1, 4, 4, 3), 0.1)
    with pytest.raises(AlloyError, match=r"layer t_2 \(RELU operator 1\) computes with real numbers"):
        load(builder.save(tmp_path / "m.tflite", z))


def test_everything_that_is_refused(tmp_path):
    """All of it at once, in the order of the file; what hangs on it is not blamed."""
    builder = Builder()
    x = builder.input((1, 4, 4, 3), np.int8, 0.1)
    one = builder.op("SIN", [x], (1, 4, 4, 3), 0.1)
    two = builder.op("ABS", [one], (1, 4, 4, 3), 0.1)
    three = builder.op("RELU", [two], (1, 4, 4, 3), 0.1)
    four = builder.op("MUL", [x, builder.op("MAX_POOL_2D", [x], (1, 4, 4, 3), 0.1, filterHeight=3, filterWidth=3,
                                            strideH=1, strideW=1, padding=0)], (1, 4, 4, 3), 0.1)
    path = builder.save(tmp_path / "m.tflite", builder.op("ADD", [three, four], (1, 4, 4, 3), 0.1))
    found = load(path, partly=True)
    assert [one.reason for one in found.refused] == [
        "is SIN, which is not supported", "is ABS, which is not supported",
        "multiplies two tensors value by value, which is not supported"]
    assert all(f"operator {index})" in one.where for index, one in zip((0, 1, 4), found.refused, strict=True))
    with pytest.raises(AlloyError, match="SIN, which is not supported.*2 more things are not supported either"):
        load(path)


@pytest.mark.parametrize("shape, signature, size, words", [
    ((2, 4, 4, 3), None, None, "reads 2 images at once"),
    ((1, 4, 4, 3, 1), None, None, "of 5 dimensions"),
    ((1, 1, 1, 3), (1, -1, -1, 3), None, r"1x\?x\?x3, whose size is open"),
    ((1, 4, 4, 3), None, (5, 5), "the size 5x5 was asked for")])
def test_shapes(tmp_path, shape, signature, size, words):
    builder = Builder()
    x = builder.input(shape, np.int8, 0.1, signature=signature)
    with pytest.raises(AlloyError, match=words):
        load(builder.save(tmp_path / "m.tflite", builder.op("RELU", [x], shape, 0.1)), size)
