"""A PyTorch model as a list of operations, each value written once.

What a model does in place (``x += y``, ``ReLU(inplace=True)``) rebinds every name of the tensor: who reads it later
reads the new value.
"""

from dataclasses import dataclass
import inspect
import operator
from operator import attrgetter
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from spec.errors import AlloyError
from spec.operators import LAYERS, Call, Layer

__all__ = ["Op", "Apply", "Norm", "Relu", "Add", "capture", "first_line", "supported", "INPUT"]

INPUT = "input"  # fx gives this name, a builtin of Python, to no node


def supported() -> str:
    """What can be imported, as the end of a sentence."""
    modules = ", ".join(name for layer in LAYERS for name in (*layer.modules, *layer.functions))
    return f"{modules}, BatchNorm2d, ReLU, ReLU6, Flatten and addition are supported"


@dataclass(eq=False, kw_only=True)
class Op:
    """One operation, which makes the value ``name`` of the values ``inputs``. ``module``: path of the module that is
    called."""

    name: str
    inputs: tuple
    module: str | None = None


@dataclass(eq=False, kw_only=True)
class Apply(Op):
    """A layer; its sources are :attr:`inputs`."""

    layer: Layer

    def apply(self, *x):
        return self.layer.apply(torch, *x)


@dataclass(eq=False, kw_only=True)
class Norm(Op):
    """Batch norm: ``(x - mean) * scale + bias``; ``gain`` is its trained weight, by which the standard deviation is
    multiplied."""

    mean: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor
    gain: torch.Tensor

    def apply(self, *x):
        return (x[0] - self.mean[:, None, None]) * self.scale[:, None, None] + self.bias[:, None, None]


@dataclass(eq=False, kw_only=True)
class Relu(Op):
    """ReLU, or ReLU6 with a ``cap``."""

    cap: float | None = None

    def apply(self, *x):
        return x[0].clamp(0, self.cap)


@dataclass(eq=False, kw_only=True)
class Add(Op):
    """The sum of two values of one shape."""

    def apply(self, *x):
        return x[0] + x[1]


class _Once(nn.Module):
    """The model called with one tensor, as Alloy calls it: all other arguments of its forward have their defaults."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)


class _Proxy(fx.Proxy):
    """Records ``x += y`` as what it is; fx takes it for ``x = x + y``, which other names of x would not see."""

    def __iadd__(self, other):
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})


class _Tracer(fx.Tracer):
    def proxy(self, node):
        return _Proxy(node, self)

    def path_of_module(self, mod):
        return super().path_of_module(mod).removeprefix("model.")

    def is_leaf_module(self, m, module_qualified_name):
        return m is not self.root.model and super().is_leaf_module(m, module_qualified_name)


def first_line(error: BaseException) -> str:
    """What an error of PyTorch says, in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def capture(model: nn.Module, shape: tuple[int, int, int]) -> tuple[list[Op], str]:
    """(operations in execution order, name of the value that is returned) of ``model`` for inputs of ``shape`` (C, H,
    W).

    Raises :class:`AlloyError` naming the first layer that is not supported and the layers that are.
    """
    try:
        graph = _Tracer().trace(_Once(model))
    except Exception as error:  # forward is the user's: it may raise anything when it is given no real tensor
        raise AlloyError(
            f"the model's forward cannot be traced ({first_line(error)}): avoid control flow, len() and other Python "
            "functions that depend on data"
        ) from None
    modules = {name.removeprefix("model."): module for name, module in _Once(model).named_modules()}
    ops: list[Op] = []
    where, shapes = {}, {INPUT: tuple(shape)}  # where: name of an fx node -> name of a value
    *nodes, last = graph.nodes
    for node in nodes:
        if node.op == "placeholder":
            where[node.name] = INPUT
        else:
            _read(node, modules.get(node.target) if node.op == "call_module" else None, ops, where, shapes)
    if not isinstance(last.args[0], fx.Node):
        raise AlloyError("the model returns several values or none: return one tensor")
    output = where[last.args[0].name]
    return _used(ops, output), output


def _used(ops, output):
    """The operations that the output depends on."""
    needed, out = {output}, []
    for op in reversed(ops):
        if op.name in needed:
            needed.update(op.inputs)
            out.append(op)
    return out[::-1]


