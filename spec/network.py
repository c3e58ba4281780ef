"""The integer network: what ``quant`` exports, ``compiler`` compiles and ``sim.golden`` executes.

It holds integers only. One file (``.npz``, no pickle): the entry ``graph`` is the UTF-8 bytes of a JSON object
(integers, strings and lists), every other entry is an integer array. See ``docs/network.md``.
"""

from dataclasses import dataclass, field, fields
import json

import numpy as np

from .errors import AlloyError
from .files import parse_json, read_arrays, save_arrays
from .numerics import FIXED8_MAX, Scheme, check_weights
from .records import check_types, from_values

__all__ = ["Tensor", "Conv", "Pool", "Network", "worst_case", "check_codes"]

FORMAT = 1
MULT_BITS = 16          # requantizer multiplier, unsigned
BIAS_BITS = 47          # requantizer bias, signed
SHIFT_MAX = 46


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One activation tensor, (channels, height, width) per image, unsigned codes of ``bits`` bits.

    The real value of a code q is ``scale * (q - zero)``; the scale is not kept: the engine never needs it.
    """
    name: str
    channels: int
    height: int
    width: int
    bits: int
    zero: int = 0

    def __post_init__(self):
        check_types(self, f"tensor {self.name}:")
        if not 1 <= self.bits <= 8:
            raise AlloyError(f"tensor {self.name} has {self.bits} bits: activations have 1 to 8")
        if not 0 <= self.zero < 1 << self.bits:
            raise AlloyError(f"tensor {self.name} has zero point {self.zero}, outside 0..{(1 << self.bits) - 1}")
        if min(self.channels, self.height, self.width) < 1:
            raise AlloyError(f"tensor {self.name} has an empty shape "
                             f"{self.channels}x{self.height}x{self.width}")

    @property
    def shape(self):
        return self.channels, self.height, self.width


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv:
    """Convolution or linear layer with its requantization, optional residual operand and clip (ReLU).

    ``acc = sum w * (a - zero_in)`` (padding contributes 0), then :func:`spec.numerics.requantize` with
    ``lo``/``hi`` and the output's zero point. A linear layer is a convolution whose kernel covers the map.

    Attributes
    ----------
    weight : int16 array (out_channels, in_channels / g, kernel_h, kernel_w): g groups of output channels read g groups of input
        channels (a depthwise convolution has one channel in each); 1 unless the array is that narrow
    scheme : uint8 array (out_channels,), values of :class:`spec.numerics.Scheme`
    mult : int32 array (out_channels,), 0 .. 2**16-1
    bias : int64 array (out_channels,), in units of ``acc * mult``; signed 47 bits
    stride, padding : (vertical, horizontal)
    residual : name of the tensor added before the shift, or None; ``res_mult`` is its multiplier
    codebook : int16 array of the layer's levels, empty if no filter uses one
    table : uint8 array (256,) that the clipped codes (then of 8 bits) go through, empty if there is none
    bounds : int64 array (out_channels, 2), least and largest ``acc`` that any input codes can cause (:func:`worst_case`); empty: not given
    """
    name: str
    input: str
    output: str
    weight: np.ndarray
    scheme: np.ndarray
    mult: np.ndarray
    bias: np.ndarray
    shift: int
    lo: int
    hi: int
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    residual: str | None = None
    res_mult: int = 0
    codebook: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))
    table: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    bounds: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    kind = "conv"

    def __post_init__(self):
        _check_node(self)

    @property
    def inputs(self):
        return [self.input] + ([self.residual] if self.residual else [])

    def lower(self, builder):
        """One convolution of the engine (:class:`compiler.ir.Builder`)."""
        builder.convolution(self, weight=self.weight, scheme=self.scheme, mult=self.mult, bias=self.bias, residual=self.residual,
                            res_mult=self.res_mult, table=self.table if self.table.size else None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Max or average pooling. Average: ``clip(round_shift(sum(a - zero_in)*mult, shift) + zero_out, lo, hi)``.

    For ``op == "max"`` the output has the bits and the zero point of the input; padding never wins.
    For ``op == "avg"`` padding must be zero.
    """
    name: str
    input: str
    output: str
    op: str
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    mult: int = 1
    shift: int = 1
    lo: int = 0
    hi: int = 255
    kind = "pool"

    def __post_init__(self):
        _check_node(self)
        if min(self.kernel) < 1:
            raise AlloyError(f"layer {self.name} pools with kernel {self.kernel}: its sides must be 1 or more")

    @property
    def inputs(self):
        return [self.input]

    def lower(self, builder):
        """The engine's pool unit takes the maximum; an average is a depthwise convolution of ones (:class:`compiler.ir.Builder`)."""
        if self.op == "max":
            builder.maximum(self, self.kernel)
            return
        count = builder.channels(self.input)
        builder.convolution(self, weight=np.ones((count, 1, *self.kernel), np.int64), scheme=np.full(count, Scheme.FIXED4),
                            mult=np.full(count, self.mult, np.int64), bias=np.zeros(count, np.int64))


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """An integer network: one input tensor, nodes in execution order, one output tensor."""
    name: str
    input: str
    output: str
    tensors: dict      # name -> Tensor
    nodes: list        # Conv | Pool

    def __post_init__(self):
        check_types(self, f"network {self.name}:")
        self.check()

    def node_macs(self, node):
        """Multiply-accumulates of one node, zero for pooling."""
        out = self.tensors[node.output]
        return node.weight[0].size * out.channels * out.height * out.width if node.kind == "conv" else 0

    def check(self):
        """Raise :class:`AlloyError` for the first inconsistency; a valid network passes silently."""
        known, names = {self.input}, [node.name for node in self.nodes]
        for name in names:
            if names.count(name) > 1:
                raise AlloyError(f"two layers are called {name}: give each its own name")
        if any(name != tensor.name for name, tensor in self.tensors.items()):
            raise AlloyError("a tensor is listed under another name than its own: list it under its name")
        if self.input not in self.tensors:
            raise AlloyError(f"network input {self.input} is not among its tensors")
        for node in self.nodes:
            where = f"layer {node.name}"
            for name in node.inputs:
                if name not in known:
                    raise AlloyError(f"{where} reads tensor {name} before anything writes it: sort the layers")
            if node.output in known or node.output not in self.tensors:
                raise AlloyError(f"{where} writes tensor {node.output}, which is "
                                 + ("written already" if node.output in known else "not described"))
            (_check_conv if node.kind == "conv" else _check_pool)(self, node, where)
            known.add(node.output)
        if self.output not in known:
            raise AlloyError(f"network output {self.output} is written by no layer")

    def save(self, path):
        """Write the documented single-file form; an existing file is replaced only when the new one is complete."""
        arrays, nodes = {}, []
        for node in self.nodes:
            entry = {"kind": node.kind}
            for f in fields(node):
                value = getattr(node, f.name)
                if isinstance(value, np.ndarray):
                    arrays[f"{node.name}.{f.name}"] = value
                else:
                    entry[f.name] = list(value) if isinstance(value, tuple) else value
            nodes.append(entry)
        graph = {"format": FORMAT, "name": self.name, "input": self.input, "output": self.output,
                 "tensors": [{f.name: getattr(t, f.name) for f in fields(t)} for t in self.tensors.values()],
                 "nodes": nodes}
        text = json.dumps(graph, separators=(",", ":"), default=_plain_int)
        save_arrays(path, {"graph": np.frombuffer(text.encode(), np.uint8), **arrays})

    @classmethod
    def load(cls, path):
        """Read :meth:`save`'s file; any damage is one :class:`AlloyError`."""
        fails = "is not a whole Alloy network file"
        arrays = read_arrays(path, "network file", needed=("graph",), fails=fails,
                             way="give the .npz that Network.save or python -m quant wrote")
        try:
            graph = parse_json(arrays.pop("graph").tobytes())
            if type(graph.get("format")) is not int or graph["format"] != FORMAT:
                raise AlloyError(f"it has network format {graph.get('format')} and this Alloy reads {FORMAT}")
            return cls._from_graph(graph, arrays)
        except ValueError as error:
            raise AlloyError(f"{path} {fails}: {error}; export it again") from None
        except (LookupError, TypeError, ArithmeticError) as error:
            raise AlloyError(f"{path} {fails}: its layers do not fit each other ({type(error).__name__}); export it "
                             "again") from None

    @classmethod
    def _from_graph(cls, graph, arrays):
        """The network of the JSON object ``graph`` and the ``arrays`` LAYER.FIELD."""
        lists = {key: graph.pop(key, None) for key in ("tensors", "nodes")}
        for key, entries in lists.items():
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise AlloyError(f"its {key} are no list of objects")
        tensors, nodes = {}, []
        for entry in lists["tensors"]:
            tensor = from_values(Tensor, entry, f"tensor {entry.get('name')}:")
            if tensor.name in tensors:
                raise AlloyError(f"two tensors are called {tensor.name}")
            tensors[tensor.name] = tensor
        for entry in lists["nodes"]:
            name, kind = entry.get("name"), entry.pop("kind", None)
            if kind not in ("conv", "pool"):
                raise AlloyError(f"layer {name} is of the unknown kind {kind!r}")
            own = {key.rpartition(".")[2]: value for key, value in arrays.items() if key.rpartition(".")[0] == name}
            nodes.append(from_values(Conv if kind == "conv" else Pool, entry | own, f"layer {name}:"))
        rest = {key: value for key, value in graph.items() if key != "format"}
        return from_values(cls, rest | {"tensors": tensors, "nodes": nodes}, "the network")


