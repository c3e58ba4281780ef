"""A calibrated network in PyTorch to the integer network."""

import numpy as np

from spec.network import Network, Tensor
from spec.numerics import Scheme, nearest_level
from spec.operators.average_pool import AveragePool
from spec.operators.convolution import Conv, worst_case
from spec.operators.max_pool import MaxPool

from .requantizer import largest_shift

__all__ = ["export"]


def export(net, name):
    """:meth:`quant.net.QuantNet.export`."""
    shapes = net.graph.shapes
    tensors = {
        n: Tensor(name=n, channels=shapes[n][0], height=shapes[n][1], width=shapes[n][2], bits=bits, zero=net.zeros[n])
        for n, bits in net.bits.items()
    }
    nodes = [(_conv if layer.kind == "conv" else _pool)(net, layer, tensors) for layer in net.graph.layers]
    return Network(name=name, input=net.graph.input, output=net.graph.output, tensors=tensors, nodes=nodes)


def _common(layer):
    return dict(name=layer.name, input=layer.input, output=layer.output, stride=layer.stride, padding=layer.padding)


def _pool(net, layer, tensors):
    top = net.top(layer)
    if layer.kind == "max":
        return MaxPool(kernel=layer.kernel, lo=0, hi=top, **_common(layer))
    factor = (
        float(net.step(layer.input).double())
        / float(net.step(layer.output).double())
        / (layer.kernel[0] * layer.kernel[1])
    )
    shift = largest_shift(factor)
    return AveragePool(
        kernel=layer.kernel, mult=round(factor * 2**shift), shift=shift, lo=0, hi=top, **_common(layer)
    )


def _conv(net, layer, tensors):
    found, scale = net.requantizer(layer)
    scheme, book = net.schemes[layer.name], net.codebooks.get(layer.name)
    book = book if (scheme == Scheme.CODEBOOK).any() else np.zeros(0, np.int16)
    weight = net.weights[layer.name].double().numpy()
    integers = np.stack(
        [
            nearest_level(w / s, Scheme(int(k)), book if k == Scheme.CODEBOOK else None)
            for w, s, k in zip(weight, scale, scheme, strict=True)
        ]
    )
    return Conv(
        weight=integers.astype(np.int16),
        bounds=worst_case(integers, tensors[layer.input]),
        scheme=scheme,
        mult=found.mult.astype(np.int32),
        bias=np.round(found.bias * 2.0**found.shift).astype(np.int64),
        shift=found.shift,
        lo=net.zeros[layer.output] if layer.relu else 0,
        hi=net.top(layer),
        residual=layer.residual,
        res_mult=found.res_mult,
        codebook=book,
        table=net.tables.get(layer.output, np.zeros(0, np.uint8)),
        **_common(layer),
    )
