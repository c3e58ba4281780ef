"""Quantized ONNX graphs to integer networks: weights, scales and zero points are taken as they are.

Three forms are read, all as numbers on grids: QuantizeLinear and DequantizeLinear around float operators, operators on
whole numbers (QLinearConv and its kin), and the Quant of QONNX. What lies between two roundings becomes one node.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import numpy as np
import onnx
import torch

from spec.errors import AlloyError
from spec.network import Network, Tensor
from spec.operators.concat import Concat
from spec.operators.max_pool import MaxPool
from spec.operators.windows import Window

from ..capture import BATCH
from ..capture.settle import moves
from ..grids.draft import Draft
from ..grids.emit import EQUAL, Finding, average, convolution, curve_of, identity_sum, table
from ..grids.products import scaled
from ..grids.values import Codes, Curve, Grid, Joined, Moved, Product, Real, Rounded, Sum, Value, Weights
from ..normalize import SCALE
from .files import OWN
from .given import FUNCTIONS, Given
from .module import attributes_of, check_flow, compute, constant, labelled, tensor_of

__all__ = ["QUANTIZED", "READERS", "Reader", "Step", "reads_quantized"]

QONNX = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
DOMAINS = (*OWN, "com.microsoft", *QONNX)
QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm", "Quant", "IntQuant",
             "BipolarQuant", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "FloatQuant", "MultiThreshold",
             "Trunc")
EITHER = ("Add", "Sub", "Mul")      # operators whose first operand may be the constant one
SPREAD = 8.0            # standard deviations of an output that is not quantized, of random codes, that get codes

READERS: dict[str, Callable[["Reader", "Step"], Value]] = {}


def reads_quantized(*op_types: str) -> Callable:
    """Decorator: reads nodes of these operators."""
    def enter(one):
        READERS.update(dict.fromkeys(op_types, one))
        return one
    return enter


class Step:
    """A node while it is read: ``inputs`` are values, None where they are left out."""

    def __init__(self, node: onnx.NodeProto, name: str, where: str, opset: int, inputs: list[Value]):
        self.op_type, self.name, self.where, self.opset, self.inputs = node.op_type, name, where, opset, inputs
        self.attributes = attributes_of(node)
        self.outputs = sum(bool(one) for one in node.output)

    def given(self, op_type: str | None = None) -> Given:
        """The same for the functions of the float operators; ``op_type``: another name of it."""
        known = [np.zeros(0, np.int64) if one is None else one if isinstance(one, np.ndarray) else None
                 for one in self.inputs]
        return Given(self.where, op_type or self.op_type, self.opset, self.attributes, known, self.outputs, BATCH)

    def refuse(self, what: str) -> NoReturn:
        """Raise :class:`AlloyError`: the node ``what``."""
        raise AlloyError(f"{self.where} {what}")

    def has(self, index: int) -> bool:
        """Whether there is such an input."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def array(self, index: int) -> np.ndarray:
        """A constant input; empty if it is left out."""
        value = self.inputs[index] if self.has(index) else np.zeros(0, np.int64)
        if isinstance(value, np.ndarray):
            return value
        self.refuse(f"depends on the image in its input {index}: only constants are supported there")

    def number(self, index: int) -> float:
        """A constant input of one number."""
        value = self.array(index)
        if value.size != 1:
            self.refuse(f"has {value.size} values in its input {index}: activations have one "
                        "scale and one zero point for the whole tensor")
        return float(value.flat[0])