def _plain_int(value):
    return int(value)


def _check_node(node):
    """What a layer must be whatever network it is in: fields of the right type, whole numbers in arrays, a window that
    moves."""
    where = f"layer {node.name}"
    check_types(node, f"{where}:")
    for f in fields(node):
        value = getattr(node, f.name)
        if isinstance(value, np.ndarray) and not np.issubdtype(value.dtype, np.integer):
            raise AlloyError(f"{where} has {f.name} of {value.dtype}, values that are not integers")
    if "" in (node.name, node.input, node.output, node.residual if node.kind == "conv" else None):
        raise AlloyError(f"{where} has an empty name for itself or a tensor: give every one a name")
    if min(node.stride) < 1 or min(node.padding) < 0:
        raise AlloyError(f"{where} has stride {node.stride} and padding {node.padding}: strides are 1 or more, padding "
                         "0 or more")


def check_codes(images, tensor, what="the images"):
    """``images`` as an int64 array; :class:`AlloyError` unless they are codes (N, C, H, W) of the input ``tensor``."""
    images, limit = np.asarray(images), 1 << tensor.bits
    if images.shape[1:] != tensor.shape:
        raise AlloyError(f"{what} are of shape {images.shape}: the network reads (N, {', '.join(map(str, tensor.shape))})")
    if not np.issubdtype(images.dtype, np.integer) or images.size and not 0 <= images.min() <= images.max() < limit:
        raise AlloyError(f"{what}, {images.dtype}, are no codes: the network reads integers from 0 to {limit - 1}")
    return images.astype(np.int64)


