"""TFLite files: read without trust, as tables of tensors and operators."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from spec.errors import AlloyError
from spec.looks import looks_like

from ..grids.files import WEIGHTS, content

__all__ = ["File", "Node", "Tensor", "read"]

MOST = 20_000           # tensors, operators and buffers
RANK = 8                # dimensions of a tensor
FAN = 1_000             # tensors that one operator reads or makes
NAME = 60               # characters of a name that are kept
AGAIN = "convert the model again"


def _names(enumeration):
    return {value: name for name, value in vars(enumeration).items() if not name.startswith("_")}


OPERATORS, TYPES = _names(schema.BuiltinOperator), _names(schema.TensorType)
OPTIONS = _names(schema.BuiltinOptions)
DTYPES = {"FLOAT32": "<f4", "FLOAT16": "<f2", "FLOAT64": "<f8", "INT8": "i1", "UINT8": "u1", "INT16": "<i2",
          "UINT16": "<u2", "INT32": "<i4", "UINT32": "<u4", "INT64": "<i8", "UINT64": "<u8", "BOOL": "?"}


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of a file.

    Attributes
    ----------
    name, shape : as the file has them; -1: a dimension that is left open. dtype : its type, such as "INT8".
    scale, zero : of its codes, arrays of one number, of one for each element along ``axis``, or empty.
    content : bytes of a constant, empty for what is computed.
    plain : whether the content is all values one after the other, and the scales are such as above.
    """
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: np.ndarray
    zero: np.ndarray
    axis: int
    content: np.ndarray = field(repr=False)
    plain: bool = True

    @cached_property
    def value(self) -> np.ndarray:
        """The constant."""
        count, content = int(np.prod(self.shape, dtype=np.int64)), self.content
        if not self.plain or self.dtype not in (*DTYPES, "INT4"):
            raise AlloyError(f"the constant {self.name} is sparse or of type {self.dtype}, which is not supported: "
                             f"{AGAIN} without it")
        if self.dtype == "INT4":     # two in a byte, the first in the low half
            content = (np.stack([content << 4, content], 1).view(np.int8) >> 4).ravel()[:count]
        dtype = np.dtype(DTYPES.get(self.dtype, "i1"))
        if min(self.shape, default=1) < 0 or content.nbytes != count * dtype.itemsize:
            raise AlloyError(f"the constant {self.name} of {'x'.join(map(str, self.shape))} values has "
                             f"{self.content.nbytes} bytes: the file is damaged, {AGAIN}")
        return content.view(dtype).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Node:
    """One operator: ``inputs`` and ``outputs`` are indices of tensors, -1 for what is left out; ``options`` has those
    of the library's class for it, None if there are none."""
    op_type: str
    index: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any


@dataclass(frozen=True, eq=False)
class File:
    """What a file holds."""
    tensors: list[Tensor]
    nodes: list[Node]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read(path: str | Path) -> File:
    """The first graph of a TFLite file; nothing of it is executed.

    Raises :class:`AlloyError`, one sentence for each kind of damage.
    """
    path = Path(path)
    data = content(path, "a TFLite", "take a smaller model")
    if data[4:8] != b"TFL3":
        found = looks_like(data)
        raise AlloyError(f"{path} is no TFLite file, it looks like {found}: give a model that ends in .tflite")
    try:
        return _file(data)
    except AlloyError as error:
        raise AlloyError(f"{path} cannot be read ({error})") from None
    except Exception as error:      # of the library, which trusts what it reads
        raise AlloyError(f"{path} is no whole TFLite file ({type(error).__name__} while reading it: it is damaged or "
                         f"cut off): {AGAIN}") from None


def _file(data):
    model = schema.Model.GetRootAs(data, 0)
    if not model.SubgraphsLength():
        raise AlloyError(f"it has no graph: {AGAIN}")
    graph = model.Subgraphs(0)
    codes = [_op_type(model.OperatorCodes(at)) for at in _range(model.OperatorCodesLength(), "operator codes")]
    buffers = [_buffer(data, model.Buffers(at)) for at in _range(model.BuffersLength(), "buffers")]
    tensors = [_tensor(graph.Tensors(at), buffers, f"tensor_{at}") for at in _range(graph.TensorsLength(), "tensors")]
    nodes = [_node(graph.Operators(at), codes, at, len(tensors))
             for at in _range(graph.OperatorsLength(), "operators")]
    return File(tensors, nodes, *(_indices(one, len(tensors), 0) for one in (
        graph.InputsAsNumpy(), graph.OutputsAsNumpy())))


