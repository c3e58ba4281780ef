"""An ONNX graph as a module of PyTorch, read by the same road as every other model."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from spec.errors import AlloyError, Unsupported

from ..capture import Named, first_line
from . import elementwise, layers, moves
from .files import OWN
from .given import FUNCTIONS, LARGEST, Given
from .names import name_nodes

__all__ = ["OnnxModule", "attributes_of", "build", "check_flow", "compute", "constant", "labelled", "tensor_of"]

NOTHING = np.zeros(0, np.int64)     # an input that is left out
LOOPS = ("If", "Loop", "Scan", "SequenceMap")
assert all((elementwise, layers, moves))       # they enter their functions


class Node(Named):
    """One node of the graph; what it reads of weights are its parameters and buffers."""

    def __init__(self, given: Given, names: list[str], known: Mapping[str, Tensor]):
        super().__init__()
        self.given, self.where = given, given.where
        self.inputs: list[str | None] = []      # of each input: the name of its parameter; None: a value
        for name in names:
            value, own = known.get(name), re.split(r"[.:/]", name)[-1] or "constant"
            while hasattr(self, own):
                own += "_"
            self.inputs.append(None if name and value is None else own if name else "")
            if value is not None and value.is_floating_point():
                self.register_parameter(own, nn.Parameter(value, False))
            elif value is not None:
                self.register_buffer(own, value)

    def forward(self, *values: Tensor) -> Any:
        left = iter(values)
        given = [next(left) if name is None else getattr(self, name) if name else None for name in self.inputs]
        return FUNCTIONS[self.given.op_type](self.given, *given)


class Refused(Named):
    """Stands for a node that is not supported: zeros of the ``shapes`` and types that it would make."""

    def __init__(self, refusal: Unsupported, shapes: list[tuple[tuple[int, ...], torch.dtype]]):
        super().__init__()
        self.refusal, self.where, self.shapes = refusal, refusal.where, shapes

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.ops.alloy.refused(list(values), shape, dtype) for shape, dtype in self.shapes)


_OPERATORS = torch.library.Library("alloy", "DEF")
_OPERATORS.define("refused(Tensor[] x, int[] shape, ScalarType dtype) -> Tensor")
_OPERATORS.impl("refused", lambda x, shape, dtype: torch.zeros(shape, dtype=dtype, device=x[0].device),
                "CompositeExplicitAutograd")


class OnnxModule(nn.Module):
    """The nodes of a graph, each a submodule, for images (N, C, H, W). ``refused`` is what of them is not supported."""

    def __init__(self):
        super().__init__()
        self.steps: list[tuple[str, list[str], list[str]]] = []     # submodule, its inputs and outputs
        self.input = self.output = ""
        self.refused: list[Unsupported] = []

    def forward(self, x: Tensor) -> Tensor:
        values = {self.input: x}
        for name, inputs, outputs in self.steps:
            out = getattr(self, name)(*(values[one] for one in inputs))
            values.update(zip(outputs, out if isinstance(out, tuple | list) else (out,), strict=False))
        return values[self.output]


def tensor_of(proto: onnx.TensorProto) -> np.ndarray:
    """An array of a tensor in the file."""
    try:
        return numpy_helper.to_array(proto)
    except Exception as error:      # what the library raises depends on what is damaged
        raise AlloyError(f"the weights {proto.name} of the ONNX file are damaged ({first_line(error)}): export it "
                         "again") from None


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """{name: value} of a node's attributes: numbers, text, lists of them, and tensors of PyTorch. Real numbers are the
    shortest decimal ones that 32 bits tell from others, as users write them."""
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, onnx.TensorProto):
            value = constant(tensor_of(value))
        elif isinstance(value, float):
            value = float(str(np.float32(value)))
        elif isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif attribute.type == onnx.AttributeProto.FLOATS:
            value = [float(str(np.float32(one))) for one in value]
        found[attribute.name] = value
    return found


def constant(array: np.ndarray) -> Tensor:
    """A tensor of PyTorch; real numbers of any kind have 32 bits."""
    array = np.asarray(array)
    if array.dtype.kind not in "iufb":
        array = array.astype(np.float32)        # 16-bit kinds that NumPy does not know itself
    tensor = torch.from_numpy(np.array(array))
    return tensor.float() if tensor.is_floating_point() else tensor


def compute(given: Given, values: Sequence[Tensor | None], device: str) -> tuple[Tensor, ...]:
    """The outputs of a node for its inputs, on the device "cpu", or "meta": without contents."""
    try:
        with torch.device(device), torch.no_grad():
            out = FUNCTIONS[given.op_type](given, *values)
    except AlloyError:
        raise
    except Exception as error:      # of PyTorch, for attributes that do not fit the inputs
        texts = ", ".join("x".join(map(str, value.shape)) for value in values if value is not None)
        raise AlloyError(f"{given.where} cannot be computed for inputs of {texts} ({first_line(error)}): export the "
                         "model again") from None
    out = tuple(out) if isinstance(out, tuple | list) else (out,)
    for value in out:
        if value.numel() > LARGEST:
            given.refuse(f"makes {value.numel()} values, more than {LARGEST}: use a smaller image")
    return out


def labelled(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, str, str]]:
    """(node, name of its layer, how messages call it) of each node of a graph."""
    weights = {proto.name for proto in graph.initializer}
    for index, (node, name) in enumerate(zip(graph.node, name_nodes(graph.node, weights), strict=True)):
        where = f"layer {name} ({node.op_type} node {index}{' ' * bool(node.name)}{node.name})"
        yield node, name.replace(".", "_"), where


def check_flow(node: onnx.NodeProto, where: str) -> None:
    """Raise :class:`AlloyError` for control flow."""
    if node.op_type in LOOPS:
        raise AlloyError(f"{where} is control flow, which no fixed program has: export the model for one size without "
                         "it")


class _Builder:
    """Takes node by node: what depends on weights alone is computed, the others become steps of the module."""

    def __init__(self, model, shape, batch):
        self.graph, self.batch = model.graph, batch
        self.opset = max(entry.version for entry in model.opset_import if entry.domain in OWN)
        self.known: dict[str, Tensor] = {}      # values that depend on weights alone
        self.shown: dict[str, Tensor] = {}      # the others, without their contents
        self.lost: dict[str, Unsupported] = {}  # those of unknown shape, and what is to blame for it
        self.module = OnnxModule()
        for proto in self.graph.initializer:
            self.known[proto.name] = constant(tensor_of(proto))
        names = [one.name for one in self.graph.input if one.name not in self.known]
        self.module.input, self.module.output = names[0], self.graph.output[0].name
        self.shown[names[0]] = torch.empty(shape, device="meta")

    def build(self):
        for node, name, where in labelled(self.graph):
            try:
                self._take(node, name, where)
            except AlloyError as error:
                refusal = Unsupported.of(error, where)
                self.module.refused.append(refusal)
                self._leave_out(node, name, refusal)
        if self.module.output in self.lost:     # all that nothing else reads goes into what stands for it
            read = {one for _, inputs, _ in self.module.steps for one in inputs}
            self._stand_in("output", self.lost[self.module.output], [one for one in self.shown if one not in read],
                           {self.module.output: ((len(self.shown[self.module.input]), 1), torch.float32)})
        if self.module.output not in self.shown:
            raise AlloyError(f"the output {self.module.output} does not depend on the image: export the model again")
        return self.module

    def _leave_out(self, node, name, refusal):
        """Something that is not supported: what it makes is stood for, or nothing is known of it."""
        inputs, shapes = [one for one in node.input if one in self.shown], self._inferred(node)
        if inputs and shapes.keys() == {one for one in node.output if one}:
            self._stand_in(name, refusal, inputs, shapes)
        else:
            self.lost |= dict.fromkeys(node.output, refusal)

    def _stand_in(self, name, refusal, inputs, shapes):
        """A step that makes zeros of ``shapes``, {name: (shape, type)}."""
        self.shown |= {one: torch.empty(shape, dtype=dtype, device="meta") for one, (shape, dtype) in shapes.items()}
        self._step(name, Refused(refusal, list(shapes.values())), inputs, list(shapes))

    def _inferred(self, node):
        """{name: (shape, type)} of those outputs of a node about which the standard knows both."""
        types, data = {}, {}
        for one in node.input:
            if one in self.lost:
                return {}
            value = self.shown.get(one, self.known.get(one)) if one else None
            if value is not None:
                element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(str(value.dtype).removeprefix("torch.")))
                types[one] = onnx.helper.make_tensor_type_proto(element, list(value.shape))
            if one in self.known:
                data[one] = numpy_helper.from_array(self.known[one].numpy(), one)
        try:
            schema = onnx.defs.get_schema(node.op_type, self.opset, node.domain)
            found = onnx.shape_inference.infer_node_outputs(schema, node, types, data)
        except Exception:       # of the library: no such operator, inputs that it does not know, or do not fit
            return {}
        sizes = {name: ([dim.dim_value for dim in made.tensor_type.shape.dim], made.tensor_type.elem_type)
                 for name, made in found.items()}
        return {name: (tuple(shape), constant(np.zeros(1, onnx.helper.tensor_dtype_to_np_dtype(element))).dtype)
                for name, (shape, element) in sizes.items()
                if shape and element and all(0 < one <= LARGEST for one in shape)}

    def _take(self, node, name, where):
        check_flow(node, where)
        attributes = attributes_of(node)
        if node.op_type == "Constant":
            self.known[node.output[0]] = self._literal(attributes, where)
            return
        if node.domain not in OWN or node.op_type not in FUNCTIONS and node.op_type not in ("Shape", "Size"):
            raise AlloyError(f"{where} is {node.domain}{'.' * bool(node.domain)}{node.op_type}, which is not "
                             "supported: write the model with the operators of docs/onnx.md")
        if any(one in self.lost for one in node.input):
            self.lost |= dict.fromkeys(node.output, next(self.lost[one] for one in node.input if one in self.lost))
            return
        lost = [one for one in node.input if one and one not in self.known and one not in self.shown]
        if lost:
            raise AlloyError(f"{where} reads {lost[0]}, which nothing before it makes: export the model again")
        if node.op_type in ("Shape", "Size"):
            self.known[node.output[0]] = self._shape_of(node, attributes)
            return
        constants = [None if one in self.shown else self.known[one].numpy() if one else NOTHING for one in node.input]
        given = Given(where, node.op_type, self.opset, attributes, constants,
                      sum(bool(one) for one in node.output), self.batch)
        self._place(node, name, given)

    def _place(self, node, name, given):
        """A step of the module, or constants."""
        read = node.input[:1] if node.op_type == "CastLike" else node.input     # of what it is like, the type alone
        alone = all(one in self.known for one in read if one)
        metas = [self.shown[one] if one in self.shown else self.known[one].to("meta") if one else None
                 for one in node.input]
        outs = compute(given, metas, "meta")
        if alone:
            known = compute(given, [self.known.get(one, self.shown.get(one)) for one in node.input], "cpu")
            self.known.update(zip(node.output, known, strict=False))
            return
        self.shown.update(zip(node.output, outs, strict=False))
        self._step(name, Node(given, list(node.input), self.known), [one for one in node.input if one in self.shown],
                   list(node.output))

    def _step(self, name, module, inputs, outputs):
        name = name if name and not hasattr(self.module, name) else f"node_{name}"
        while hasattr(self.module, name):
            name += "_"
        self.module.add_module(name, module)
        self.module.steps.append((name, inputs, outputs))

    def _literal(self, attributes, where):
        for key, value in attributes.items():
            if key == "value":
                return value
            if key.startswith(("value_float", "value_int")):
                return torch.tensor(value)
        raise AlloyError(f"{where} is a constant of text or of a sparse tensor, which is not supported: leave it out")

    def _shape_of(self, node, attributes):
        value = self.shown[node.input[0]] if node.input[0] in self.shown else self.known[node.input[0]]
        if node.op_type == "Size":
            return torch.tensor(value.numel())
        return torch.tensor(value.shape[attributes.get("start", 0):attributes.get("end")], dtype=torch.int64)


def build(model: onnx.ModelProto, shape: tuple[int, ...], batch: int | None) -> OnnxModule:
    """The module of a checked model.

    Parameters
    ----------
    shape : (N, C, H, W) of images that it is built with; others may have another N.
    batch : how many images the file is written for, None for any number.
    """
    return _Builder(model, shape, batch).build()
