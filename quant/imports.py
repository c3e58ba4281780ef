"""Import of a PyTorch model: :func:`trace` promises that the layers compute what the model computes, and looks before
it says so."""

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib import import_module
import inspect

import torch
from torch import nn

from spec.errors import AlloyError, Unsupported

from .capture import INPUT, Add, Apply, Norm, Relu, capture, first_line
from .compose import compose
from .fuse import fuse
from .graph import Graph, finite

__all__ = ["examine", "trace"]

# Of the random images, so that bounds such as that of a ReLU6 are met; more than one, for images must not mix.
SIZES = (1.0, 50.0)
RELATIVE, ABSOLUTE = 1e-3, 1e-6  # difference allowed of a channel's largest value, and of the image's
ROUNDING = 32 * 2.0**-24  # and of the sizes of a channel's products, all added up: what they add up to may be near 0


def trace(model: nn.Module, shape: tuple[int, ...], *, logits: bool = False) -> Graph:
    """The float graph (:class:`quant.graph.Graph`) of ``model`` in eval mode, for inputs of ``shape`` (C, H, W), (C, L)
    or (F,). A sequence is a map of one row, a vector one of one pixel, if the model makes no other map of it.

    The model itself is left as it was: its parameters, and whether it trains. What was imported is run beside it on
    random images.

    Parameters
    ----------
    logits : the output are the logits of a classifier: quantization may clip what does not change the answers.
        Otherwise it keeps the error of every output small.

    Raises :class:`AlloyError` naming the first layer that is not supported and the layers that are, or the first one
    that computes something else than the model does.
    """
    graph, refused, compare = examine(model, shape, logits=logits)
    if refused:
        raise refused[0].among(len(refused) - 1)
    compare()
    return graph


def examine(model: nn.Module, shape: tuple[int, ...], *,
            logits: bool = False) -> tuple[Graph, list[Unsupported], Callable[[], None]]:
    """As :func:`trace`, but with all that is not supported: (graph, refusals, comparison). If there are any refusals,
    :class:`quant.graph.Hole` layers stand for them in the graph, and there is nothing to be compared; otherwise the
    graph is what it should be if the comparison, which may be made in another thread, does not raise."""
    shape = _checked(model, shape)
    if not any(True for _ in model.children()):
        model = nn.Sequential(model)
    with _evaluating(model), torch.no_grad():
        truth = _truth(model, shape)  # runs hooks, too, that make weights from parameters
        ops, output, size, refused = capture(model, shape)
        if not ops and not refused:
            raise AlloyError("the model returns its input: there is nothing to compute")
        end = next((op.end for op in ops if op.name == output), None)
        try:
            composed, more = compose(ops, output, size)
            graph = fuse(composed, output, size, logits=logits)
        except AlloyError:
            if not refused:
                truth.check(ops, size)      # of what is not what the model computes, nothing else is to be said
            raise
        if more and not refused:
            truth.check(ops, size)
    graph.end = end
    if refused or more:
        return graph, refused + more, lambda: None
    if logits and graph.shapes[graph.output][0] < 2:
        raise AlloyError("the model has one output, which tells no classes apart: leave out logits=True")

    @torch.no_grad()
    def compare() -> None:
        truth.check(ops, size)
        truth.check_output(graph)
    return graph, [], compare


