"""TFLite graphs of 8-bit codes to integer networks: weights, scales and zero points are taken as they are."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from spec.errors import AlloyError
from spec.network import Network
from spec.operators.lookup import CODES, Lookup
from spec.operators.operator import Operator
from spec.operators.select import Select
from spec.operators.spread import Spread

from ..grids.draft import LARGEST, Draft
from ..grids.emit import Finding, codes_tensor, convolution, finding_of
from ..grids.values import Codes, Grid, Sum
from . import arrange
from .files import File
from .moves import MOVES
from .step import Step, Value, View, grid_of, in_order

__all__ = ["READERS", "Reader", "four", "is_map", "mapped", "reads", "wanted", "whole"]

CLOSE = 1e-6            # relative difference of two scales that are the same
ENDS = ("SOFTMAX", "LOG_SOFTMAX", "ARG_MAX")
BEHIND = ("QUANTIZE", "DEQUANTIZE", *MOVES)     # what may come behind these
CONSTANT = ("SHAPE", "PACK", "REDUCE_PROD", "CAST", "CONCATENATION", "DEQUANTIZE")
READERS: dict[str, Callable[["Reader", Step], Value | tuple[Value, ...]]] = {}


def reads(*op_types: str) -> Callable:
    """Decorator: reads operators of these names."""
    def enter(one):
        READERS.update(dict.fromkeys(op_types, one))
        return one
    return enter


class Reader(Draft[int]):
    """Takes operator by operator and appends nodes of the integer network."""

    def __init__(self, name: str, file: File, size: tuple[int, int] | None):
        super().__init__(name)
        self.file = file
        self.tables: dict[str, tuple[Codes, np.ndarray]] = {}   # of what tables make: their source, q of each code
        self._arranged: dict[tuple[str, tuple[int, ...], bytes], Codes] = {}
        self.input = self._input(size)
        self.shape = self.input.codes.shape

    # -- the graph ---------------------------------------------------------------------------------------------------
    def read(self) -> Network:
        """The network; :class:`spec.network.Parts` of it if anything is :attr:`refused`."""
        file = self.file
        values: dict[int, Value] = {-1: None, file.inputs[0]: self.input}
        made = {one for node in file.nodes for one in node.outputs}
        for node in file.nodes:
            name, where = self._label(node)
            with self.refusing(where, node.outputs):
                self._check_op_type(node.op_type, where)
                if not self.skips(node.inputs, node.outputs):
                    self._read(node, name, where, values, made)
        return self.parts() if self.refused else self._network(values.get(file.outputs[0]))

    def _read(self, node, name, where, values, made):
        """Enter into the ``values`` what an operator makes of them; ``made`` are those that some operator makes."""
        tensors = self.file.tensors
        for one in set(node.inputs) - values.keys():
            if one in made:
                raise AlloyError(f"{where} reads {tensors[one].name}, which nothing before it makes: convert the model "
                                 "again")
            values[one] = tensors[one].value
        step = Step(node, name, where, [tensors[one] if one >= 0 else None for one in node.inputs],
                    [tensors[one] for one in node.outputs], [values[one] for one in node.inputs])
        try:
            out = self._take(step)
            values.update(zip(node.outputs, out if isinstance(out, tuple) else (out,), strict=True))
        except AlloyError:
            raise
        except (ValueError, IndexError, TypeError, OverflowError) as error:      # of NumPy, for what does not fit
            raise AlloyError(f"{where} does not fit what it reads ({error}): convert the model again") from None

    def _label(self, node):
        """(name of the layer, how messages call it)."""
        name = self.file.tensors[node.outputs[0]].name if node.outputs else ""
        name = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_") or f"{node.op_type.lower()}_{node.index}"
        return name, f"layer {name} ({node.op_type} operator {node.index})"

    @staticmethod
    def _check_op_type(op_type, where):
        if op_type not in {*READERS, *MOVES, *CONSTANT, *ENDS}:
            raise AlloyError(f"{where} is {op_type}, which is not supported: write the model with the operators of "
                             "docs/tflite.md")

    def _take(self, step):
        views = [one for one in step.inputs if isinstance(one, View)]
        if any(view.ended for view in views):
            if step.op_type not in BEHIND:
                step.refuse(f"comes behind {self.ended}, which is left out: end the model there")
            return tuple(step.inputs[:1]) * len(step.made)
        if step.op_type == "SHAPE" and views:
            return np.array(views[0].index.shape)
        if not views:
            return _folded(step)
        if step.op_type in ENDS:
            self.leave_out(step.where)
            return replace(views[0], ended=True)
        if step.op_type in MOVES:
            return self._moved(step, views)
        if step.op_type not in READERS:
            step.refuse(f"is {step.op_type} of what depends on the image, which is not supported: only constants are")
        return READERS[step.op_type](self, step)

    def _moved(self, step, views):
        view = views[0]
        if len(views) > 1:
            step.refuse("depends on the image in several inputs: only constants are supported beside the first")
        if not view.real:
            self.check_same(step, view)
            if step.op_type == "PADV2" and step.ints(2) != [view.codes.grid.zero]:
                step.refuse(f"pads with the code {step.ints(2)}: only that of 0, {view.codes.grid.zero}, is supported")
        found = MOVES[step.op_type](step, view.index)
        parts = found if isinstance(found, tuple) else (found,)
        if not all(part.size for part in parts):
            step.refuse("makes a tensor without values: convert the model again")
        return tuple(replace(view, index=part) for part in parts)

    def check_same(self, step: Step, view: View) -> None:
        """Raise :class:`AlloyError` where codes are kept and would stand for something else."""
        for index in range(len(step.made)):
            grid, old = step.grid(index), view.codes.grid
            if not np.isclose(grid.scale, old.scale, CLOSE) or grid.zero - grid.low != old.origin:
                step.refuse(f"keeps codes of scale {old.scale:g} and zero point {old.zero} and says that they have "
                            f"{grid.scale:g} and {grid.zero}: convert the model again")

    def _network(self, out):
        if not isinstance(out, View):
            raise AlloyError("the output does not depend on the image: convert the model again")
        if not self.nodes:
            raise AlloyError("the model returns its input: there is nothing to compute")
        codes, index = out.codes, out.index
        if not is_map(out) and np.array_equal(np.sort(index, None), np.arange(int(np.prod(codes.shape)))):
            self.findings.append(Finding("the output", 0.0, 0, f"the output of {'x'.join(map(str, index.shape))} "
                                         f"values stays a map of {'x'.join(map(str, codes.shape))} (channels, rows, "
                                         "columns)"))
        else:
            codes = self.settle(out, "the output")
        needed, nodes = {codes.name}, []
        for node in reversed(self.nodes):       # tables that were put together leave some that nobody reads
            if node.output in needed:
                needed.update(node.inputs)
                nodes.append(node)
        made = {self.input_name, *(node.output for node in nodes)}
        return Network(name=self.name, input=self.input_name, output=codes.name,
                       tensors={name: one for name, one in self.tensors.items() if name in made}, nodes=nodes[::-1])

    # -- the input ---------------------------------------------------------------------------------------------------
    def _input(self, size):
        file = self.file
        if len(file.inputs) != 1 or len(file.outputs) != 1:
            raise AlloyError(f"{self.name} has {len(file.inputs)} inputs and {len(file.outputs)} outputs: convert a "
                             "model that takes one tensor of images and returns one tensor")
        tensor = file.tensors[file.inputs[0]]
        shape, seen = self._sized(tensor, size), self._seen(file.inputs[0])
        first = len(shape) == 4 and seen is not None and seen.op_type == "TRANSPOSE" and list(
            file.tensors[seen.inputs[1]].value.ravel()) == [0, 2, 3, 1]
        if first:       # of a model that was written channels first
            chw = shape[1:]
        else:
            later = file.tensors[seen.outputs[0]].shape if seen is not None and seen.op_type != "TRANSPOSE" else ()
            image = later if len(shape) < 4 and len(later) == 4 and np.prod(later) == np.prod(shape) else shape
            image = (1,) * (4 - len(image)) + tuple(image)
            chw = image[3], image[1], image[2]
        index = np.arange(np.prod(chw), dtype=np.int32).reshape(shape) if first else in_order(chw).reshape(shape)
        self.input_name = self.unique("input")
        real = tensor.dtype == "FLOAT32"
        # Real numbers have no codes before the first QUANTIZE says which.
        grid = Grid(0.0, 0, 0, 0) if real else grid_of(tensor, "the input")
        view = View(Codes(self.input_name, grid, chw), index, real)
        if not real:
            self.enter(view, grid)
        return view

    def enter(self, view: View, grid: Grid) -> View:
        """The input as codes of ``grid``."""
        if self.input_name in self.tensors:
            old = self.tensors[self.input_name]
            assert old.scale is not None
            if (old.scale, old.zero, old.bits) != (grid.scale, grid.origin, grid.bits):
                raise AlloyError(f"the input is quantized with the scale {old.scale:g} and with {grid.scale:g}: "
                                 "convert a model that does it once")
        self.tensors[self.input_name] = codes_tensor(self.input_name, view.codes.shape, grid)
        return View(replace(view.codes, grid=grid), view.index)

    def _seen(self, tensor):
        """The one operator that reads a tensor first, behind its quantization; None if there are several."""
        readers = [node for node in self.file.nodes if tensor in node.inputs]
        if len(readers) == 1 and readers[0].op_type == "QUANTIZE" and readers[0].outputs:
            return self._seen(readers[0].outputs[0])
        if len(readers) == 1 and readers[0].outputs and (readers[0].op_type in ("RESHAPE", "EXPAND_DIMS") or (
                readers[0].op_type == "TRANSPOSE" and len(readers[0].inputs) > 1)):
            return readers[0]
        return None

    def _sized(self, tensor, size):
        """The shape of one image in the file's order."""
        shape, text = list(tensor.shape), "x".join("?" if one < 0 else str(one) for one in tensor.shape)
        if not 2 <= len(shape) <= 4:
            raise AlloyError(f"{self.name} reads {tensor.name} of {len(shape)} dimensions ({text}): convert a model "
                             "that reads images (1, rows, columns, channels)")
        if shape[0] not in (-1, 1):
            raise AlloyError(f"{self.name} reads {shape[0]} images at once: convert it for one")
        if len(shape) == 4 and size is not None:
            if any(old not in (-1, new) for old, new in zip(shape[1:3], size, strict=True)):
                raise AlloyError(f"{self.name} reads images {text}, and the size {'x'.join(map(str, size))} was asked "
                                 "for: leave it out, or convert the model for that size")
            shape[1:3] = size
        shape[0] = 1
        if any(one < 0 for one in shape):
            raise AlloyError(f"{self.name} reads images {text}, whose size is open: say how large with --size "
                             "ROWSxCOLUMNS")
        if min(shape) < 1 or np.prod(shape, dtype=np.float64) > LARGEST:
            raise AlloyError(f"{self.name} reads images {text}: convert it for images of a size that exists")
        return tuple(shape)

    # -- values ------------------------------------------------------------------------------------------------------
    def settle(self, view: View, where: str) -> Codes:
        """A tensor whose values stand as in the file: the last dimension are the channels."""
        return self._put(view.codes, wanted(view, where), where)

    def _put(self, codes, index, where):
        if arrange.is_whole(index, codes.shape):
            return codes
        key = codes.name, index.shape, index.tobytes()
        if key not in self._arranged:
            self._arranged[key] = self._put_by_node(codes, index, where)
        return self._arranged[key]

    def _put_by_node(self, codes, index, where):
        name = self.unique(f"{codes.name}_placed")
        tensor = replace(self.tensors[codes.name], name=name, channels=index.shape[0], height=index.shape[1],
                         width=index.shape[2])
        made = arrange.chosen(index, codes.shape)
        node: Operator | None = None
        if made is not None:
            node = Select(name=name, input=codes.name, output=name, **made._asdict())
        for find, far in ((lambda: arrange.repeated(index), False), (lambda: arrange.apart(index, codes.shape), True)):
            found = find() if node is None else None
            if found is not None:
                up, inner = found
                node = Spread(name=name, input=self._put(codes, inner, where).name, output=name, up=up, apart=far)
        if node is None:
            raise AlloyError(f"{where} reads values that were moved in a way that no step of the engine does: keep to "
                             "crops, borders, chosen channels, every second pixel, and upsampling by 2, 3, 5 and 7")
        self.append(node, tensor, None)
        return Codes(name, codes.grid, index.shape)

    def table(self, view: View, codes: np.ndarray, grid: Grid, step: Step) -> View:
        """A function of each code: ``codes``, q of ``grid``, for every code of the source. Functions of functions are
        one table."""
        if (view.index < 0).any():
            view = whole(self.settle(view, step.where), view.index.shape)
        source, values = self.root(view.codes)
        values = codes[values - view.codes.grid.low]
        if source is view.codes and np.array_equal(values - grid.low, np.arange(len(values))) and (
                grid.origin == source.grid.origin and np.isclose(grid.scale, source.grid.scale, CLOSE)):
            return replace(view, codes=replace(source, grid=grid))
        name = self.unique(step.name)
        full = np.zeros(CODES, np.uint8)
        full[:len(values)] = values - grid.low
        self.append(Lookup(name=name, input=source.name, output=name, table=full),
                    codes_tensor(name, source.shape, grid), finding_of(step.where, name))
        made = Codes(name, grid, source.shape)
        self.tables[name] = source, values
        return View(made, view.index)

    def root(self, codes: Codes) -> tuple[Codes, np.ndarray]:
        """The tensor that a tensor is a function of, and q for each code of that."""
        grid = codes.grid
        return self.tables.get(codes.name, (codes, np.arange(grid.low, grid.high + 1)))

    def round(self, made: Sum, grid: Grid, limits: tuple[int, int]) -> Codes:
        """A sum as a tensor of codes, between ``limits``."""
        low, high = (grid.scale * (one - grid.zero) for one in limits)
        name = self.unique(made.name)
        node, tensor, finding = convolution(replace(made, least=low, most=high), grid, name)
        self.append(node, tensor, finding)
        return Codes(name, grid, made.shape)