_RELU, _ADD, _FLAT = ("input", "inplace"), ("input", "other", "alpha"), ("input", "start_dim", "end_dim")
# What is called beside layers: (kind, names of the arguments, whether it works in place whatever they say).
FUNCTIONS: dict[Any, tuple[str, tuple[str, ...], bool]] = {
    **dict.fromkeys((torch.relu, F.relu, "relu"), ("relu", _RELU, False)),
    F.relu6: ("relu6", _RELU, False),
    **dict.fromkeys((torch.relu_, F.relu_, "relu_"), ("relu", _RELU, True)),
    **dict.fromkeys((operator.add, torch.add, "add"), ("add", _ADD, False)),
    **dict.fromkeys((operator.iadd, "add_"), ("add", _ADD, True)),
    **dict.fromkeys((torch.flatten, "flatten"), ("same", _FLAT, False)),
}
MODULES: dict[type[nn.Module], str] = {
    nn.BatchNorm2d: "norm",
    nn.ReLU6: "relu6",
    nn.ReLU: "relu",
    **dict.fromkeys((nn.Dropout, nn.Identity, nn.Flatten), "same"),
}


def _of_module(module):
    """The layer class that is read from a module, or the kind of what is called beside layers; None for what Alloy does
    not know."""
    names = {cls.__name__ for cls in type(module).__mro__ if cls.__module__.startswith("torch.nn.")}
    layers = (layer for layer in LAYERS if names & set(layer.modules))
    return next(layers, None) or next((kind for known, kind in MODULES.items() if isinstance(module, known)), None)


def _of_function(target):
    """The same of a function or the name of a method, with the names of its arguments and whether it works in place."""
    for layer in LAYERS:
        for name, arguments in layer.functions.items():
            if target in (name, attrgetter(name)(torch)):
                return layer, arguments, False
    return FUNCTIONS.get(target, (None, (), False))


def _arguments(node, module):
    """(kind or layer class, arguments by name, in place) of an fx node; None if it is nothing that Alloy knows."""
    if module is not None:
        kind = _of_module(module)
        names, in_place = tuple(inspect.signature(module.forward).parameters), getattr(module, "inplace", False)
    else:
        kind, names, in_place = _of_function(node.target)
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    known = kind is not None and len(node.args) <= len(names) and set(given) <= set(names)
    return (kind if known else None), given, bool(in_place or given.get("inplace", False))


def _nodes(value):
    """The fx nodes that an argument is, or is a list of."""
    return [v for v in (value if isinstance(value, list | tuple) else (value,)) if isinstance(v, fx.Node)]


def _read(node, module, ops, where, shapes):
    """Append the operation of one fx node, or give its value a further name."""
    kind, given, in_place = _arguments(node, module)
    if kind is None or not _nodes(next(iter(given.values()), None)):
        what = "function" if module is None else type(module).__name__
        raise AlloyError(f"layer {node.name} ({what}) is not supported: {supported()}")
    sources = tuple(where[read.name] for value in given.values() for read in _nodes(value))
    if kind == "same":
        where[node.name] = sources[0]
        return
    path = node.target if module is not None else None
    if kind == "add":
        op = _addition(node, given, where, shapes)
    elif kind == "norm":
        op = _norm(node, module, sources)
    elif kind in ("relu", "relu6"):
        op = Relu(name=node.name, inputs=sources, cap=6.0 if kind == "relu6" else None)
    else:
        rest = {name: value for name, value in given.items() if not _nodes(value)}
        call = Call(node.name, f"layer {path or node.name}", module, sources, tuple(shapes[name] for name in sources),
                    rest)
        op = Apply(name=node.name, inputs=sources, layer=kind.read(call))
    op.module = path
    shape = tuple(shapes[name] for name in op.inputs)
    shapes[op.name] = op.layer.shape(*shape) if isinstance(op, Apply) else shape[0]
    ops.append(op)
    where[node.name] = op.name
    if in_place:
        where.update({name: op.name for name, value in where.items() if value == sources[0]})


def _addition(node, given, where, shapes):
    other = given.get("other")
    if not isinstance(other, fx.Node) or given.get("alpha", 1) != 1:
        raise AlloyError(
            f"layer {node.name} does not add a tensor to the result of a convolution that nothing else reads: "
            f"{supported()}"
        )
    inputs = where[given["input"].name], where[other.name]
    one, two = (shapes[name] for name in inputs)
    if one != two:
        raise AlloyError(
            f"layer {node.name} adds tensors of {'x'.join(map(str, one))} and {'x'.join(map(str, two))}, one of which "
            "is repeated: give both the same shape"
        )
    return Add(name=node.name, inputs=inputs)


def _norm(node, module, inputs):
    if not (module.affine and module.track_running_stats):
        raise AlloyError(
            f"layer {node.target} is a batch norm that cannot be folded: give it affine parameters and running "
            "statistics"
        )
    return Norm(
        name=node.name,
        inputs=inputs,
        mean=module.running_mean.clone(),
        scale=(module.weight / torch.sqrt(module.running_var + module.eps)).detach(),
        bias=module.bias.detach().clone(),
        gain=module.weight.detach().clone(),
    )