def _checked(model, shape):
    """``shape`` as a tuple, if both it and the model can be what they are said to be."""
    if isinstance(model, torch.jit.ScriptModule) or not isinstance(model, nn.Module):
        what = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise AlloyError(
            f"{what} is not a model that can be traced: build the torch.nn.Module in Python, load its weights with "
            "load_state_dict and give that"
        )
    sizes = tuple(shape) if isinstance(shape, (tuple, list, torch.Size)) else (shape,)
    if not 1 <= len(sizes) <= 3 or not all(isinstance(size, int) and size > 0 for size in sizes):
        hint = ": leave out the batch" if len(sizes) == 4 else ""
        raise AlloyError(
            f"the shape {shape} is not channels, height and width of one image, such as (3, 224, 224), channels and "
            f"length of a sequence, or the length of a vector{hint}"
        )
    needed = [
        p.name
        for p in inspect.signature(model.forward).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if len(needed) > 1:
        raise AlloyError(
            f"the model has {len(needed)} inputs ({', '.join(needed)}): give one that takes a single image"
        )
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise AlloyError(f"layer {name} is TorchScript, which cannot be traced: leave out torch.jit there")
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if nn.parameter.is_lazy(value):
            raise AlloyError(f"the model's {name} has no shape yet: call the model once with an image where it is made")
        if value.device.type != "cpu":
            raise AlloyError(f"the model's {name} is on the device {value.device}: call model.cpu()")
        if not value.is_floating_point():
            continue
        if value.dtype != torch.float32:
            raise AlloyError(
                f"the model's {name} is {str(value.dtype).removeprefix('torch.')}: call model.float() and see whether "
                "it is still right"
            )
        if not finite(value):
            raise AlloyError(
                f"layer {name.rpartition('.')[0] or name} has weights or biases that are NaN or infinite ({name}): "
                "train it again"
            )
    return sizes


@contextmanager
def _evaluating(model):
    """The model in eval mode; behind the block each of its modules has its own mode and every buffer its value
    again."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def _truth(model, shape):
    """A :class:`_Truth`; meanwhile PyTorch's tracer is imported, which takes as long."""
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(_Truth, model, shape)
        import_module("torch.export._trace")
        return found.result()


class _Truth:
    """What a model itself makes of random images of :data:`SIZES`: its output, and that of every call of each of its
    modules."""

    @torch.no_grad()
    def __init__(self, model, shape):
        images = torch.randn(len(SIZES), *shape, generator=torch.Generator().manual_seed(0))
        self.images = torch.stack([image * size for image, size in zip(images, SIZES, strict=True)])
        self.calls: dict[str, list] = defaultdict(list)

        def keep(name):
            return lambda module, given, out: self.calls[name].append(
                out.clone() if isinstance(out, torch.Tensor) else None
            )

        hooks = [module.register_forward_hook(keep(name)) for name, module in model.named_modules() if name]
        try:
            self.output = model(self.images.clone())  # a model may write over its input
        except Exception as error:  # forward is the user's
            text = "x".join(map(str, shape))
            raise AlloyError(
                f"the model cannot run on images of {text} ({first_line(error)}): give the shape (channels, height, "
                "width) of the images that it was trained with"
            ) from None
        finally:
            for hook in hooks:
                hook.remove()

    def _sound(self):
        """Which images count, bool (images,): of a large one, an exponential may be beyond all numbers. One tensor of
        numbers must have come out."""
        if not isinstance(self.output, torch.Tensor):
            raise AlloyError("the model returns several values or none: return one tensor")
        finite = torch.isfinite(self.output)
        sound = finite.reshape(len(SIZES), -1).all(1) if len(finite) == len(SIZES) else finite.all().expand(len(SIZES))
        if not sound[0]:
            raise AlloyError(
                f"the model makes NaN or infinite values of random images of size {SIZES[0]:g}: look at its weights"
            )
        return sound

    def check(self, ops, size):
        """Compare operation by operation; the input is a map of ``size``."""
        sound = self._sound()
        self.kept = slice(None) if sound.all() else sound       # of all, no copies
        values = {INPUT: self.images.reshape(-1, *size)}
        for op in ops:
            value = values[op.name] = op.apply(*(values[name] for name in op.inputs))
            calls = self.calls[op.module] if op.module is not None else []
            if op.call < len(calls):
                self._compare(value, _placed(calls[op.call], op.index, value), f"layer {op.module}",
                              partial(_sizes, op, {op.name: op for op in ops}, values))

    def check_output(self, graph):
        """Compare what the layers return with what the model returns, or makes of it at last."""
        tensors, last = graph.tensors(self.images.reshape(-1, *graph.shapes[graph.input])), graph.layers[-1]
        found = tensors[graph.output]
        if graph.end != "argmax":       # which one is it, if two are the same but for rounding?
            found = found if graph.end is None else getattr(torch, graph.end)(found, 1)
            sizes = partial(_products, last, *(tensors[name] for name in last.sources))
            self._compare(found, self.output, f"the output, layer {last.name},", sizes)

    def _compare(self, got, expected, what, sizes):
        """``sizes`` gives those of the products of each channel, (N, C), or None."""
        shape = "x".join(map(str, expected.shape)) if isinstance(expected, torch.Tensor) else "no tensor"
        if shape == "no tensor" or len(expected) != len(got) or expected.numel() != got.numel():
            raise AlloyError(
                f"{what} is {'x'.join(map(str, got.shape))} as imported, but the model makes {shape} of it: {REWRITE}"
            )
        got, expected = got.flatten(2)[self.kept], expected.reshape(got.shape).flatten(2)[self.kept]
        peaks = expected.abs().amax(2)
        largest = peaks.amax(1, keepdim=True).clamp_min(1e-30)      # images count alike
        peaks = peaks / largest
        off = (got / largest[..., None] - expected / largest[..., None]).abs().amax(2)
        allowed = RELATIVE * peaks.amax(0) + ABSOLUTE
        if not (off.amax(0) <= allowed).all() and (products := sizes()) is not None:
            allowed = allowed + ROUNDING * (products[self.kept] / largest).amax(0)
        if not (off.amax(0) <= allowed).all():
            image, channel = divmod(int((off - RELATIVE * peaks).argmax()), off.shape[1])
            raise AlloyError(
                f"{what} computes something else as imported than the model does (channel {channel}, random "
                f"images of size {SIZES[image]:g}): {REWRITE}"
            )


def _products(layer, *inputs):
    """The largest sum of the sizes of the products of each channel of a layer with weights, (N, C); None for others."""
    if not layer.learned:
        return None
    found = layer.apply(torch, *(x.abs() for x in inputs), weight=layer.weight.abs(), bias=layer.bias.abs())
    return found.flatten(2).amax(2)


def _sizes(op, made, values):
    """The same of an operation, or of those before it that it passes the values of; ``made``: operations by name."""
    if isinstance(op, Apply):
        return _products(op.layer, *(values[name] for name in op.inputs))
    before = [_sizes(made[name], made, values) for name in op.inputs if name in made]
    if not isinstance(op, Relu | Add | Norm) or len(before) < len(op.inputs) or any(one is None for one in before):
        return None
    return sum(before) * (op.scale.abs() if isinstance(op, Norm) else 1)


def _placed(out, index, value):
    """What a module returns, put to where its elements stand in ``value``; the others are those of ``value``."""
    if out is None or out.shape[1:] != index.shape or int(index.max()) >= value[0].numel():
        return out
    if index.numel() == value[0].numel() and torch.equal(index.flatten(), torch.arange(index.numel())):
        return out
    scattered = value.clone()
    scattered.flatten(1)[:, index.flatten()] = out.flatten(1)
    return scattered


REWRITE = "write forward without hooks, branches on the mode and changes in place that Alloy cannot see"