class Reader(Draft[str]):
    """Takes node by node and appends nodes of the integer network."""

    def __init__(self, name: str, shape: tuple[int, int, int]):
        super().__init__(name)
        self.shape = shape
        self.input: Codes | None = None
        self.tables: dict[str, tuple[Codes, np.ndarray]] = {}   # of what tables make: source, and code of each of its
        self._made: dict[tuple[int, Grid], tuple[Rounded, Codes]] = {}

    # -- the graph ---------------------------------------------------------------------------------------------------
    def read(self, model: onnx.ModelProto) -> Network:
        """The network of a checked model; :class:`spec.network.Parts` of it if anything is :attr:`refused`."""
        graph = model.graph
        opset = max(entry.version for entry in model.opset_import if entry.domain in OWN)
        values: dict[str, Value] = {proto.name: np.asarray(tensor_of(proto)) for proto in graph.initializer}
        values.update({one.name: Real() for one in graph.input if one.name not in values})
        for node, name, where in labelled(graph):
            with self.refusing(where, node.output):
                self._check_op_type(node, where)
                if self.skips(node.input, node.output):
                    continue
                lost = [one for one in node.input if one and one not in values]
                if lost:
                    raise AlloyError(f"{where} reads {lost[0]}, which nothing before it makes: export the model again")
                if self.ended:
                    raise AlloyError(f"{where} comes behind {self.ended}, which is left out: end the model there")
                out = self._take(Step(node, name, where, opset, [values[one] if one else None for one in node.input]))
                values.update(zip(node.output, out if isinstance(out, tuple) else (out,), strict=False))
        return self.parts() if self.refused else self._network(values[graph.output[0].name])

    @staticmethod
    def _check_op_type(node, where):
        """Raise :class:`AlloyError` for operators that are not supported, whatever they are applied to."""
        check_flow(node, where)
        if node.domain not in DOMAINS:
            raise AlloyError(f"{where} is {node.domain}.{node.op_type}, which is not supported: write the model with "
                             "the operators of docs/onnx.md")
        if node.op_type not in {*READERS, *FUNCTIONS, *QUANTIZED, "Constant", "Shape"}:
            raise AlloyError(f"{where} is {node.op_type}, which is not supported in a quantized network: write the "
                             "model with the operators of docs/onnx.md")

    def _take(self, step):
        if step.op_type == "Constant":
            value = step.attributes.get("value")
            if value is None:
                found = (one for key, one in step.attributes.items() if key.startswith(("value_f", "value_i")))
                value = next(found, None)
            if value is None:
                step.refuse("is a constant of text, which is not supported: leave it out")
            return np.asarray(value)
        if step.op_type == "Shape" and not isinstance(step.inputs[0], np.ndarray):
            return np.array(self.shape_of(step.inputs[0]))[step.attributes.get("start", 0):step.attributes.get("end")]
        constants = all(one is None or isinstance(one, np.ndarray) for one in step.inputs)
        if constants and step.op_type not in QUANTIZED and step.op_type in FUNCTIONS:
            return tuple(one.numpy() for one in compute(step.given(), [
                None if one is None else constant(one) for one in step.inputs], "cpu"))
        whole = all(one is None or isinstance(one, np.ndarray | Weights) for one in step.inputs)
        if isinstance(next(iter(step.inputs), None), Weights) and (whole or step.op_type not in EITHER):
            return self._moved_weights(step)
        if step.op_type not in READERS:
            step.refuse(f"is {step.op_type}, which is not supported in a quantized network: write the model with the "
                        "operators of docs/onnx.md")
        return READERS[step.op_type](self, step)

    def _moved_weights(self, step):
        """Weights in another shape or order."""
        weights = step.inputs[0]
        if step.op_type not in ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"):
            step.refuse("computes with quantized weights, which is not supported: quantize its result")
        rest = [None if one is None else constant(one) for one in step.inputs[1:]]
        whole, scale = (compute(step.given(), [torch.from_numpy(np.array(one)), *rest], "cpu")[0].numpy()
                        for one in (weights.whole, weights.scale))
        return Weights(whole, scale)

    def shape_of(self, value: Value) -> tuple[int, ...]:
        """(N, C, H, W) or (N, features) of a value."""
        if isinstance(value, Real):
            return (BATCH, int(np.prod(self.shape))) if value.flat else (BATCH, *self.shape)
        value = value.value if isinstance(value, Rounded) else value
        if isinstance(value, Moved):
            return BATCH, *value.index.shape
        if isinstance(value, Joined):
            shapes = [self.shape_of(part) for part in value.parts]
            return shapes[0][0], sum(shape[1] for shape in shapes), *shapes[0][2:]
        if isinstance(value, Product):
            return BATCH, *value.map.shape
        shape = value.source.shape if isinstance(value, Curve) else value.shape
        for window in getattr(value, "pools", ()):
            shape = shape[0], *window.size(shape[1:])
        return (BATCH, int(np.prod(shape))) if getattr(value, "flat", False) else (BATCH, *shape)

    def _network(self, out):
        made = out.value if isinstance(out, Moved) else out
        if isinstance(made, Sum | Curve):
            out = self.quantize(out, self._output_grid(made), "the output", out.where)
        if isinstance(out, Real | np.ndarray):
            raise AlloyError("the output does not depend on quantized values: export the model again")
        codes = self.codes(out, "the output")
        if not self.nodes:
            raise AlloyError("the model returns its input: there is nothing to compute")
        assert self.input is not None
        needed, nodes = {codes.name, self.input.name}, []
        for node in reversed(self.nodes):       # tables that were put together leave some that nobody reads
            if node.output in needed:
                needed.update(node.inputs)
                nodes.append(node)
        return Network(name=self.name, input=self.input.name, output=codes.name, nodes=nodes[::-1],
                       tensors={name: one for name, one in self.tensors.items() if name in needed})

    def _output_grid(self, out):
        """8-bit codes for an output that the file leaves real."""
        if isinstance(out, Curve):
            least, most = float(out.values.min()), float(out.values.max())
        else:
            grid, flat = out.source.grid, out.weight.reshape(len(out.weight), -1)
            low, high = grid.low - grid.zero, grid.high - grid.zero
            middle = flat.sum(1) * (low + high) / 2
            spread = SPREAD * np.sqrt((flat ** 2).sum(1) / 12) * (high - low)
            reach = np.abs(flat).sum(1) * (high - low) / 2
            factor = out.factor
            if out.divisors is not None:        # as far as the values that are averaged
                factor, spread = factor / flat.shape[1], reach
            spread = np.minimum(spread, reach) * factor
            centre = middle * factor + out.bias
            least = max(float((centre - spread).min()), out.least)
            most = min(float((centre + spread).max()), out.most)
        least, most = min(least, 0.0), max(most, 0.0)
        scale = max(most - least, 1e-30) / 255
        self.findings.append(Finding("the output", 1.0, 1, f"the output is not quantized in the file: it gets 8-bit "
                                     f"codes of {scale:.3g} each, from {least:.3g} to {most:.3g}"))
        return Grid(scale, round(-least / scale), 0, 255, "ROUND")

    # -- values ------------------------------------------------------------------------------------------------------
    def codes(self, value: Value, where: str) -> Codes:
        """A value as a tensor of the network."""
        if isinstance(value, Codes):
            return value
        if isinstance(value, Rounded):
            key = id(value.value), value.grid
            if key not in self._made:       # the value is kept, so that its id stays its own
                self._made[key] = value, self.quantize(value.value, value.grid, value.name, value.where)
            return self._made[key][1]
        if isinstance(value, Joined):
            parts = [self.codes(part, where) for part in value.parts]
            return self.quantize(value, replace(parts[0].grid, mode="LINEAR"), value.name, value.where)
        if isinstance(value, Real):
            if self.input is None:
                self.findings.append(Finding("the input", 0.0, 0, "the input is not quantized in the file: it is taken "
                                             "for pixels / 255"))
                self._enter(Grid(SCALE, 0, 0, 255))
            assert self.input is not None
            return replace(self.input, flat=value.flat)
        what = "float weights" if isinstance(value, np.ndarray | Weights) else "a tensor that nothing has quantized"
        raise AlloyError(f"{where} reads {what}: quantize it in the file")

    def taken(self, step: Step, index: int) -> Codes:
        """Input ``index`` of an operator on whole numbers, beside its scale and zero point."""
        value, scale, zero = step.inputs[index], step.number(index + 1), step.array(index + 2)
        grid = grid_of(scale, zero, step)
        if isinstance(value, Real) and self.input is None:
            self._enter(grid)
        codes = self.codes(value, step.where)
        if not np.isclose(codes.grid.scale, scale, 1e-6) or codes.grid.zero != grid.zero:
            step.refuse(f"reads codes with the scale {scale:g} and zero point {grid.zero}, but they were made with "
                        f"{codes.grid.scale:g} and {codes.grid.zero}: export the model again")
        return codes

    def _enter(self, grid):
        grid.check("the input")
        name = self.unique("input")
        self.tensors[name] = Tensor(name=name, channels=self.shape[0], height=self.shape[1], width=self.shape[2],
                                    bits=grid.bits, zero=grid.origin, scale=float(grid.scale))
        self.input = Codes(name, grid, self.shape)

    def sum_of(self, value: Value, step: Step) -> Sum:
        """A value as something that can be added to: a sum, or a tensor as it is."""
        if isinstance(value, Sum):
            return value
        return identity_sum(step.where, step.name, self.codes(value, step.where))

    def quantize(self, value: Value, grid: Grid, name: str, where: str) -> Codes:
        """A value rounded to a grid, as a tensor of the network."""
        if isinstance(value, Real) and self.input is None:
            self._enter(grid)
            return self.codes(value, where)
        if isinstance(value, Rounded | Real):
            value = self.codes(value, where)
        if isinstance(value, Codes):
            if replace(value.grid, mode="") == replace(grid, mode=""):
                return value
            value = identity_sum(where, name, value)
        value = curve_of(value) or value
        if isinstance(value, Moved):
            return self.put(self.quantize(value.value, grid, name, where), value.index, value.where)
        if isinstance(value, Joined):
            return self._join([self.quantize(part, grid, f"{value.name}_{at}", value.where)
                               for at, part in enumerate(value.parts)], value)
        if isinstance(value, Curve):
            name = self.unique(name)
            self.append(*table(value.source, value.values, grid, value.where, name))
            self.tables[name] = value.source, grid.codes(value.values)
            return Codes(name, grid, value.source.shape, value.source.flat)
        if isinstance(value, Product):
            grid.check(value.where)
            return scaled(self, value.map, value.factor, grid.codes(np.multiply.outer(*(
                one.grid.real(np.arange(one.grid.high - one.grid.low + 1)).astype(np.float32)
                for one in (value.map, value.factor)))), grid, value.name, value.where)
        if not isinstance(value, Sum):
            raise AlloyError(f"{where} quantizes constants that nothing reads as weights: export the model again")
        name = self.unique(value.name)
        node, tensor, finding = (convolution if value.divisors is None else average)(value, grid, name)
        self.append(node, tensor, finding)
        codes = Codes(name, grid, value.shape, value.flat)
        for window in value.pools:
            codes = self.pool(codes, window, f"{name}_pool")
        return codes

    def _join(self, parts, joined):
        """One tensor of the channels of several on one grid."""
        name, sizes = self.unique(joined.name), {part.shape[1:] for part in parts}
        if len(sizes) > 1 or any(part.flat for part in parts):
            raise AlloyError(f"{joined.where} joins tensors of several sizes or vectors: only maps of one size, by "
                             "channels, are supported")
        shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
        tensor = replace(self.tensors[parts[0].name], name=name, channels=shape[0])
        self.append(Concat(name=name, input=parts[0].name, others=tuple(part.name for part in parts[1:]), output=name,
                            mult=np.full(len(parts), 1 << EQUAL, np.int32), shift=EQUAL), tensor, None)
        return Codes(name, parts[0].grid, shape)

    def pool(self, codes: Codes, window: Window, name: str) -> Codes:
        """The maxima of windows."""
        name = self.unique(name)
        shape = (codes.shape[0], *window.size(codes.shape[1:]))
        tensor = replace(self.tensors[codes.name], name=name, height=shape[1], width=shape[2])
        self.append(MaxPool(name=name, input=codes.name, output=name, kernel=window.kernel, stride=window.stride,
                             padding=window.padding, padding_end=window.padding_end, dilation=window.dilation,
                             hi=(1 << tensor.bits) - 1),
                     tensor, None)
        return Codes(name, codes.grid, shape, codes.flat)

    def put(self, codes: Codes, index: np.ndarray, where: str) -> Codes:
        """The tensor whose codes stand at ``index`` (C, H, W) in another one, the code of 0 at -1."""
        layers = moves(index, codes.shape)
        if layers is None:
            raise AlloyError(f"{where} moves codes between pixels in a way that no layer does: keep to channels, "
                             "borders of zeros, every second pixel, nearest upsampling, and pixels of channels or back")
        for layer in layers:
            name = self.unique(f"{codes.name}_moved")
            shape = layer.shape(codes.shape)
            node = replace(layer, name=name, sources=(codes.name,), output=name).export(None)
            self.append(node, replace(self.tensors[codes.name], name=name, channels=shape[0], height=shape[1],
                                      width=shape[2]), None)
            codes = Codes(name, codes.grid, shape)
        return codes

    def end(self, step: Step) -> Value:
        """Leave out the last node, which changes no answer."""
        self.leave_out(step.where)
        return step.inputs[0]


def grid_of(scale: float, zero: np.ndarray, step: Step) -> Grid:
    """The grid of a scale and a zero point, whose type says its bits; empty: 8 bits without sign."""
    if not zero.size:
        return Grid(scale, 0, 0, 255)
    if zero.size != 1:
        step.refuse(f"has {zero.size} zero points: activations have one for the whole tensor")
    dtype = str(zero.dtype)
    if not dtype.removeprefix("u").startswith("int"):
        step.refuse(f"has codes of {dtype}: whole numbers of up to 8 bits are supported")
    bits, whole = int(dtype.removeprefix("u").removeprefix("int")), int(zero.flat[0])
    grid = Grid(scale, whole, 0, (1 << bits) - 1) if dtype[0] == "u" else Grid(
        scale, whole, -(1 << bits - 1), (1 << bits - 1) - 1)
    grid.check(step.where)
    return grid
