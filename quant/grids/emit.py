"""Sums and curves of a quantized ONNX graph as nodes of the integer network, and how far these are the same."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from spec.errors import AlloyError
from spec.network import Tensor
from spec.numerics import Scheme, round_shift
from spec.operators.average_pool import AveragePool
from spec.operators.convolution import Conv, accumulate, worst_case
from spec.operators.lookup import CODES, Lookup
from spec.operators.windows import Window

from ..requantizer import largest_shift
from .rounding import NEAR as TRIED
from .rounding import fit, thresholds
from .values import Codes, Curve, Grid, Sum

__all__ = ["EQUAL", "NEAR", "Finding", "Source", "average", "codes_tensor", "convolution", "curve_of", "finding_of",
           "identity_sum", "scheme_of", "table"]

NEAR = 5e-4             # codes: so near to the border of two of them, sums of 32-bit numbers may fall to either side
CELLS = 1 << 23         # thresholds times residual codes that are compared
WIDEST = 255            # largest weight
EQUAL = 14              # shift beside the multiplier 2**14: codes stay as they are
# The codes (N, C, H, W) of a layer's output as the file computes them, of the network and the codes of the inputs;
# ``change`` is added before it rounds, in codes, where it computes with 32-bit numbers.
Source: TypeAlias = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Finding:
    """How a layer of the integer network compares with its node in the file.

    Attributes
    ----------
    where : names the node. share : of all values that its accumulator can have, those whose code differs; 0: every
        one is the same. most : the largest difference, in codes. text : the whole as a sentence.
    layer : name of the layer; empty for what is said of the network. source : the file's own arithmetic, where it is
        not that of the layer.
    """
    where: str
    share: float
    most: int
    text: str
    layer: str = ""
    source: Source | None = field(default=None, repr=False, compare=False)

    @property
    def exact(self) -> bool:
        return self.share == 0


def scheme_of(weight: np.ndarray, where: str) -> np.ndarray:
    """uint8 (F,): the smallest fixed-point system that holds each filter."""
    largest = np.abs(weight).reshape(len(weight), -1).max(1)
    if largest.max() > WIDEST:
        raise AlloyError(f"{where} has weights of up to {largest.max()} times their scale: at most 8 bits are "
                         "supported, quantize weights to 8 bits or fewer")
    tops = [scheme.system.levels()[-1] for scheme in list(Scheme)[:8]]
    return (np.searchsorted(tops, largest) + 2).astype(np.uint8)


def identity_sum(where: str, name: str, codes: Codes) -> Sum:
    """A tensor as a sum that can be added to, scaled and rounded: a convolution by channel of ones."""
    channels = codes.shape[0]
    return Sum(where, name, codes, np.ones((channels, 1, 1, 1), np.int64), Window((1, 1)),
               np.full(channels, codes.grid.scale), np.zeros(channels), flat=codes.flat)


def curve_of(made: Any) -> Curve | None:
    """A sum that is one function of each code of one tensor, as that; None for everything else."""
    if not isinstance(made, Sum) or made.residual or made.pools or made.shape != made.source.shape or (
            made.divisors is not None):
        return None
    if (made.weight != 1).any() or made.weight[0].size > 1 or not _alike(made):
        return None
    grid = made.source.grid
    real = np.arange(grid.low - grid.zero, grid.high - grid.zero + 1) * made.factor[0] + made.bias[0]
    return Curve(replace(made.source, flat=made.flat), np.clip(real, made.least, made.most), made.where, made.name)


def convolution(made: Sum, grid: Grid, name: str) -> tuple[Conv, Tensor, Finding]:
    """(node, its output, finding) of a sum that is rounded to ``grid``."""
    grid.check(made.where)
    low, high = _reachable(made)
    lo, hi = _clip(made, grid)
    steps = np.arange(lo + 1, hi + 1) - grid.origin
    factor, shape = made.factor / grid.scale, made.shape
    res, res_factor = np.zeros(1, np.int64), 0.0
    if made.residual is not None:
        other = made.residual.grid
        res, res_factor = np.arange(other.high - other.low + 1) - other.origin, other.scale / grid.scale
    alike = _alike(made)        # filters that are all the same are looked at once
    pick = slice(0, 1) if alike else slice(None)
    sparse = max(1, -(-len(res) * len(steps) * len(factor[pick]) // CELLS))
    res = res[::sparse]
    columns, rows = np.tile(steps, len(res)), np.repeat(res, len(steps))
    if len(columns):
        near = NEAR if _loose(made, grid, factor) else 0.0
        wanted = [thresholds(_source(made, grid, columns, rows, change, pick), low[pick], high[pick], len(columns))
                  for change in ((0.0,) if near == 0 else (0.0, near, -near))]
        found = fit(wanted[0], columns, factor[pick], low[pick], high[pick], rows if res_factor else None, res_factor)
        off = found.off + (np.abs(wanted[1] - wanted[2]).sum(1) if near else 0)
        count = (high - low + 1)[pick].sum() * len(res)
        share, most = float(off.sum() / count), _most(found, wanted[0], columns, rows, low[pick], high[pick])
    else:       # one code only
        zeros = np.zeros(len(factor[pick]), np.int64)
        found, share, most = fit(zeros[:, None], np.zeros(1, np.int64), factor[pick], zeros, zeros), 0.0, 0
    filters = len(made.weight)
    tensor = codes_tensor(name, shape, grid)
    source_tensor = Tensor(name="x", channels=1, height=1, width=1, bits=made.source.grid.bits,
                           zero=made.source.grid.origin)
    window = made.window
    node = Conv(
        name=name, input=made.source.name, output=name, weight=made.weight.astype(np.int16),
        scheme=scheme_of(made.weight, made.where), mult=np.resize(found.mult, filters).astype(np.int32),
        bias=np.resize(found.bias, filters).astype(np.int64), shift=found.shift, lo=lo, hi=hi, stride=window.stride,
        padding=window.padding, padding_end=window.padding_end, dilation=window.dilation,
        residual=made.residual.name if made.residual else None, res_mult=found.res_mult,
        bounds=worst_case(made.weight, source_tensor))
    return node, tensor, finding_of(made.where, name, share, max(most, int(share > 0)), sparse,
                                    source=_convolved(made, grid, node))


def table(source: Codes, real: np.ndarray, grid: Grid, where: str, name: str) -> tuple[Lookup, Tensor, Finding]:
    """(node, its output of that name, finding) of a function of each code, ``real[code]``, rounded to ``grid``."""
    grid.check(where)
    codes = np.zeros(CODES, np.uint8)
    codes[:len(real)] = grid.codes(real)
    tensor = codes_tensor(name, source.shape, grid)
    return Lookup(name=name, input=source.name, output=name, table=codes), tensor, finding_of(where, name)


def average(made: Sum, grid: Grid, name: str) -> tuple[AveragePool, Tensor, Finding]:
    """(node, its output, finding) of an average with ``divisors`` that is rounded to ``grid``."""
    assert made.divisors is not None
    grid.check(made.where)
    if made.residual is not None or not _alike(made) or made.bias.any() or (made.weight != 1).any():
        raise AlloyError(f"{made.where} averages over fewer values at the border, and is followed by a sum, or by a "
                         "product with a number below 0 or with one for each channel: quantize in between")
    lo, hi = _clip(made, grid)
    found, factor = np.unique(made.divisors), made.factor[0] / grid.scale
    source, size = made.source.grid, int(np.prod(made.window.kernel))
    shift = largest_shift(float(factor / found[0]), float(factor * (source.high - source.low)))
    mults, count, off, most = [], 0, 0, 0
    for divisor in found:
        least, greatest = (min(divisor, size) * (end - source.zero) for end in (source.low, source.high))
        sums = np.arange(least, greatest + 1)
        near = NEAR if _loose(made, grid, made.factor[:1] / grid.scale / divisor) else 0.0
        mult, wrong, apart = _averaged(sums, factor / divisor, grid, (lo, hi), shift, near)
        mults.append(mult)
        count, off, most = count + len(sums), off + wrong, max(most, apart)
    node = AveragePool(
        name=name, input=made.source.name, output=name, mult=max(mults), shift=shift, lo=lo, hi=hi,
        mults=np.array(mults, np.int32)[np.searchsorted(found, made.divisors)], **asdict(made.window))

    def computed(network, codes, change=0.0):
        total = Window.of(node).over(codes - network.tensors[node.input].zero, 0).sum((4, 5))
        real = (total * (factor / made.divisors) + change) * grid.scale
        return np.clip(grid.numbers(real) - grid.low, lo, hi).astype(np.int64)
    return node, codes_tensor(name, made.shape, grid), finding_of(made.where, name, off / count, most, source=computed)


def _averaged(sums, factor, grid, ends, shift, near):
    """(multiplier, sums whose code it makes different from the source's, the largest difference) of ``sums`` times
    ``factor``."""
    def codes(change):
        return np.clip(grid.numbers((sums * factor + change) * grid.scale) - grid.low, *ends).astype(np.int64)
    wanted, unsure = codes(0.0), codes(near) != codes(-near)
    nearest, best = round(factor * 2.0 ** shift), (0, len(sums) + 1, 0)
    for mult in sorted(range(max(1, nearest - TRIED), nearest + TRIED + 1), key=lambda one: abs(one - nearest)):
        apart = np.abs(np.clip(round_shift(sums * mult, shift) + grid.origin, *ends) - wanted)
        off = int(((apart > 0) | unsure).sum())
        if off < best[1]:
            best = mult, off, max(int(apart.max()), int(off > 0))
        if best[1] == 0:
            break
    return best


def _clip(made, grid):
    """Least and largest code."""
    bounds = np.clip(grid.numbers(np.array([made.least, made.most])), grid.low, grid.high).astype(np.int64) - grid.low
    return int(bounds[0]), int(bounds[1])


def codes_tensor(name: str, shape: tuple[int, int, int], grid: Grid) -> Tensor:
    """A tensor of the network whose codes are those of a grid."""
    channels, rows, cols = shape
    return Tensor(name=name, channels=channels, height=rows, width=cols, bits=grid.bits, zero=grid.origin,
                  scale=float(grid.scale))


def _alike(made):
    """Whether all filters are the same in all but the channels that they read."""
    return all((value == value[:1]).all() for value in (made.weight, made.factor, made.bias)) and (
        made.whole is None or all((np.asarray(value) == np.asarray(value).flat[0]).all() for value in made.whole))


def _reachable(made):
    """Least and largest accumulator of each filter, int64 (F,) each."""
    flat, grid = made.weight.reshape(len(made.weight), -1), made.source.grid
    plus, minus = np.maximum(flat, 0).sum(1), np.minimum(flat, 0).sum(1)
    below, above = grid.low - grid.zero, grid.high - grid.zero
    return plus * below + minus * above, plus * above + minus * below


def _loose(made, grid, factor):
    """Whether rounding within the source, of 32-bit sums, can decide between two codes: not where all are multiples of
    powers of two."""
    if made.exact is not None or _whole(made, grid):
        return False
    scales = [made.source.grid.scale, grid.scale, *([made.residual.grid.scale] if made.residual else [])]
    powers = np.log2([*factor, *scales])
    units = made.bias / made.factor
    return bool((powers != np.round(powers)).any() or (units * 2 ** 8 != np.round(units * 2 ** 8)).any())


def _whole(made, grid):
    """Whether onnxruntime sums whole numbers here."""
    return made.whole is not None and made.residual is None and grid.mode == "LINEAR"


def _source(made, grid, columns, rows, change, pick):
    """A function of accumulators (F, n): whether the source gives each at least its code beside the residual codes
    ``rows``; ``change`` is added, in codes."""
    codes = columns + grid.zero
    return lambda acc: _numbers(made, grid, acc, rows, pick, change) >= codes


def _numbers(made, grid, acc, res, pick, change=0.0):
    """q of accumulators (F, n) beside residual codes, less their zero point, as the source computes it, not clipped."""
    if made.exact is not None:
        return made.exact(acc, res, pick)
    if _whole(made, grid):
        bias, scale, scales = made.whole
        mult = (np.float32(scale) * scales.astype(np.float32) / np.float32(grid.scale)).astype(np.float32)[pick, None]
        return np.round((acc + bias[pick, None]).astype(np.float32) * mult) + grid.zero
    factor, bias = made.factor[pick, None], made.bias[pick, None]
    shifts = change + (res * (made.residual.grid.scale / grid.scale) if made.residual else 0.0)
    return grid.numbers(acc * factor + bias + shifts * grid.scale)


def _convolved(made, grid, node):
    """The :data:`Source` of a convolution."""
    def source(network, codes, *residual, change=0.0):
        acc = accumulate(node, codes, network.tensors[node.input].zero).transpose(1, 0, 2, 3)
        res = [(one - network.tensors[node.residual].zero).transpose(1, 0, 2, 3) for one in residual]
        flat, *res = (one.reshape(len(node.weight), -1) for one in (acc, *res))
        numbers = _numbers(made, grid, flat, res[0] if res else np.zeros(1, np.int64), slice(None), change)
        codes = np.clip(numbers - grid.low, node.lo, node.hi).astype(np.int64)
        return codes.reshape(acc.shape).transpose(1, 0, 2, 3)
    return source


def _most(found, wanted, columns, rows, low, high):
    """The largest difference of codes beside the thresholds."""
    worst = 0
    for res in np.unique(rows):
        here = rows == res
        limits, steps = wanted[:, here], columns[here]
        points = np.clip(np.concatenate([limits, limits - 1], 1), low[:, None], high[:, None])
        got = (points * found.mult[:, None] + res * found.res_mult + found.bias[:, None]
               + (1 << found.shift - 1)) >> found.shift
        got = np.clip(got, steps[0] - 1, steps[-1])
        for index, limit in enumerate(limits):
            right = steps[0] - 1 + np.searchsorted(limit, points[index], side="right")
            worst = max(worst, int(np.abs(got[index] - right).max()))
    return worst


def finding_of(where: str, layer: str, share: float = 0.0, most: int = 0, sparse: int = 1,
               source: Source | None = None) -> Finding:
    """That codes of a layer differ for a ``share`` of all sums, by at most ``most``; only one of ``sparse`` has been
    looked at."""
    if share == 0 and sparse == 1:
        return Finding(where, 0.0, 0, f"{where} computes exactly what the file says", layer)
    what = f"differs by at most {most} code{'s' * (most != 1)} for a share of {share:.2g} of its sums"
    return Finding(where, max(share, 1e-9), max(most, 1), f"{where} {what}", layer, source)
