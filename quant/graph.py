"""A PyTorch model as a list of layers: batch norm folded, ReLU and addition fused into the convolution before them."""

from dataclasses import dataclass
import operator

import torch
from torch import fx, nn
from torch.nn import functional as F

from spec.errors import AlloyError

__all__ = ["Layer", "Graph", "trace"]

SUPPORTED = "Conv2d, BatchNorm2d, ReLU, ReLU6, addition, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d(1), Flatten and Linear are supported"


@dataclass(eq=False)
class Layer:
    """One layer of the float graph. ``weight`` (F, C / groups, kh, kw) and ``bias`` (F,) have the batch norm folded in.

    ``cap`` (F, 1, 1) is the upper bound of a ReLU6, of each channel.
    """
    kind: str                   # "conv", "max" or "avg"
    name: str
    input: str
    output: str
    kernel: tuple
    stride: tuple
    padding: tuple
    weight: torch.Tensor = None
    bias: torch.Tensor = None
    residual: str = None
    relu: bool = False
    cap: torch.Tensor = None
    groups: int = 1

    @property
    def fresh(self):
        """Whether it is a bare convolution so far, without addition and ReLU."""
        return self.kind == "conv" and not self.relu and self.residual is None


    def apply(self, x, weight=None, bias=None):
        """The layer on (N, C, H, W), before addition and ReLU; with other weights and bias if they are given."""
        if self.kind == "max":
            return F.max_pool2d(x, self.kernel, self.stride, self.padding)
        if self.kind == "avg":
            return F.avg_pool2d(x, self.kernel, self.stride)
        return F.conv2d(x, self.weight if weight is None else weight, self.bias if bias is None else bias, self.stride, self.padding,
                        groups=self.groups)

    def finish(self, x, residual=None):
        """Addition and ReLU."""
        x = x if residual is None else x + residual
        if self.relu:
            x = F.relu(x)
        return x if self.cap is None else torch.minimum(x, self.cap.to(x))


@dataclass(eq=False)
class Graph:
    """Layers in execution order; ``shapes`` is (C, H, W) of every tensor."""
    input: str
    output: str
    layers: list
    shapes: dict

    @property
    def bounded(self):
        """Names of the tensors that a ReLU bounds and a layer reads, not only an addition: those that recipes give few bits."""
        read = {layer.input for layer in self.layers}
        return [layer.output for layer in self.layers if layer.relu and layer.output in read]

    def readers(self, name):
        """The convolutions that read a tensor, be it through a max pool."""
        out = []
        for layer in self.layers:
            if layer.input == name:
                out += self.readers(layer.output) if layer.kind == "max" else [layer] if layer.kind == "conv" else []
        return out


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def trace(model, shape):
    """Import ``model`` (in eval mode) for inputs of ``shape`` (C, H, W).

    Raises :class:`AlloyError` naming the first layer that is not supported and the layers that are.
    """
    model = model.eval()
    try:
        traced = fx.symbolic_trace(model)
    except (fx.proxy.TraceError, TypeError) as error:
        raise AlloyError(f"the model's forward cannot be traced ({error}): avoid control flow that depends on data") from None
    modules = dict(traced.named_modules())
    layers, where, shapes = [], {}, {}          # where: fx node name -> tensor name
    uses = {}
    for node in traced.graph.nodes:
        for source in node.all_input_nodes:
            uses[source.name] = uses.get(source.name, 0) + 1
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            where[node.name], shapes["input"] = "input", tuple(shape)
        elif node.op == "output":
            if not isinstance(node.args[0], fx.Node):
                raise AlloyError("the model returns several values or none: return one tensor")
            _check_finite(layers)
            return Graph("input", where[node.args[0].name], layers, shapes)
        else:
            _add(node, modules.get(node.target), layers, where, shapes, uses)
    raise AlloyError("the model returns nothing")


def _check_finite(layers):
    for layer in layers:
        if layer.kind == "conv" and not (torch.isfinite(layer.weight).all() and torch.isfinite(layer.bias).all()):
            raise AlloyError(f"layer {layer.name} has weights or biases that are NaN or infinite: train it again")


def _made(layers, tensor):
    """The layer that makes a tensor, or None."""
    return next((layer for layer in layers if layer.output == tensor), None)


