"""Random windows over maps, and networks of them."""

import numpy as np

from spec.network import Network, Tensor
from spec.numerics import Scheme, levels
from spec.operators.average_pool import AveragePool
from spec.operators.convolution import Conv
from spec.operators.max_pool import MaxPool
from spec.operators.windows import Window

__all__ = ["random_window", "window_network"]


def random_window(rng, size, *, most=4, stride=2):
    """One that makes a pixel or more of a map of ``size``: any kernel up to ``most``, padding of four sides, also
    beyond the kernel, and dilation."""
    while True:
        kernel, step, start, end, dilation = (tuple(map(int, rng.integers(low, high, 2))) for low, high in (
            (1, most + 1), (1, stride + 1), (0, 4), (0, 4), (1, 4)))
        window = Window(kernel, step, start, end, dilation if rng.random() < 0.5 else (1, 1))
        if min(window.size(size)) >= 1 and (np.array(size) + start + end >= window.reach).all():
            return window


def window_network(rng, *, layers=3, size=9, channels=6, **limits):
    """A network of convolutions, in groups too, and pools with :func:`random_window`; ``limits`` are its own."""
    shape = tuple(int(rng.integers(1, high + 1)) for high in (4, size, size))
    tensors = {"image": Tensor(name="image", channels=shape[0], height=shape[1], width=shape[2], bits=8,
                               zero=int(rng.choice([0, 131])))}
    nodes, source = [], "image"
    for index in range(layers):
        before, kind = tensors[source], rng.choice(["conv", "conv", "max", "avg"])
        window = random_window(rng, before.shape[1:], **limits)
        values = dict(name=f"l{index}", input=source, output=f"t{index}", stride=window.stride, padding=window.padding,
                      padding_end=window.padding_end, dilation=window.dilation, lo=0)
        bits = before.bits if kind == "max" else int(rng.choice([3, 5, 8]))
        zero = before.zero if kind == "max" else int(rng.choice([0, (1 << bits - 1) + 1]))
        filters = before.channels
        if kind == "conv":
            groups = int(rng.choice([g for g in range(1, before.channels + 1) if before.channels % g == 0]))
            filters = groups * int(rng.integers(1, channels // groups + 2))
            weight = rng.choice(levels(Scheme.FIXED4), (filters, before.channels // groups, *window.kernel))
            shift = 6 + int(np.log2(weight[0].size)) + before.bits - bits
            nodes.append(Conv(**values, weight=weight.astype(np.int16), hi=(1 << bits) - 1, shift=shift,
                              scheme=np.full(filters, Scheme.FIXED4, np.uint8),
                              mult=rng.integers(8, 30, filters).astype(np.int32),
                              bias=rng.integers(-(1 << shift), 1 << shift + bits - 1, filters)))
        else:
            size = int(np.prod(window.kernel))
            average = dict(mult=(1 << 12) // size, shift=max(12 + before.bits - bits, 1)) if kind == "avg" else {}
            if kind == "avg" and rng.random() < 0.5:
                rows, cols = (rng.integers(1, 3, n).cumsum() % 3 + 1 for n in window.size(before.shape[1:]))
                average["mults"] = (rows[:, None] * cols * ((1 << 11) // size)).astype(np.int32)
            nodes.append((MaxPool if kind == "max" else AveragePool)(
                **values, kernel=window.kernel, hi=(1 << bits) - 1, **average))
        rows, cols = window.size(before.shape[1:])
        tensors[f"t{index}"] = Tensor(name=f"t{index}", channels=filters, height=rows, width=cols, bits=bits, zero=zero)
        source = f"t{index}"
    return Network(name="windows", input="image", output=source, tensors=tensors, nodes=nodes)