def worst_case(weight, tensor):
    """Least and largest ``sum w * (a - zero)`` of each filter of ``weight`` (F, C, kh, kw) over all codes of the input ``tensor``: int64 (F, 2).

    Padding contributes 0, which lies between them.
    """
    flat = weight.reshape(len(weight), -1).astype(np.int64)
    plus, minus = np.maximum(flat, 0).sum(1), np.minimum(flat, 0).sum(1)
    low, high = -tensor.zero, (1 << tensor.bits) - 1 - tensor.zero
    return np.stack([plus * low + minus * high, plus * high + minus * low], 1)


def _out_size(size, kernel, stride, padding):
    return (size + 2 * padding - kernel) // stride + 1


def _check_shape(net, node, kernel, channels, where):
    source, out = net.tensors[node.input], net.tensors[node.output]
    shape = (channels, *(_out_size(s, k, st, p) for s, k, st, p in
                         zip(source.shape[1:], kernel, node.stride, node.padding)))
    if out.shape != shape:
        raise AlloyError(f"{where} makes {'x'.join(map(str, shape))}, but tensor {out.name} is "
                         f"{'x'.join(map(str, out.shape))}")
    bits = 8 if node.kind == "conv" and node.table.size else out.bits
    if not 0 <= node.lo <= node.hi < 1 << bits:
        what = f"tensor {out.name}" if bits == out.bits else "its table"
        raise AlloyError(f"{where} clips to {node.lo}..{node.hi}, outside the {bits} bits of {what}")
    if not 1 <= node.shift <= SHIFT_MAX:
        raise AlloyError(f"{where} shifts by {node.shift}: the requantizer shifts by 1 to {SHIFT_MAX}")