def _add(node, module, layers, where, shapes, uses):
    name, call = node.name, None if module is not None else node.target      # a layer used twice has two names
    sources = [where[a.name] for a in node.args if isinstance(a, fx.Node)]
    source = sources[0] if sources else None
    shape = shapes.get(source)
    before = _made(layers, source)
    alone = all(uses[a.name] == 1 for a in node.args if isinstance(a, fx.Node))
    made = [layer for layer in layers if layer.output in sources and layer.fresh]
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        if isinstance(module, nn.Linear):
            weight, stride, padding = module.weight.reshape(len(module.weight), *_map_shape(shape, module, name)), (1, 1), (0, 0)
        else:
            if _pair(module.dilation) != (1, 1) or isinstance(module.padding, str) or module.padding_mode != "zeros":
                raise AlloyError(f"layer {node.target} is a dilated or specially padded convolution: use dilation=1 and numeric zero padding")
            weight, stride, padding = module.weight, _pair(module.stride), _pair(module.padding)
        bias = module.bias if module.bias is not None else torch.zeros(len(weight))
        layer = Layer("conv", name, source, name, tuple(weight.shape[2:]), stride, padding, weight.detach().clone(), bias.detach().clone(),
                      groups=getattr(module, "groups", 1))
    elif isinstance(module, nn.BatchNorm2d):
        if not (made and alone and module.affine and module.track_running_stats):
            raise AlloyError(f"layer {node.target} is a batch norm that cannot be folded: put it directly behind a convolution that nothing "
                             "else reads, with affine parameters and running statistics")
        scale = (module.weight / torch.sqrt(module.running_var + module.eps)).detach()
        before.weight = before.weight * scale[:, None, None, None]
        before.bias = (before.bias - module.running_mean) * scale + module.bias.detach()
        where[node.name] = source
        return
    elif isinstance(module, (nn.ReLU, nn.ReLU6)) or call in (torch.relu, nn.functional.relu, nn.functional.relu6, "relu"):
        if before is None or before.kind != "conv" or not alone:
            raise AlloyError(f"layer {node.name} is a ReLU that does not directly follow a convolution: {SUPPORTED}")
        six = isinstance(module, nn.ReLU6) or call is nn.functional.relu6
        before.relu, before.cap = True, torch.full((len(before.weight), 1, 1), 6.0) if six else None
        where[node.name] = source
        return
    elif call in (operator.add, torch.add, operator.iadd, "add") and len(sources) == 2:
        # The fused layer writes the sum in place of its own result, so nothing else may read that.
        made = [layer for layer in made if sum(uses[a.name] for a in node.args if where[a.name] == layer.output) == 1]
        if not made or sources[0] == sources[1] or node.kwargs:
            raise AlloyError(f"layer {node.name} does not add a tensor to the result of a convolution that nothing else reads: {SUPPORTED}")
        last = made[-1]
        last.residual = sources[0] if last.output == sources[1] else sources[1]
        where[node.name] = last.output
        # The addition happens where its second operand is known.
        layers.remove(last)
        layers.append(last)
        return
    elif isinstance(module, (nn.Dropout, nn.Identity, nn.Flatten)) or call in (torch.flatten, "flatten"):
        where[node.name] = source
        uses[node.name] = uses.get(node.name, 0) + uses[node.args[0].name] - 1      # who reads the tensor, by either name
        return
    elif isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        kernel = _pair(module.kernel_size)
        if getattr(module, "ceil_mode", False) or _pair(getattr(module, "dilation", 1)) != (1, 1):
            raise AlloyError(f"layer {node.target} pools with ceil_mode or dilation: use floor mode and dilation 1")
        kind = "max" if isinstance(module, nn.MaxPool2d) else "avg"
        if getattr(module, "divisor_override", None):
            raise AlloyError(f"layer {node.target} averages with divisor_override: leave it out")
        if kind == "avg" and _pair(module.padding) != (0, 0):
            raise AlloyError(f"layer {node.target} averages over padding: use padding 0")
        layer = Layer(kind, name, source, name, kernel, _pair(module.stride or kernel), _pair(module.padding))
    elif isinstance(module, nn.AdaptiveAvgPool2d) and _pair(module.output_size) == (1, 1):
        layer = Layer("avg", name, source, name, tuple(shape[1:]), (1, 1), (0, 0))
    else:
        raise AlloyError(f"layer {node.name} ({type(module).__name__ if module is not None else 'function'}) is not supported: {SUPPORTED}")
    where[node.name] = name
    layers.append(layer)
    rows, cols = ((s + 2 * p - k) // st + 1 for s, p, k, st in zip(shape[1:], layer.padding, layer.kernel, layer.stride))
    shapes[name] = (len(layer.weight) if layer.kind == "conv" else shape[0], rows, cols)


def _map_shape(shape, module, name):
    """(C, H, W) that a linear layer reads."""
    if shape[0] * shape[1] * shape[2] != module.in_features:
        raise AlloyError(f"layer {name} reads {module.in_features} features of a tensor {shape}: flatten the whole tensor before it")
    return shape
