"""A PyTorch model as a list of operations, each value written once.

``torch.export`` records the functions of ATen that forward calls, with changes in place already resolved. Here, what
depends on weights alone is computed, and what only moves values (views, permutations, slices) becomes an index: which
element of which value stands where. Convolutions and linear layers take such an index into their weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass
import logging
import operator
import os
import re
from typing import Any
import warnings

import torch
from torch import fx, nn

from spec.errors import AlloyError
from spec.operators import LAYERS, Call, Layer

__all__ = ["Op", "Apply", "Norm", "Relu", "Add", "capture", "first_line", "supported", "INPUT"]

INPUT = "input"
BATCH = 2       # images that are exported: more than one, so that what mixes them is seen
# Functions that only move values, or leave out some.
MOVES = frozenset((
    "view reshape _unsafe_view flatten unflatten squeeze unsqueeze permute transpose t movedim slice select narrow "
    "split split_with_sizes chunk tensor_split unbind getitem clone contiguous alias detach dropout feature_dropout to "
    "channel_shuffle native_channel_shuffle flip roll index_select pixel_shuffle lift_fresh_copy"
).split())
CLAMPS = frozenset("relu relu6 hardtanh clamp clamp_min".split())
NORM = "_native_batch_norm_legit_no_training"       # with running statistics
# (scale, offset) of what a function makes of x and a constant.
AFFINE = {"mul": lambda c: (c, 0 * c), "div": lambda c: (1 / c, 0 * c), "add": lambda c: (0 * c + 1, c),
          "sub": lambda c: (0 * c + 1, -c)}


def supported() -> str:
    """What can be imported, as the end of a sentence."""
    layers = ", ".join(name for layer in LAYERS for name in layer.calls)
    return f"{layers}, linear, matmul, batch norm, ReLU, ReLU6, addition, and what only moves values are supported"


@dataclass(eq=False, kw_only=True)
class Op:
    """One operation, which makes the value ``name`` of the values ``inputs``.

    Attributes
    ----------
    where : "layer NAME (file, line)", for messages.
    module, call : path of the module of ``torch.nn`` that returns it, and in which of its calls.
    index : where the elements that it returns, of their own shape without the batch, stand in the value.
    """

    name: str
    inputs: tuple[str, ...]
    where: str = ""
    module: str | None = None
    call: int = 0
    index: torch.Tensor | None = None

    def apply(self, *x: torch.Tensor) -> torch.Tensor:
        """Its value for tensors (N, C, H, W)."""
        raise NotImplementedError


@dataclass(eq=False, kw_only=True)
class Apply(Op):
    """A layer; its sources are :attr:`inputs`."""

    layer: Layer

    def apply(self, *x: torch.Tensor) -> torch.Tensor:
        return self.layer.apply(torch, *x)


@dataclass(eq=False, kw_only=True)
class Norm(Op):
    """``(x - mean) * scale + bias`` of each channel. ``what`` is its name in a message; ``gain`` is the trained weight
    of a batch norm, by which the standard deviation is multiplied, None if it is none."""

    mean: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor
    gain: torch.Tensor | None = None
    what: str = "a batch norm"

    def apply(self, *x: torch.Tensor) -> torch.Tensor:
        return (x[0] - self.mean[:, None, None]) * self.scale[:, None, None] + self.bias[:, None, None]


@dataclass(eq=False, kw_only=True)
class Relu(Op):
    """ReLU, or ReLU6 with a ``cap``."""

    cap: float | None = None

    def apply(self, *x: torch.Tensor) -> torch.Tensor:
        return x[0].clamp(0, self.cap)


@dataclass(eq=False, kw_only=True)
class Add(Op):
    """The sum of two values of one shape."""

    def apply(self, *x: torch.Tensor) -> torch.Tensor:
        return x[0] + x[1]


class _Once(nn.Module):
    """The model called with one tensor, as Alloy calls it: all other arguments of its forward have their defaults."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)


