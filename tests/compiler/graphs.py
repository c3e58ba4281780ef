"""Networks and graphs for the tests of the compiler."""

import numpy as np

from compiler.build import lowered
from spec.config import EngineConfig
from spec.network import Network, Tensor
from spec.numerics import Scheme
from spec.operators.convolution import Conv
from spec.operators.max_pool import MaxPool
from tests.networks import random_config, random_network

__all__ = ["CONFIG", "bottleneck", "engine", "layer", "network", "pool", "random_graph"]

CONFIG = EngineConfig(name="test", ic=4, pixels=4, dsp_filters=4, lut_filters=2, act_depth=64, weight_depth=64, ports=1,
                      port_bits=32)


def engine(**values):
    return EngineConfig.from_dict(CONFIG.to_dict() | values)


def layer(source, out, filters, channels, kernel=(1, 1), **values):
    """A convolution of fixed-4 weights of 3, except where ``values`` say so."""
    weight = values.pop("weight", np.full((filters, channels, *kernel), 3, np.int16))
    scheme = values.pop("scheme", Scheme.FIXED4)
    return Conv(name=values.pop("name", f"to_{out}"), input=source, output=out, weight=weight,
                scheme=np.full(filters, scheme, np.uint8), mult=np.full(filters, values.pop("mult", 50), np.int32),
                bias=np.full(filters, values.pop("bias", 0), np.int64), shift=values.pop("shift", 9), lo=0,
                hi=values.pop("hi", 15), **values)


def pool(source, out, kernel=(2, 2), stride=(2, 2)):
    return MaxPool(name=f"to_{out}", input=source, output=out, kernel=kernel, stride=stride, lo=0, hi=15)


def network(tensors, *nodes, bits=4, **zeros):
    """A network of the first tensor to the last: name -> (channels, rows, columns)."""
    known = {name: Tensor(name=name, channels=c, height=h, width=w, bits=bits, zero=zeros.get(name, 0))
             for name, (c, h, w) in tensors.items()}
    names = list(tensors)
    return Network(name="made", input=names[0], output=names[-1], tensors=known, nodes=list(nodes))


def bottleneck(size, wide, stride=2, kernel=3):
    """Expand, depthwise, project: the large values are read once, by the operation behind the one that makes them."""
    out = -(-size // stride)
    return network({"image": (4, size, size), "x": (4, size, size), "wide": (wide, size, size),
                    "deep": (wide, out, out), "y": (4, out, out)},
                   layer("image", "x", 4, 4), layer("x", "wide", wide, 4),
                   layer("wide", "deep", wide, 1, (kernel, kernel), stride=(stride, stride),
                         padding=(kernel // 2, kernel // 2)),
                   layer("deep", "y", 4, wide))


def random_graph(seed, **values):
    """Graph after the passes, and the configuration."""
    rng = np.random.default_rng(seed)
    made, config = random_network(rng), random_config(rng, **values)
    return lowered(made, config), config