def _folded(step):
    """Constants of constants, such as the shape that a RESHAPE makes."""
    value = step.array(0)
    if step.op_type in MOVES:
        found = MOVES[step.op_type](step, step.array(1 if step.op_type == "SPLIT" else 0))
        return tuple(np.asarray(one) for one in found) if isinstance(found, tuple) else np.asarray(found)
    if step.op_type == "PACK":
        return np.stack([step.array(index) for index in range(len(step.inputs))], int(step.option("axis", 0)))
    if step.op_type == "CONCATENATION":
        return np.concatenate([step.array(index) for index in range(len(step.inputs))], int(step.option("axis", 0)))
    if step.op_type == "REDUCE_PROD":
        return value.prod(tuple(step.ints(1)), keepdims=bool(step.option("keepDims", False)))
    if step.op_type == "CAST":
        return value
    step.refuse("computes constants alone, which is not supported: convert the model with constants folded")


def four(shape: tuple[int, ...], where: str) -> tuple[int, int, int]:
    """(rows, columns, channels) of a shape of the file, the last dimensions of which these are."""
    rows, cols, channels = ((1, 1, 1) + tuple(shape))[-3:]
    if np.prod(shape) != rows * cols * channels:
        raise AlloyError(f"{where} works on {'x'.join(map(str, shape))} values: images (1, rows, columns, channels) "
                         "are supported")
    return rows, cols, channels


def wanted(view: View, where: str) -> np.ndarray:
    """(C, H, W), the index of a view's values."""
    return view.index.reshape(four(view.index.shape, where)).transpose(2, 0, 1)


def whole(codes: Codes, shape: tuple[int, ...]) -> View:
    """All of a tensor, in the file's shape."""
    return View(codes, in_order(codes.shape).reshape(shape))


def mapped(codes: Codes) -> View:
    """All of a tensor as images (1, rows, columns, channels)."""
    return whole(codes, (1, *codes.shape[1:], codes.shape[0]))


def is_map(view: View) -> bool:
    """Whether a view is its tensor as it is."""
    shape = (1, 1, 1) + view.index.shape
    return np.prod(shape[:-3]) == 1 and arrange.is_whole(
        view.index.reshape(shape[-3:]).transpose(2, 0, 1), view.codes.shape)