def first_line(error: BaseException) -> str:
    """What an error of PyTorch says, in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def capture(model: nn.Module, shape: tuple[int, int, int]) -> tuple[list[Op], str]:
    """(operations in execution order, name of the value that is returned) of ``model`` for inputs of ``shape``
    (C, H, W).

    Raises :class:`AlloyError` naming the first layer that is not supported and the layers that are.
    """
    log = logging.getLogger("torch.export")
    level = log.level
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            log.setLevel(logging.ERROR)
            # Fake tensors: nothing is computed. An empty table of decompositions still resolves changes in place.
            program = torch.export.export(_Once(model), (torch.zeros(BATCH, *shape),), strict=False)
            program = program.run_decompositions({})
    except Exception as error:  # forward is the user's: it may raise anything when it is given no real tensor
        raise AlloyError(f"the model's forward cannot be traced ({first_line(error)}): avoid control flow, .item(), "
                         "NumPy and other Python functions that depend on data") from None
    finally:
        log.setLevel(level)
    reader = _Reader(program, shape)
    for node in program.graph.nodes:
        if node.op == "call_function":
            reader.read(node)
    return reader.result()


@dataclass(frozen=True)
class _View:
    """What a node stands for: ``index``, of its shape (``BATCH`` images), are positions in the ``value`` (N, C, H, W),
    flat."""

    value: str
    index: torch.Tensor


def _whole(shape):
    """The index of a whole value of ``shape`` (C, H, W)."""
    return torch.arange(BATCH * shape[0] * shape[1] * shape[2]).reshape(BATCH, *shape)


class _Reader:
    """Reads the nodes of an exported program one by one."""

    def __init__(self, program, shape):
        self._signature = program.graph_signature
        self._ops: list[Op] = []
        self._shapes = {INPUT: tuple(shape)}
        self._known: dict[str, Any] = {}        # node -> _View, or a tensor that depends on weights alone
        for given in self._signature.input_specs:
            name = given.arg.name
            if given.kind is torch.export.graph_signature.InputKind.USER_INPUT:
                self._known[name] = _View(INPUT, _whole(shape))
            else:
                state = program.state_dict if given.target in program.state_dict else program.constants
                self._known[name] = state[given.target].detach()

    def result(self):
        """(operations that the output depends on, name of the output's value)."""
        names = self._signature.user_outputs
        if len(names) != 1 or not isinstance(self._known.get(names[0]), _View):
            raise AlloyError("the model returns several values, none, or one that does not depend on the image: return "
                             "one tensor")
        out = self._known[names[0]]
        if not torch.equal(out.index.flatten(), _whole(self._shapes[out.value]).flatten()):
            raise AlloyError("the model returns the values of its last layer in another order, or only some of them: "
                             "return that layer's tensor")
        needed, ops = {out.value}, []
        for op in reversed(self._ops):
            if op.name in needed:
                needed.update(op.inputs)
                ops.append(op)
        return ops[::-1], out.value

    def read(self, node):
        """Append the operation of one node, or note what it moves or computes of weights."""
        given = [self._of(value) for value in (*node.args, *node.kwargs.values())]
        if not any(isinstance(value, _View) for value in _flat(given)):
            self._known[node.name] = node.target(*fx.node.map_arg(node.args, lambda n: self._known[n.name]),
                                                 **fx.node.map_arg(node.kwargs, lambda n: self._known[n.name]))
            return
        kind, arguments = self._arguments(node)
        if kind == "getitem" and isinstance(arguments["self"], tuple):
            self._known[node.name] = arguments["self"][arguments["item"]]
        elif kind in MOVES or self._keeps(node, kind, arguments):
            self._move(node, kind)
        else:
            self._append(node, kind, arguments)

    def _of(self, value):
        if isinstance(value, fx.Node):
            return self._known[value.name]
        return [self._of(v) for v in value] if isinstance(value, list | tuple) else value

    def _arguments(self, node):
        """(name of the function, all its arguments by name)."""
        if node.target is operator.getitem:
            return "getitem", {"self": self._of(node.args[0]), "item": node.args[1]}
        schema = node.target._schema
        names = [argument.name for argument in schema.arguments]
        given = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
        given |= {name: self._of(value) for name, value in zip(names, node.args, strict=False)}
        return schema.name.split("::")[-1], given | {name: self._of(value) for name, value in node.kwargs.items()}

    # -- places ------------------------------------------------------------------------------------------------------
    def _where(self, node):
        """(path of the module of ``torch.nn`` that calls it or None, "layer NAME (file, line)")."""
        path, kind = [("", ""), *(node.meta.get("nn_module_stack") or {}).values()][-1]
        path = path.partition("@")[0].removeprefix("model").removeprefix(".")
        if not str(kind).startswith("torch.nn.modules."):
            path = ""
        trace = re.findall(r'File "(.*)", line (\d+)', node.meta.get("stack_trace") or "")
        own = [(file, line) for file, line in trace if file != __file__ and f"{os.sep}torch{os.sep}" not in file]
        at = f" ({os.path.basename(own[-1][0])}, line {own[-1][1]})" if own else ""
        return path or None, f"layer {path or node.name}{at}"

    def _name(self, node, path):
        """A name for the value of a node that no other has."""
        wanted = (path or node.name).replace(".", "_")
        name = wanted = f"_{wanted}" if wanted[0].isdigit() else wanted
        count = 0
        while name in self._shapes:
            count += 1
            name = f"{wanted}_{count}"
        return name

    # -- what only moves ---------------------------------------------------------------------------------------------
    def _keeps(self, node, kind, arguments):
        """An adaptive pool to the size that the map has."""
        return kind.startswith("adaptive_") and node.meta["val"].shape == arguments["self"].index.shape

    def _move(self, node, kind):
        views = {view.value for view in _flat(self._of(node.args)) if isinstance(view, _View)}
        value, where = views.pop(), self._where(node)[1]
        if kind in MOVES:
            index = fx.node.map_arg((node.args, node.kwargs), lambda n: getattr(self._known[n.name], "index",
                                                                                self._known[n.name]))
            moved = node.target(*index[0], **index[1])
        else:
            moved = self._of(node.args[0]).index
        size = int(torch.tensor(self._shapes[value]).prod())

        def view(index):
            if len(index) != BATCH or not torch.equal(index[1], index[0] + size) or index[0].max() >= size:
                raise AlloyError(f"{where} mixes images: keep the first dimension as it is")
            return _View(value, index.contiguous())
        self._known[node.name] = tuple(map(view, moved)) if isinstance(moved, list | tuple) else view(moved)

    # -- what computes -----------------------------------------------------------------------------------------------
    def _append(self, node, kind, arguments):
        path, where = self._where(node)
        layer = next((layer for layer in LAYERS if kind in layer.calls), None)
        name, index = self._name(node, path), None
        if kind == NORM or kind in AFFINE and len(_views(arguments)) == 1:
            op, index = self._affine(name, kind, arguments, where)
        elif kind in CLAMPS:
            view = arguments["self"]
            op, index = Relu(name=name, inputs=(view.value,), cap=_cap(kind, arguments, where)), view.index
        elif kind == "add":
            op, index = self._sum(name, arguments, where)
        elif kind == "linear" or kind == "matmul" and [arguments["self"]] == _views(arguments):
            op, index = self._linear(name, arguments, where)
        elif layer is not None:
            op = self._layer(name, layer, kind, arguments, where)
        else:
            raise AlloyError(f"{where} is {kind}, which is not supported: {supported()}")
        op.module, op.where = path, where
        op.call = int([*(node.meta.get("nn_module_stack") or {}), ""][-2 if path else -1].partition("@")[2] or 0)
        if path and self._ops and (self._ops[-1].module, self._ops[-1].call) == (path, op.call):
            self._ops[-1].module = None         # only the last of a call's operations makes what it returns
        shapes = tuple(self._shapes[source] for source in op.inputs)
        self._shapes[name] = op.layer.shape(*shapes) if isinstance(op, Apply) else shapes[0]
        self._ops.append(op)
        if index is None:
            index = _whole(self._shapes[name]).reshape(node.meta["val"].shape)
        op.index = index[0]
        self._known[node.name] = _View(name, index.contiguous())
        if kind == NORM:        # its first result of three
            self._known[node.name] = (self._known[node.name],)

    def _layer(self, name, layer, kind, arguments, where):
        """A layer of maps; one that reads chosen channels reads all of them, with weights of 0."""
        sources, channels = [], []
        for view in _views(arguments):
            sources.append(view.value)
            channels.append(self._channels(view, where))
        rest = {key: value for key, value in arguments.items() if not any(True for _ in _views({key: value}))}
        shapes = tuple(self._shapes[source] for source in sources)
        if any(chosen is not None for chosen in channels):
            if kind != "conv2d" or rest["groups"] != 1:
                raise AlloyError(f"{where} reads channels in another order, or only some of them, which only "
                                 "convolutions without groups and linear layers can: make them one")
            whole = rest["weight"].new_zeros(len(rest["weight"]), shapes[0][0], *rest["weight"].shape[2:])
            rest["weight"] = whole.index_add(1, channels[0], rest["weight"])
        return Apply(name=name, inputs=tuple(sources), layer=layer.read(Call(name, where, kind, tuple(sources), shapes,
                                                                             rest)))

    def _channels(self, view, where):
        """The channels that a view shows, each a whole map in its order; None for all as they are."""
        channels, rows, cols = self._shapes[view.value]
        index, size = view.index[0], rows * cols
        if torch.equal(view.index.flatten(), _whole(self._shapes[view.value]).flatten()) and (
                index.shape == (channels, rows, cols)):
            return None
        first = index.reshape(len(index), -1)[:, 0] if index.dim() == 3 else torch.zeros(0, dtype=torch.long)
        if index.dim() != 3 or index.shape[1:] != (rows, cols) or not torch.equal(
                index, (first[:, None] + torch.arange(size)).reshape(index.shape)) or (first % size).any():
            raise AlloyError(f"{where} reads a tensor {tuple(index.shape)} that is made of one of "
                             f"{channels}x{rows}x{cols} by moving values between its pixels: only channels can be "
                             "moved")
        return first // size

    def _linear(self, name, arguments, where):
        """A linear layer: a convolution over the whole map, or of 1x1 where its features are the channels of pixels."""
        if "weight" in arguments:
            view, weight, bias = arguments["input"], arguments["weight"], arguments["bias"]
        else:
            view, weight, bias = arguments["self"], arguments["other"].t(), None
        channels, rows, cols = shape = self._shapes[view.value]
        index, size = view.index[0], rows * cols
        if index.dim() == 1:
            whole = weight.new_zeros(len(weight), channels * size).index_add(1, index, weight)
            whole, moved = whole.reshape(-1, *shape), None
        else:
            pixels = index.reshape(-1, index.shape[-1])
            first = pixels[0] // size
            if not torch.equal(pixels, first * size + torch.arange(len(pixels))[:, None]) or len(pixels) != size:
                raise AlloyError(f"{where} is applied to {tuple(index.shape)}, whose last dimension is not the "
                                 "channels of a pixel: flatten the whole tensor before it, or move the channels last")
            whole = weight.new_zeros(len(weight), channels).index_add(1, first, weight)[:, :, None, None]
            moved = _whole((len(weight), rows, cols)).movedim(1, -1).reshape(BATCH, *index.shape[:-1], -1)
        rest = {"weight": whole, "bias": bias, "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}
        layer = next(layer for layer in LAYERS if "conv2d" in layer.calls)
        call = Call(name, where, "conv2d", (view.value,), (shape,), rest)
        return Apply(name=name, inputs=(view.value,), layer=layer.read(call)), moved

    def _affine(self, name, kind, arguments, where):
        view = next(iter(_views(arguments)))
        channels = self._shapes[view.value][0]
        if kind == NORM:
            mean, var = arguments["running_mean"], arguments["running_var"]
            weight, bias = arguments["weight"], arguments["bias"]
            gain = torch.ones_like(mean) if weight is None else weight
            offset = torch.zeros_like(mean) if bias is None else bias
            self._channels_stay(view, where)
            return Norm(name=name, inputs=(view.value,), mean=mean.clone(), bias=offset.clone(), gain=gain.clone(),
                        scale=gain / torch.sqrt(var + arguments["eps"])), view.index
        other = arguments["other"]
        constant = torch.as_tensor(arguments["self"] if isinstance(other, _View) else other).float()
        if isinstance(other, _View) and kind in ("sub", "div") or arguments.get("alpha", 1) != 1:
            raise AlloyError(f"{where} is {kind} of a constant and a tensor, which is not supported: {supported()}")
        self._channels_stay(view, where)
        while constant.dim() > 1 and constant.shape[0] == 1:
            constant = constant[0]
        if constant.numel() not in (1, channels) or constant.numel() > 1 and constant.dim() != view.index.dim() - 1:
            raise AlloyError(f"{where} has a constant of shape {tuple(constant.shape)}: only one for all values or one "
                             "for each channel is supported")
        scale, bias = (value.expand(channels).clone() for value in AFFINE[kind](constant.flatten()))
        return Norm(name=name, inputs=(view.value,), mean=torch.zeros(channels), scale=scale, bias=bias,
                    what=f"{kind} with a constant"), view.index

    def _channels_stay(self, view, where):
        """Whether channel c of a view, its first dimension behind the batch, is channel c of its value."""
        shape = self._shapes[view.value]
        if not torch.equal(view.index.flatten(), _whole(shape).flatten()) or view.index.shape[1] != shape[0]:
            raise AlloyError(f"{where} works on channels in another order, or only on some of them: do it where the "
                             "tensor is made")

    def _sum(self, name, arguments, where):
        one, other = arguments["self"], arguments["other"]
        if arguments.get("alpha", 1) != 1:
            raise AlloyError(f"{where} adds {arguments['alpha']} times a tensor: only sums are supported")
        shapes = [self._shapes[view.value] for view in (one, other)]
        if shapes[0] != shapes[1] or not torch.equal(one.index, other.index):
            texts = ["x".join(map(str, view.index.shape[1:])) for view in (one, other)]
            what = (f"of {texts[0]} and {texts[1]}, one of which is repeated" if texts[0] != texts[1] else
                    "whose values stand in another order")
            raise AlloyError(f"{where} adds tensors {what}: give both the same shape")
        return Add(name=name, inputs=(one.value, other.value)), one.index


def _cap(kind, arguments, where):
    """The upper bound of what clamps at 0, or None."""
    match kind:
        case "relu":
            return None
        case "relu6":
            return 6.0
        case "hardtanh":
            low, high = arguments["min_val"], arguments["max_val"]
        case _:
            low, high = arguments["min"], arguments.get("max")
    if low != 0 or high is not None and (not isinstance(high, int | float) or high <= 0):
        raise AlloyError(f"{where} clamps to {low}..{high}: only 0 and a number above it are supported")
    return None if high is None else float(high)


def _flat(values) -> Iterator[Any]:
    """The values of nested lists."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


def _views(arguments) -> list[_View]:
    return [value for value in _flat(arguments.values()) if isinstance(value, _View)]