def _range(count, what) -> Iterator[int]:
    if count > MOST:
        raise AlloyError(f"it says that it has {count} {what}, more than {MOST}: it is damaged, {AGAIN}")
    return iter(range(count))


def _array(found, most):
    """A vector of the file; the library gives 0 for none. Nothing is copied."""
    if isinstance(found, int):
        return np.zeros(0, np.int32)
    if len(found) > most:
        raise AlloyError(f"it has a list of {len(found)} numbers where {most} are the most: it is damaged, {AGAIN}")
    return found


def _indices(found, count, least=-1):
    found = tuple(_array(found, FAN).tolist())
    wrong = [one for one in found if not least <= one < count]
    if wrong:
        raise AlloyError(f"it names tensor {wrong[0]} of {count}: it is damaged, {AGAIN}")
    return found


def _op_type(code):
    """The old field holds the first 127 operators."""
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    name = OPERATORS.get(number, f"OPERATOR_{number}")
    return (code.CustomCode() or b"CUSTOM").decode(errors="replace")[:NAME] if name == "CUSTOM" else name


def _buffer(data, buffer):
    if buffer.Offset() > 1:         # beside the tables, in files of more than 2 GiB
        if buffer.Offset() + buffer.Size() > len(data):
            raise AlloyError(f"it takes weights from behind its end: it is cut off, {AGAIN}")
        return np.frombuffer(data, np.uint8, buffer.Size(), buffer.Offset())
    return _array(buffer.DataAsNumpy(), len(data)).view(np.uint8)


def _tensor(tensor, buffers, name):
    quantization, shape = tensor.Quantization(), _array(tensor.ShapeAsNumpy(), RANK)
    signature = _array(tensor.ShapeSignatureAsNumpy(), RANK)
    if len(signature) == len(shape):
        shape = np.where(signature < 0, -1, shape)
    if len(shape) and (shape < -1).any():
        raise AlloyError(f"it has a tensor of {'x'.join(map(str, shape.tolist()))} values: it is damaged, {AGAIN}")
    scale, zero, axis, plain = np.zeros(0, np.float32), np.zeros(0, np.int64), 0, tensor.Sparsity() is None
    if quantization is not None:
        scale, zero = (_array(one, WEIGHTS) for one in (quantization.ScaleAsNumpy(), quantization.ZeroPointAsNumpy()))
        axis, plain = quantization.QuantizedDimension(), plain and not quantization.DetailsType()
    if not 0 <= tensor.Buffer() < max(1, len(buffers)):
        raise AlloyError(f"it names buffer {tensor.Buffer()} of {len(buffers)}: it is damaged, {AGAIN}")
    content = buffers[tensor.Buffer()] if buffers else np.zeros(0, np.uint8)
    return Tensor((tensor.Name() or b"").decode(errors="replace").split(";")[0][-NAME:] or name, tuple(shape.tolist()),
                  TYPES.get(tensor.Type(), f"type {tensor.Type()}"), scale, zero.astype(np.int64), axis, content, plain)


def _node(node, codes, index, tensors):
    if not 0 <= node.OpcodeIndex() < len(codes):
        raise AlloyError(f"it names operator code {node.OpcodeIndex()} of {len(codes)}: it is damaged, {AGAIN}")
    table, name, options = node.BuiltinOptions(), OPTIONS.get(node.BuiltinOptionsType(), "NONE"), None
    if table is not None and name != "NONE":
        options = getattr(schema, f"{name}T").InitFromBuf(table.Bytes, table.Pos)
    return Node(codes[node.OpcodeIndex()], index, _indices(node.InputsAsNumpy(), tensors),
                _indices(node.OutputsAsNumpy(), tensors, 0), options)
