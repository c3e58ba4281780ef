"""Random small networks and configurations for the tests."""

from dataclasses import replace

import numpy as np

from spec.config import EngineConfig
from spec.network import Network, Tensor
from spec.numerics import Scheme, levels
from spec.operators.average_pool import AveragePool
from spec.operators.convolution import Conv
from spec.operators.max_pool import MaxPool
from spec.operators.scaling import Scaling
from spec.rows import enough

__all__ = ["random_network", "random_config", "random_conv", "scaled_network", "separable_network"]


def random_config(rng, **values):
    """A small configuration: odd sizes, non-powers of two, one kind of column only."""
    dsp, lut = [(2, 1), (4, 3), (2, 0), (6, 2), (2, 2), (4, 0)][rng.integers(6)]
    base = dict(
        name="random", ic=int(rng.integers(1, 9)), pixels=int(rng.choice([2, 4, 6, 8])), dsp_filters=dsp,
        lut_filters=lut,
        act_digit_bits=int(rng.choice([4, 5])), acc_width=24,
        dsp_device=str(rng.choice(["dsp48e2", "dsp48e1", "mult18"])),
        portable_dsp=True, lut_form=str(rng.choice(["shift_add", "product_lookup"])),
        act_depth=int(rng.choice([256, 512])),
        weight_depth=int(rng.choice([64, 128])), param_depth=int(rng.integers(2, 6)),
        tap_depth=int(rng.choice([18, 32])),
        ports=int(rng.integers(1, 4)), port_bits=int(rng.choice([32, 64, 128])), burst=int(rng.choice([1, 4, 16])),
        outstanding=int(rng.integers(1, 5)), queue_depth=int(rng.integers(1, 4)))
    base |= {"tables": int(base["param_depth"] % 3 + 1), **values}
    base.setdefault("out_pixels", 2 if base["pixels"] % 4 == 0 and base["param_depth"] % 2 else 1)
    possible = enough(base["queue_depth"], base["ic"], base["dsp_filters"], base["lut_filters"])
    base.setdefault("row_taps", base["queue_depth"] if possible else 1)
    base.setdefault("decode_lanes",
                    int(base["ports"] * base["port_bits"] // rng.choice([2, 4, 8, 16]) * rng.integers(2)))
    return EngineConfig(**base)


def random_conv(rng, net, name, source, filters, kernel, stride, padding, schemes, bits, residual=None, groups=1):
    tensors = net["tensors"]
    channels = tensors[source].channels // groups
    book = np.unique(rng.integers(-119, 120, 12)).astype(np.int16)
    scheme = np.array([rng.choice(schemes) for _ in range(filters)], np.uint8)
    weight = np.stack([rng.choice(levels(Scheme(int(s)), book), (channels, *kernel)) for s in scheme]).astype(np.int16)
    size = channels * kernel[0] * kernel[1]
    mult = rng.integers(1, 1 << 12, filters).astype(np.int32)
    spread = np.abs(weight.reshape(filters, -1)).max(1).clip(1) * np.sqrt(size) * (1 << tensors[source].bits)
    shift = int(np.clip(np.log2((spread * mult).max() / (1 << bits)), 1, 40))
    bias = rng.integers(-(1 << shift), (1 << shift) + (1 << shift + bits - 2), filters)
    height, width = ((s + 2 * p - k) // st + 1
                     for s, p, k, st in zip(tensors[source].shape[1:], padding, kernel, stride, strict=True))
    out = Tensor(name=f"t{name}", channels=filters, height=height, width=width, bits=bits,
                 zero=int(rng.integers(0, 1 << bits)) if rng.random() < 0.3 else 0)
    tensors[out.name] = out
    own = np.random.default_rng(int(np.abs(weight).sum()))
    table = own.integers(0, 1 << bits, 256).astype(np.uint8) if own.random() < 0.2 else np.zeros(0, np.uint8)
    if table.size:      # its codes have 8 bits, as many as they can be
        shift = max(shift - (8 - bits), 1)
    uses_book = bool((scheme == Scheme.CODEBOOK).any())
    net["nodes"].append(Conv(
        name=name, input=source, output=out.name, weight=weight, scheme=scheme, mult=mult, bias=bias, shift=shift, lo=0,
        hi=255 if table.size else (1 << bits) - 1, table=table, stride=stride, padding=padding, residual=residual,
        res_mult=int(rng.integers(0, 1 << min(shift, 15))) if residual else 0,
        codebook=book if uses_book else np.zeros(0, np.int16)))
    return out.name


def random_network(rng, *, schemes=None, layers=4, max_size=9, max_channels=10):
    """A network of a few layers: any kernel, stride 1 and 2, residuals, pools, zero points, 1..8-bit codes."""

    def pick(*values):
        return values[rng.integers(len(values))]

    def bits():
        return pick(1, 3, 4, 4, 5, 6, 8)
    schemes = schemes or pick([Scheme.POT4], [Scheme.FIXED8], [Scheme.FIXED4],
                              [Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8],
                              [Scheme.FIXED2, Scheme.FIXED3, Scheme.FIXED5, Scheme.CODEBOOK, Scheme.POT4])
    image = Tensor(name="image", channels=int(rng.integers(1, 5)), height=int(rng.integers(1, max_size)),
                   width=int(rng.integers(1, max_size)), bits=8, zero=int(pick(0, 0, 128)))
    net = {"tensors": {"image": image}, "nodes": []}
    source = "image"
    for index in range(layers):
        tensor, name = net["tensors"][source], f"l{index}"
        kind = pick("conv", "conv", "residual", "pool", "wide", "grouped")
        kernel = (int(min(rng.integers(1, 4), tensor.height)), int(min(rng.integers(1, 4), tensor.width)))
        padding = (int(rng.integers(0, (kernel[0] + 1) // 2 + 1)), int(rng.integers(0, (kernel[1] + 1) // 2 + 1)))
        stride = (int(pick(1, 1, 2)), int(pick(1, 1, 2)))
        filters = int(rng.integers(1, max_channels))
        if kind == "residual":
            first = random_conv(rng, net, name + "a", source, filters, (3, 3), stride, (1, 1), schemes, bits())
            other = random_conv(rng, net, name + "d", source, filters, (1, 1), stride, (0, 0), schemes, bits())
            source = random_conv(rng, net, name + "b", first, filters, (3, 3), (1, 1), (1, 1), schemes, bits(),
                                 residual=other)
        elif kind == "grouped":
            groups = pick(*(g for g in range(1, tensor.channels + 1) if tensor.channels % g == 0))
            source = random_conv(rng, net, name, source, groups * int(rng.integers(1, 4)), kernel, stride, padding,
                                 schemes, bits(), groups=groups)
        elif kind == "pool":
            op = pick("max", "avg") if index else "max"
            padding = (kernel[0] // 2, kernel[1] // 2) if op == "max" else (0, 0)
            shape = [(s + 2 * p - k) // st + 1
                     for s, p, k, st in zip(tensor.shape[1:], padding, kernel, stride, strict=True)]
            out = Tensor(name=f"t{name}", channels=tensor.channels, height=shape[0], width=shape[1], bits=tensor.bits,
                         zero=tensor.zero)
            net["tensors"][out.name] = out
            values = dict(name=name, input=source, output=out.name, kernel=kernel, stride=stride, padding=padding, lo=0,
                          hi=(1 << out.bits) - 1)
            net["nodes"].append(MaxPool(**values) if op == "max" else
                                AveragePool(**values, mult=(1 << 12) // (kernel[0] * kernel[1]), shift=12))
            source = out.name
        else:
            source = random_conv(rng, net, name, source, filters, kernel, stride, padding, schemes, bits())
    return Network(name="random", input="image", output=source, **net)


def separable_network(rng, *, blocks=2, channels=(1, 12), size=(3, 14), schemes=None):
    """Depthwise convolutions of any window between 1x1 ones, of codes that have one digit each on most engines."""

    def pick(*values):
        return values[rng.integers(len(values))]
    image = Tensor(name="image", channels=3, height=int(rng.integers(*size)), width=int(rng.integers(*size)), bits=8)
    net, source = {"tensors": {"image": image}, "nodes": []}, "image"
    schemes = schemes or pick([Scheme.FIXED4], [Scheme.POT4, Scheme.FIXED4],
                              [Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8])
    for index in range(blocks):
        wide, bits = int(rng.integers(*channels)), pick(3, 4, 4, 4, 8)
        first = random_conv(rng, net, f"wide{index}", source, wide, (1, 1), (1, 1), (0, 0), schemes, bits)
        tensor = net["tensors"][first]
        stride, padding = pick((1, 1), (1, 1), (2, 2), (1, 2)), (int(rng.integers(0, 2)), pick(0, 1, 1, 1, 2))
        kernel = [int(min(pick(1, 2, 3, 3, 5), length + 2 * p))
                  for length, p in zip(tensor.shape[1:], padding, strict=True)]
        deep = random_conv(rng, net, f"deep{index}", first, wide, tuple(kernel), stride, padding, schemes, pick(3, 4),
                           groups=wide)
        source = random_conv(rng, net, f"thin{index}", deep, int(rng.integers(1, 5)), (1, 1), (1, 1), (0, 0), schemes,
                             4)
    return Network(name="separable", input="image", output=source, **net)


def scaled_network(rng, *, channels=None, size=None, signed=None):
    """Two maps whose channels are scaled by what is computed from the first of them, one behind the other, with other
    layers around them: ``channels`` and ``size`` (rows, columns) of the maps, and whether maps and factors are
    ``signed`` (have a zero point); all any if they are None."""
    channels = channels or int(rng.integers(1, 20))
    height, width = size or (int(n) for n in rng.integers(1, 9, 2))
    net = {"tensors": {"image": Tensor(name="image", channels=3, height=height, width=width, bits=8)}, "nodes": []}

    def conv(name, source, filters, kernel, zero):
        padding = (kernel[0] // 2, kernel[1] // 2) if name != "s" else (0, 0)
        random_conv(rng, net, name, source, filters, kernel, (1, 1), padding, [Scheme.FIXED4], 8)
        last = net["nodes"][-1]
        net["nodes"][-1] = replace(last, table=np.zeros(0, np.uint8), hi=255)
        net["tensors"][last.output] = replace(net["tensors"][last.output], zero=int(zero))
        return last.output

    def scale(name, source, factor, residual):
        shift = int(rng.integers(8, 13))
        net["tensors"][name] = Tensor(name=name, channels=channels, height=height, width=width, bits=8,
                                      zero=int(rng.integers(0, 256)))
        net["nodes"].append(Scaling(
            name=f"to_{name}", input=source, factor=factor, output=name, weight=int(rng.integers(1, 8)), shift=shift,
            lo=0, hi=255, residual=residual,
            res_mult=int(rng.integers(0, min(4096, 1 << shift + 1))) if residual else 0,
            table=rng.permutation(256).astype(np.uint8) if rng.random() < 0.3 else np.zeros(0, np.uint8)))
        return name

    def zero():
        return rng.integers(1, 256) if (rng.random() < 0.5 if signed is None else signed) else 0
    x = conv("x", "image", channels, (3, 3), zero())
    other = conv("r", "image", channels, (1, 1), rng.integers(0, 256))
    factor = conv("s", x, channels, (height, width), zero())
    y = scale("y", x, factor, other if rng.random() < 0.5 else None)
    z = conv("z", y, channels, (3, 3), zero())
    last = scale("last", z, factor, y if rng.random() < 0.5 else None)
    return Network(name="scaled", input="image", output=last, **net)
