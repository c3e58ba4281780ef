"""A PyTorch model as a list of operations, each value written once.

What a model does in place (``x += y``, ``ReLU(inplace=True)``) rebinds every name of the tensor: who reads it later reads the new value.
"""

from dataclasses import dataclass, field
import inspect
import operator

import torch
from torch import fx, nn
from torch.nn import functional as F

from spec.errors import AlloyError

__all__ = ["Op", "capture", "first_line", "SUPPORTED", "INPUT"]

SUPPORTED = (
    "Conv2d, BatchNorm2d, ReLU, ReLU6, addition, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d(1), Flatten and Linear "
    "are supported"
)
INPUT = "input"  # fx gives this name, a builtin of Python, to no node


@dataclass(eq=False)
class Op:
    """One operation; ``inputs`` are names of values, its own value has its ``name``. ``module``: path of the module that is called."""

    kind: str  # "conv", "norm", "relu", "add", "max", "avg"
    name: str
    inputs: tuple
    module: str | None = None
    values: dict = field(default_factory=dict)  # arguments of :meth:`apply`

    def apply(self, *x):
        """The operation on tensors (N, C, H, W)."""
        v = self.values
        match self.kind:
            case "conv":
                return F.conv2d(*x, v["weight"], v["bias"], v["stride"], v["padding"], groups=v["groups"])
            case "norm":
                return (x[0] - v["mean"][:, None, None]) * v["scale"][:, None, None] + v["bias"][:, None, None]
            case "relu":
                return x[0].clamp(0, v["cap"])
            case "add":
                return x[0] + x[1]
            case "max":
                return F.max_pool2d(*x, v["kernel"], v["stride"], v["padding"])
            case "avg":
                return F.avg_pool2d(*x, v["kernel"], v["stride"])


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


def first_line(error):
    """What an error of PyTorch says, in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def capture(model, shape):
    """(operations in execution order, name of the value that is returned) of ``model`` for inputs of ``shape`` (C, H, W).

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
    ops, where, shapes = [], {}, {INPUT: tuple(shape)}  # where: name of an fx node -> name of a value
    for node in graph.nodes:
        if node.op == "placeholder":
            where[node.name] = INPUT
        elif node.op == "output":
            if not isinstance(node.args[0], fx.Node):
                raise AlloyError("the model returns several values or none: return one tensor")
            return _used(ops, where[node.args[0].name]), where[node.args[0].name]
        else:
            _read(node, modules.get(node.target) if node.op == "call_module" else None, ops, where, shapes)


def _used(ops, output):
    """The operations that the output depends on."""
    needed, out = {output}, []
    for op in reversed(ops):
        if op.name in needed:
            needed.update(op.inputs)
            out.append(op)
    return out[::-1]


_RELU, _ADD, _FLAT = ("input", "inplace"), ("input", "other", "alpha"), ("input", "start_dim", "end_dim")
# What is called: (kind, names of the arguments, whether it works in place whatever they say).
FUNCTIONS = {
    **dict.fromkeys((torch.relu, F.relu, "relu"), ("relu", _RELU, False)),
    F.relu6: ("relu6", _RELU, False),
    **dict.fromkeys((torch.relu_, F.relu_, "relu_"), ("relu", _RELU, True)),
    **dict.fromkeys((operator.add, torch.add, "add"), ("add", _ADD, False)),
    **dict.fromkeys((operator.iadd, "add_"), ("add", _ADD, True)),
    **dict.fromkeys((torch.flatten, "flatten"), ("same", _FLAT, False)),
}
MODULES = {
    nn.Conv2d: "conv",
    nn.Linear: "linear",
    nn.BatchNorm2d: "norm",
    nn.ReLU6: "relu6",
    nn.ReLU: "relu",
    nn.MaxPool2d: "max",
    nn.AvgPool2d: "avg",
    nn.AdaptiveAvgPool2d: "global",
    **dict.fromkeys((nn.Dropout, nn.Identity, nn.Flatten), "same"),
}


def _arguments(node, module):
    """(kind, arguments by name, in place) of an fx node; the kind is None if it is none that Alloy knows."""
    if module is not None:
        kind = next((kind for known, kind in MODULES.items() if isinstance(module, known)), None)
        names, in_place = tuple(inspect.signature(module.forward).parameters), getattr(module, "inplace", False)
    else:
        kind, names, in_place = FUNCTIONS.get(node.target, (None, (), False))
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    known = kind is not None and len(node.args) <= len(names) and set(given) <= set(names)
    return (kind if known else None), given, bool(in_place or given.get("inplace", False))


