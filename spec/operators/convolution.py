"""Convolutions, linear layers among them, with what follows them: addition, clip and table."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ..errors import AlloyError
from ..numerics import Scheme, requantize
from ..systems import SYSTEMS
from .operator import Call, Layer, Operator, register
from .windows import BIAS_BITS, MULT_BITS, Window, check_clip, check_window, pair

if TYPE_CHECKING:
    from ..network import Network, Tensor

__all__ = ["Conv", "ConvLayer", "accumulate", "worst_case"]

# Values of one block of windows: bounds the memory, whatever the number of images, and stays near the processor.
CHUNK = 1 << 20


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Conv(Operator):
    """Convolution or linear layer with its requantization, optional residual operand and clip (ReLU).

    ``acc = sum w * (a - zero_in)`` (padding contributes 0), then :func:`spec.numerics.requantize` with
    ``lo``/``hi`` and the output's zero point. A linear layer is a convolution whose kernel covers the map.

    Attributes
    ----------
    weight : int16 array (out_channels, in_channels / g, kernel_h, kernel_w): g groups of output channels read g groups
        of input channels (a depthwise convolution has one channel in each); 1 unless the array is that narrow
    scheme : uint8 array (out_channels,), values of :class:`spec.numerics.Scheme`
    mult : int32 array (out_channels,), 0 .. 2**16-1
    bias : int64 array (out_channels,), in units of ``acc * mult``; signed 47 bits
    stride, padding, padding_end, dilation : as :class:`spec.operators.windows.Window` has them
    residual : name of the tensor added before the shift, or None; ``res_mult`` is its multiplier
    codebook : int16 array of the layer's levels, empty if no filter uses one
    table : uint8 array (256,) that the clipped codes (then of 8 bits) go through, empty if there is none
    bounds : int64 array (out_channels, 2), least and largest ``acc`` that any input codes can cause
        (:func:`worst_case`); empty: not given
    """
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
    padding_end: tuple[int, int] | None = None
    dilation: tuple[int, int] = (1, 1)
    kind = "conv"
    optional = ("padding_end", "dilation")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_window(self)

    @property
    def kernel(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.weight.shape[2], self.weight.shape[3]

    @property
    def inputs(self) -> list[str]:
        return [self.input] if self.residual is None else [self.input, self.residual]

    def shape(self, network: "Network") -> tuple[int, int, int]:
        return len(self.weight), *Window.of(self).size(network.tensors[self.input].shape[1:])

    def check(self, network: "Network") -> None:
        where, out = f"layer {self.name}", network.tensors[self.output]
        self._check_arrays(network.tensors[self.input].channels)
        super().check(network)
        check_clip(self, 8 if self.table.size else out.bits, "its table" if self.table.size else f"tensor {out.name}")
        self._check_weights()
        if self.bounds.size and not np.array_equal(self.bounds, worst_case(self.weight, network.tensors[self.input])):
            raise AlloyError(f"{where} was exported with other accumulator bounds than its weights and input codes "
                             "have: export it again")
        if self.mult.min() < 0 or int(self.mult.max()) >> MULT_BITS or not 0 <= self.res_mult < 1 << MULT_BITS:
            raise AlloyError(f"{where} has a multiplier outside 0..{(1 << MULT_BITS) - 1}")
        if int(np.abs(self.bias).max()) >> (BIAS_BITS - 1):
            raise AlloyError(f"{where} has a bias that needs more than {BIAS_BITS} bits")
        if self.table.size not in (0, 256) or self.table.size and int(self.table.max()) >> out.bits:
            raise AlloyError(f"{where} has a table that is not 256 codes of the {out.bits} bits of its output")
        if self.residual is not None and network.tensors[self.residual].shape != out.shape:
            raise AlloyError(f"{where} adds tensor {self.residual} of another shape than its output")

    def _check_arrays(self, channels):
        """Shapes of the arrays, for an input of so many channels."""
        where, shape = f"layer {self.name}", self.weight.shape
        if len(shape) != 4 or 0 in shape:
            raise AlloyError(f"{where} has weights of shape {shape}: they need filters, channels, rows and columns")
        if channels % shape[1] or shape[0] % (channels // shape[1]):
            raise AlloyError(f"{where} has weights of shape {shape}, but reads {channels} channels")
        for name in ("scheme", "mult", "bias"):
            if getattr(self, name).shape != shape[:1]:
                raise AlloyError(f"{where} needs one {name} for each of its {shape[0]} filters")
        for name in ("codebook", "table"):
            if getattr(self, name).ndim != 1:
                raise AlloyError(f"{where} has a {name} of shape {getattr(self, name).shape}: it is a list of values")

    def _check_weights(self):
        """Every weight is a level of its filter's number system."""
        where = f"layer {self.name}"
        unknown = set(self.scheme.tolist()) - SYSTEMS.keys()
        if unknown:
            raise AlloyError(f"{where} has filters of the unknown number system {min(unknown)}: known are "
                             f"{', '.join(s.name for s in Scheme)}")
        book = self.codebook if self.codebook.size else None
        for scheme in np.unique(self.scheme):
            system, rows = SYSTEMS[int(scheme)], np.flatnonzero(self.scheme == scheme)
            if not system.holds(self.weight[rows], book):
                index = next(row for row in rows if not system.holds(self.weight[row], book))
                raise AlloyError(f"{where} filter {index} has a weight that is no level of {Scheme(int(scheme)).name}")

    def run(self, network: "Network", *codes: np.ndarray) -> np.ndarray:
        column, tensors = (slice(None), None, None), network.tensors
        acc = accumulate(self, codes[0], tensors[self.input].zero)
        res = codes[1] - tensors[self.residual].zero if self.residual is not None else 0
        return requantize(acc, self.mult.astype(np.int64)[column], self.bias.astype(np.int64)[column], self.shift,
                          lo=self.lo, hi=self.hi,
                          out_zero=tensors[self.output].zero, res=res, res_mult=self.res_mult, table=self.table)

    def macs(self, network: "Network") -> int:
        return self.weight[0].size * int(np.prod(network.tensors[self.output].shape))

    def lower(self, builder: Any) -> None:
        builder.convolution(self, weight=self.weight, scheme=self.scheme, mult=self.mult, bias=self.bias,
                            residual=self.residual,
                            res_mult=self.res_mult, table=self.table if self.table.size else None)


