"""A quantized network in PyTorch in a file: all that fake quantization and the float network beside it need but the
model, whose graph is read again."""

from dataclasses import replace
import os

import torch

from spec.errors import AlloyError
from spec.files import read_bytes, replacing

from .graph import Graph
from .net import QuantNet
from .weights import DAMAGED

__all__ = ["save_net", "load_net"]

FORMAT = 1


class _Filled(QuantNet):
    """A :class:`QuantNet` whose scales are filled in, and not searched."""

    def first_scales(self, weight, scheme, codebook):
        return torch.ones(len(weight))


def save_net(net: QuantNet, path: str | os.PathLike) -> None:
    """Write a calibrated network with the float weights and biases beside it; an existing file is replaced only when
    the new one is complete."""
    real = {layer.name: {"weight": layer.weight, "bias": layer.bias} for layer in net.graph.layers if layer.learned}
    with replacing(path) as partial:
        torch.save({"format": FORMAT, "float": real, "net": net.state_dict()}, partial)


def load_net(path: str | os.PathLike, graph: Graph) -> QuantNet:
    """The network of :func:`save_net`'s file and the ``graph`` of the same model; any damage, and the file of another
    model, is one :class:`AlloyError`."""
    read_bytes(path, "file of a quantized network")
    try:
        values = torch.load(path, weights_only=True)
        if values["format"] != FORMAT:
            raise AlloyError(f"{path} has format {values['format']} and this Alloy reads {FORMAT}: quantize again")
        graph = replace(graph, layers=[_with(layer, values["float"]) for layer in graph.layers])
        state = values["net"]["_extra_state"]
        books = {name: book.numpy() for name, book in state["codebooks"].items()}
        net = _Filled(graph, schemes={name: scheme.numpy() for name, scheme in state["schemes"].items()},
                      codebooks=books, single_scale=state["single_scale"])
        net.load_state_dict(values["net"])
        return net
    except AlloyError:
        raise
    except DAMAGED as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise AlloyError(f"{path} is not the whole file of this model's quantized network ({why}): quantize again"
                         ) from None


def _with(layer, real):
    """A layer with the float weight and bias that are kept of it."""
    if not layer.learned:
        return replace(layer)
    one = real[layer.name]
    if one["weight"].shape != layer.weight.shape:
        raise AlloyError(f"layer {layer.name} has weights of {'x'.join(map(str, layer.weight.shape))}, and those kept "
                         f"are {'x'.join(map(str, one['weight'].shape))}: it is another model, quantize again")
    return replace(layer, weight=one["weight"], bias=one["bias"])