def _check_conv(net, node, where):
    channels = net.tensors[node.input].channels
    if node.weight.ndim != 4 or 0 in node.weight.shape:
        raise AlloyError(f"{where} has weights of shape {node.weight.shape}: they need filters, channels, rows and "
                         "columns")
    filters = node.weight.shape[0]
    if channels % node.weight.shape[1] or filters % (channels // node.weight.shape[1]):
        raise AlloyError(f"{where} has weights of shape {node.weight.shape}, but reads {channels} channels")
    for name in ("scheme", "mult", "bias"):
        if getattr(node, name).shape != (filters,):
            raise AlloyError(f"{where} needs one {name} for each of its {filters} filters")
    _check_shape(net, node, node.weight.shape[2:], filters, where)
    if np.abs(node.weight.astype(np.int64)).max() > FIXED8_MAX:
        raise AlloyError(f"{where} has a weight outside -{FIXED8_MAX}..{FIXED8_MAX}")
    for name in ("codebook", "table"):
        if getattr(node, name).ndim != 1:
            raise AlloyError(f"{where} has a {name} of shape {getattr(node, name).shape}: it is a list of values")
    unknown = set(node.scheme.tolist()) - {int(s) for s in Scheme}
    if unknown:
        raise AlloyError(f"{where} has filters of the unknown number system {min(unknown)}: known are "
                         f"{', '.join(s.name for s in Scheme)}")
    for index, scheme in enumerate(node.scheme):
        if not check_weights(node.weight[index], Scheme(int(scheme)), node.codebook if node.codebook.size else None):
            raise AlloyError(f"{where} filter {index} has a weight that is no level of {Scheme(int(scheme)).name}")
    if node.bounds.size and not np.array_equal(node.bounds, worst_case(node.weight, net.tensors[node.input])):
        raise AlloyError(f"{where} was exported with other accumulator bounds than its weights and input codes have: export it again")
    if node.mult.min() < 0 or int(node.mult.max()) >> MULT_BITS or not 0 <= node.res_mult < 1 << MULT_BITS:
        raise AlloyError(f"{where} has a multiplier outside 0..{(1 << MULT_BITS) - 1}")
    if int(np.abs(node.bias).max()) >> (BIAS_BITS - 1):
        raise AlloyError(f"{where} has a bias that needs more than {BIAS_BITS} bits")
    if node.table.size not in (0, 256) or node.table.size and int(node.table.max()) >> net.tensors[node.output].bits:
        raise AlloyError(f"{where} has a table that is not 256 codes of the {net.tensors[node.output].bits} bits of its output")
    if node.residual is not None:
        if net.tensors[node.residual].shape != net.tensors[node.output].shape:
            raise AlloyError(f"{where} adds tensor {node.residual} of another shape than its output")


def _check_pool(net, node, where):
    _check_shape(net, node, node.kernel, net.tensors[node.input].channels, where)
    source, out = net.tensors[node.input], net.tensors[node.output]
    if node.op not in ("max", "avg"):
        raise AlloyError(f"{where} pools by {node.op!r}: Alloy pools by max or avg")
    if node.op == "max" and (source.bits, source.zero) != (out.bits, out.zero):
        raise AlloyError(f"{where} changes bits or zero point in a max pool")
    if node.op == "avg" and any(node.padding):
        raise AlloyError(f"{where} averages over padding: use padding 0")
    if not 0 <= node.mult < 1 << MULT_BITS:
        raise AlloyError(f"{where} has multiplier {node.mult}, outside 0..{(1 << MULT_BITS) - 1}")