def worst_case(weight: np.ndarray, tensor: "Tensor") -> np.ndarray:
    """Least and largest ``sum w * (a - zero)`` of each filter of ``weight`` (F, C, kh, kw) over all codes of the input
    ``tensor``: int64 (F, 2).

    Padding contributes 0, which lies between them.
    """
    flat = weight.reshape(len(weight), -1)
    total, sizes = (values.sum(1, dtype=np.int64) for values in (flat, np.abs(flat)))
    plus, minus = (total + sizes) // 2, (total - sizes) // 2
    low, high = -tensor.zero, (1 << tensor.bits) - 1 - tensor.zero
    return np.stack([plus * low + minus * high, plus * high + minus * low], 1)


def accumulate(node: Conv, codes: np.ndarray, zero: int) -> np.ndarray:
    """Exact sums of ``weight * (code - zero)``: int64 (N, F, rows, cols).

    Products of matrices in floating point: every partial sum is an integer no larger than the bound of the whole sum,
    so float32 is exact below 2**24 and float64 below 2**53.

    Parameters
    ----------
    codes : int array (N, C, H, W), codes of the input tensor; ``zero`` is their zero point.
    """
    codes = np.asarray(codes, np.int64) - zero
    filters, share = node.weight.shape[:2]
    bound = int(np.abs(node.weight.astype(np.int64)).sum((1, 2, 3)).max()) * int(np.abs(codes).max(initial=0))
    assert bound < 1 << 53
    exact = np.float32 if bound < 1 << 24 else np.float64
    groups = codes.shape[1] // share
    weight = node.weight.reshape(groups, filters // groups, -1).astype(exact)
    view = Window.of(node).over(codes.astype(exact), 0)
    count, _, rows, cols = view.shape[:4]
    step = max(1, CHUNK // int(np.prod(view.shape[1:])))
    sums = np.empty((count, filters, rows, cols), np.int64)
    for at in range(0, count, step):
        # One product of matrices for each group: many small ones would keep the threads of NumPy waiting.
        block = view[at:at + step].transpose(1, 4, 5, 0, 2, 3).reshape(groups, weight.shape[2], -1)
        sums[at:at + step] = (weight @ block).reshape(filters, -1, rows, cols).transpose(1, 0, 2, 3)
    return sums


@register
@dataclass(eq=False, kw_only=True)
class ConvLayer(Layer):
    """Convolution or linear layer on real values; a batch norm before addition and ReLU is folded into it.

    Attributes
    ----------
    weight, bias : tensors (F, C / groups, kh, kw) and (F,)
    moments : (2, F), where a batch norm was folded: mean and standard deviation that each filter's output had in
        training
    """
    weight: Any
    bias: Any
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    padding_end: tuple[int, int] | None = None
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    moments: Any = None

    calls: ClassVar[tuple[str, ...]] = ("conv2d",)
    learned = True
    weighted = True

    @classmethod
    def read(cls, call: Call) -> Self:
        given = call.arguments
        weight, bias, padding, dilation = given["weight"], given["bias"], given["padding"], pair(given["dilation"])
        end = None
        if isinstance(padding, str):
            around = [d * (k - 1) if padding == "same" else 0 for k, d in zip(weight.shape[2:], dilation, strict=True)]
            padding = [size // 2 for size in around]
            end = pair([size - size // 2 for size in around]) if any(size % 2 for size in around) else None
        bias = weight.new_zeros(len(weight)) if bias is None else bias.clone()
        return cls(name=call.name, sources=call.sources, output=call.name, weight=weight.clone(), bias=bias,
                   stride=pair(given["stride"]), padding=pair(padding), padding_end=end, dilation=dilation,
                   groups=given["groups"])

    @property
    def kernel(self) -> tuple[int, int]:
        """(rows, columns)."""
        return tuple(self.weight.shape[2:])

    @property
    def fresh(self) -> bool:
        return not self.relu and self.residual is None

    def shape(self, *shapes: tuple[int, int, int]) -> tuple[int, int, int]:
        return len(self.weight), *Window.of(self).size(shapes[0][1:])

    def by_input_channel(self, values: Any) -> Any:
        """``values`` (C,) of its input channels where its weights read them: (F, C / groups, 1, 1)."""
        filters, share = self.weight.shape[:2]
        group = np.arange(filters) * self.groups // filters
        return values[group[:, None] * share + np.arange(share)][:, :, None, None]

    def apply(self, torch: Any, *sources: Any, weight: Any = None, bias: Any = None) -> Any:
        """With other weights and bias if they are given."""
        weight, bias = self.weight if weight is None else weight, self.bias if bias is None else bias
        x, padding = Window.of(self).padded(torch, sources[0])
        return torch.nn.functional.conv2d(x, weight, bias, self.stride, padding, self.dilation, self.groups)

    def signed(self, sources: bool) -> bool:
        return not self.relu

    def needs(self, live: Any) -> list[Any]:
        """The channels that a filter of ``live`` reads with weights that are not 0."""
        weight = self.weight if live.all() else self.weight * live[:, None, None, None]
        read = (weight.reshape(self.groups, -1, weight[0].numel()) != 0).any(1)
        return [read.reshape(self.groups * weight.shape[1], -1).any(1)]

    def export(self, net: Any) -> Conv:
        found, scheme = net.requantizer(self)[0], net.schemes[self.name]
        book = net.codebooks.get(self.name) if (scheme == Scheme.CODEBOOK).any() else np.zeros(0, np.int16)
        return self.integers(net, found, net.integers(self).astype(np.int16, copy=False), scheme, book)

    def integers(self, net: Any, found: Any, weight: np.ndarray, scheme: np.ndarray, codebook: np.ndarray) -> Conv:
        """The node with whole ``weight`` and the :class:`quant.requantizer.Requantizer` ``found``."""
        return Conv(
            name=self.name, input=self.input, output=self.output, stride=self.stride, padding=self.padding,
            padding_end=self.padding_end, dilation=self.dilation, residual=self.residual,
            weight=weight, scheme=scheme, codebook=codebook, bounds=worst_case(weight, net.tensor(self.input)),
            mult=found.mult.astype(np.int32), bias=np.round(found.bias * 2.0 ** found.shift).astype(np.int64),
            shift=found.shift,
            res_mult=found.res_mult, lo=net.zeros[self.output] if self.relu else 0, hi=net.top(self),
            table=net.tables.get(self.output, np.zeros(0, np.uint8)))
