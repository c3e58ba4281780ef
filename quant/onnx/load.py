"""From the path of an ONNX file to a model."""

from pathlib import Path

import numpy as np
import onnx

from spec.errors import AlloyError

from ..capture import BATCH
from ..grids.model import Model
from . import integer, pairs
from .files import read
from .given import LARGEST
from .module import attributes_of, build, tensor_of
from .quantized import QUANTIZED, Reader

__all__ = ["load"]

assert all((integer, pairs))     # they enter their readers


def load(path: str | Path, size: tuple[int, int] | None = None, *, partly: bool = False) -> Model:
    """The model in an ONNX file, from any exporter; layers have the names of the modules that they were written as.

    The file is not trusted: nothing in it is executed, weights come from its own folder alone, and any damage is one
    :class:`AlloyError`.

    Parameters
    ----------
    size : (rows, columns) of the images, for files that leave them open; others take no other size than their own.
    partly : go on where something is not supported; otherwise the first such thing is raised.
    """
    found = _loaded(path, size)
    return found if partly else found.whole()


def _loaded(path, size):
    model = read(path)
    if len(model.graph.output) != 1:
        raise AlloyError(f"{path} has {len(model.graph.output)} outputs "
                         f"({', '.join(one.name for one in model.graph.output)}): export a model that returns one "
                         "tensor")
    _put_channels_first(model.graph)
    batch, shape = _input(path, model.graph, size)
    if batch == 1:
        _keep_images(model.graph)
    name = Path(path).stem
    if any(node.op_type in QUANTIZED or node.op_type.startswith("QLinear") for node in model.graph.node):
        reader = Reader(name, shape)
        network = reader.read(model)
        return Model(name, shape, network=network, findings=tuple(reader.findings), refused=tuple(reader.refused))
    module = build(model, (BATCH, *shape), batch)
    return Model(name, shape, module, refused=tuple(module.refused))


def _put_channels_first(graph):
    """An input (N, H, W, C) that is only transposed, as other frameworks write it, becomes what that makes."""
    weights = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in weights]
    readers = [node for node in graph.node if inputs and inputs[0].name in node.input]
    dims = inputs[0].type.tensor_type.shape.dim if len(inputs) == 1 else []
    if len(dims) != 4 or not readers or graph.output[0].name in {node.output[0] for node in readers} or not all(
            node.op_type == "Transpose" and attributes_of(node).get("perm") == [0, 3, 1, 2] for node in readers):
        return
    old, made = inputs[0].name, {node.output[0] for node in readers}
    kept = [node for node in graph.node if node not in readers]
    for node in kept:
        node.input[:] = [old if name in made else name for name in node.input]
    copies = [onnx.TensorShapeProto.Dimension() for _ in dims]
    for copy, axis in zip(copies, (0, 3, 1, 2), strict=True):
        copy.CopyFrom(dims[axis])
    del graph.node[:], inputs[0].type.tensor_type.shape.dim[:]
    graph.node.extend(kept)
    inputs[0].type.tensor_type.shape.dim.extend(copies)


def _keep_images(graph):
    """All values of one image in a row, and those at some places of it (an exporter's word for a view whose strides are
    not those of its shape), become the same with the image as a dimension of its own."""
    known = {one.name: tensor_of(one) for one in graph.initializer}
    known |= {node.output[0]: tensor_of(one.t) for node in graph.node if node.op_type == "Constant"
              for one in node.attribute if one.name == "value"}
    for rows in [node for node in graph.node if node.op_type == "Reshape"]:
        readers = [node for node in graph.node if rows.output[0] in node.input]
        target = known.get(rows.input[1])
        if target is None or target.shape != (1,) or graph.output[0].name == rows.output[0] or not all(
                node.op_type == "Gather" and node.input[0] == rows.output[0] and not attributes_of(node).get("axis")
                and known.get(node.input[1], np.zeros(0)).shape[:1] == (1,) for node in readers):
            continue
        rows.input[1] = _constant(graph, f"{rows.output[0]}.shape", np.array([1, *target]))
        for node in readers:
            node.input[1] = _constant(graph, f"{node.output[0]}.places", known[node.input[1]][0])
            del node.attribute[:]
            node.attribute.append(onnx.helper.make_attribute("axis", 1))


def _constant(graph, name, value):
    """The name of a constant that is put into the graph."""
    graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return name


def _input(path, graph: onnx.GraphProto, size):
    """(images of a batch or None, shape (C, H, W)) of the one input of a graph."""
    weights = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in weights]
    if len(inputs) != 1:
        raise AlloyError(f"{path} has {len(inputs)} inputs ({', '.join(one.name for one in inputs)}): export a model "
                         "that takes one tensor of images")
    dims = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
            for dim in inputs[0].type.tensor_type.shape.dim]
    text = "x".join(map(str, dims))
    if len(dims) != 4:
        raise AlloyError(f"{path} reads {inputs[0].name} of {len(dims)} dimensions ({text}): export a model that reads "
                         "images (N, C, H, W)")
    batch, channels, *open_size = dims
    if isinstance(channels, str):
        raise AlloyError(f"{path} reads images {text}, whose channels are open: export it with their number")
    if size is None and any(isinstance(one, str) for one in open_size):
        raise AlloyError(f"{path} reads images {text}, whose rows and columns are open: say how large with --size "
                         "ROWSxCOLUMNS")
    wanted = tuple(open_size) if size is None else tuple(size)
    if any(isinstance(one, int) and one != new for one, new in zip(open_size, wanted, strict=True)):
        raise AlloyError(f"{path} reads images {text}, and the size {'x'.join(map(str, wanted))} was asked for: leave "
                         "it out, or export the model for that size")
    shape = (channels, *wanted)
    if min(shape) < 1 or channels * wanted[0] * wanted[1] > LARGEST:
        raise AlloyError(f"{path} reads images {'x'.join(map(str, shape))}: export it for images of a size that exists")
    return (batch if isinstance(batch, int) and batch > 0 else None), shape
