"""ONNX models made node by node, and what onnxruntime makes of them."""

from dataclasses import replace

import numpy as np
from onnx import TensorProto, helper, numpy_helper
import onnxruntime

__all__ = ["check_same", "save", "run", "node"]

OPSET = 17


def node(dtype, inputs, outputs=("y",), **attributes):
    """A node; inputs are names."""
    return helper.make_node(dtype, list(inputs), list(outputs), **attributes)


def save(path, nodes, weights, shape, output="y", *, opset=OPSET, batch="n", domains=(),
         inputs=("x",), dtype=TensorProto.FLOAT, made_dtype=TensorProto.FLOAT):
    """Write the model of ``nodes`` for images of ``shape``; ``weights`` are {name: array}. Returns the path as text."""
    made = [helper.make_tensor_value_info(name, dtype, [batch, *shape]) for name in inputs]
    outputs = [output] if isinstance(output, str) else output
    graph = helper.make_graph(nodes, "graph", made,
                              [helper.make_tensor_value_info(name, made_dtype, None) for name in outputs],
                              [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset),
                                                    *(helper.make_opsetid(one, 1) for one in domains)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return str(path)


def run(path, images, precise=False):
    """The first output of a file for images (N, C, H, W); ``precise``: sums of 8-bit products that nothing clips."""
    options = onnxruntime.SessionOptions()
    if precise:
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    one = session.get_inputs()[0]
    batches = [images] if not isinstance(one.shape[0], int) else np.split(images, len(images) // one.shape[0])
    return np.concatenate([session.run(None, {one.name: batch})[0] for batch in batches])


def check_same(one, two):
    """Raise where two integer networks differ in anything but the names of layers and tensors, which stand for one
    another in their order."""
    names = {one.input: two.input}
    for first, second in zip(one.nodes, two.nodes, strict=True):
        names |= {first.name: second.name, first.output: second.output}
        assert first.kind == second.kind and [names[source] for source in first.inputs] == second.inputs, first.name
        for key, value in vars(first).items():
            other = getattr(second, key)
            if isinstance(value, str) and value in names:
                assert names[value] == other, (first.name, key)
            elif key != "others":       # names, too, which are among the inputs
                assert np.array_equal(value, other), (first.name, key)
    assert names[one.output] == two.output
    for name, tensor in one.tensors.items():
        assert replace(tensor, name=names[name]) == two.tensors[names[name]], name