def _read(node, module, ops, where, shapes):
    """Append the operation of one fx node, or give its value a further name."""
    kind, given, in_place = _arguments(node, module)
    if kind is None or not isinstance(next(iter(given.values()), None), fx.Node):
        what = "function" if module is None else type(module).__name__
        raise AlloyError(f"layer {node.name} ({what}) is not supported: {SUPPORTED}")
    source = where[next(iter(given.values())).name]
    if kind == "same":
        where[node.name] = source
        return
    if kind == "add":
        op = _addition(node, given, where, shapes)
    elif kind in ("relu", "relu6"):
        op = Op("relu", node.name, (source,), values={"cap": 6.0 if kind == "relu6" else None})
    else:
        op = _layer(kind, node, module, source, shapes[source])
    if module is not None:
        op.module = node.target
    shapes[op.name] = _shape(op, shapes[source])
    ops.append(op)
    where[node.name] = op.name
    if in_place:
        where.update({name: op.name for name, value in where.items() if value == source})


def _addition(node, given, where, shapes):
    other = given.get("other")
    if not isinstance(other, fx.Node) or given.get("alpha", 1) != 1:
        raise AlloyError(
            f"layer {node.name} does not add a tensor to the result of a convolution that nothing else reads: {SUPPORTED}"
        )
    inputs = where[given["input"].name], where[other.name]
    one, two = (shapes[name] for name in inputs)
    if one != two:
        raise AlloyError(
            f"layer {node.name} adds tensors of {'x'.join(map(str, one))} and {'x'.join(map(str, two))}, one of which is "
            "repeated: give both the same shape"
        )
    return Op("add", node.name, inputs)


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def _layer(kind, node, module, source, shape):
    """The operation of a module that reads one tensor."""
    values, where = {}, f"layer {node.target}"
    if kind == "linear":
        if shape[0] * shape[1] * shape[2] != module.in_features:
            raise AlloyError(
                f"layer {node.name} reads {module.in_features} features of a tensor {shape}: flatten the whole tensor before it"
            )
        values = {
            "weight": module.weight.detach().reshape(-1, *shape),
            "stride": (1, 1),
            "padding": (0, 0),
            "groups": 1,
        }
    elif kind == "conv":
        if _pair(module.dilation) != (1, 1) or isinstance(module.padding, str) or module.padding_mode != "zeros":
            raise AlloyError(
                f"{where} is a dilated or specially padded convolution: use dilation=1 and numeric zero padding"
            )
        values = {
            "weight": module.weight.detach(),
            "stride": _pair(module.stride),
            "padding": _pair(module.padding),
            "groups": module.groups,
        }
    elif kind == "norm":
        if not (module.affine and module.track_running_stats):
            raise AlloyError(
                f"{where} is a batch norm that cannot be folded: give it affine parameters and running statistics"
            )
        values = {
            "mean": module.running_mean.clone(),
            "scale": (module.weight / torch.sqrt(module.running_var + module.eps)).detach(),
            "bias": module.bias.detach().clone(),
            "gain": module.weight.detach().clone(),
        }
    elif kind == "global":
        if _pair(module.output_size) != (1, 1):
            raise AlloyError(
                f"layer {node.name} (AdaptiveAvgPool2d of output size {module.output_size}) is not supported: {SUPPORTED}"
            )
        values = {"kernel": tuple(shape[1:]), "stride": (1, 1), "padding": (0, 0)}
    else:
        values = _pool(kind, module, where)
    if "weight" in values:
        bias, kind = module.bias, "conv"
        values["weight"] = values["weight"].clone()
        values["bias"] = torch.zeros(len(values["weight"])) if bias is None else bias.detach().clone()
    return Op("avg" if kind == "global" else kind, node.name, (source,), values=values)


def _pool(kind, module, where):
    kernel = _pair(module.kernel_size)
    if module.ceil_mode or _pair(getattr(module, "dilation", 1)) != (1, 1):
        raise AlloyError(f"{where} pools with ceil_mode or dilation: use floor mode and dilation 1")
    if getattr(module, "divisor_override", None):
        raise AlloyError(f"{where} averages with divisor_override: leave it out")
    if kind == "avg" and _pair(module.padding) != (0, 0):
        raise AlloyError(f"{where} averages over padding: use padding 0")
    return {"kernel": kernel, "stride": _pair(module.stride or kernel), "padding": _pair(module.padding)}


def _shape(op, shape):
    """(C, H, W) of an operation's value; ``shape`` is that of its first input."""
    v = op.values
    if op.kind not in ("conv", "max", "avg"):
        return shape
    kernel = v["weight"].shape[2:] if op.kind == "conv" else v["kernel"]
    size = ((s + 2 * p - k) // st + 1 for s, p, k, st in zip(shape[1:], v["padding"], kernel, v["stride"], strict=True))
    return (len(v["weight"]) if op.kind == "conv" else shape[0], *size)
