"""Operations of the engine: one class for each unit that computes, with all that the compiler asks of it."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import KW_ONLY, dataclass, replace
from typing import TypeAlias
from functools import cached_property

import numpy as np

from spec.config import EngineConfig
from spec.latency import wide_pixels
from spec.numerics import requantize
from spec.operators.windows import Window
from spec.systems import WEIGHT_MAX

from .emit import ArrayWork, ConvolutionWork, PoolWork, SpreadWork, Work
from .graph import Value
from .rows import row_reach, row_steps, row_tiles
from .slots import assign

__all__ = ["Operation", "Filters", "Convolution", "Maximum", "Regions", "Sample", "Spread"]

Regions: TypeAlias = tuple[tuple[tuple[int, int, int, int], int], ...]


@dataclass(frozen=True, eq=False)
class Operation:
    """Windows of ``kernel`` of ``input`` (:class:`spec.operators.windows.Window`) become pixels of ``output``; ``tag``
    is the number of the layer, ``macs`` are its multiply-accumulates. One that makes a part of the output's channels
    makes those from ``at`` on; None: all. Up to ``row_taps`` positions of a row of the kernel are taken together."""
    name: str
    tag: int
    input: Value
    output: Value
    _: KW_ONLY
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    padding_end: tuple[int, int] | None = None
    dilation: tuple[int, int] = (1, 1)
    macs: int = 0
    residual: Value | None = None
    at: int | None = None
    row_taps: int = 1

    @property
    def kernel(self) -> tuple[int, int]:
        """Rows and columns of a window."""
        raise NotImplementedError

    @property
    def windows(self) -> Window:
        """How the kernel moves."""
        return Window.of(self)

    @property
    def reads(self) -> list[Value]:
        """The values that it reads."""
        return [self.input] + ([self.residual] if self.residual is not None else [])

    @property
    def makes(self) -> slice:
        """The channels of the output that it makes."""
        return slice(0, self.output.channels)

    @property
    def from_dram(self) -> list[Value]:
        """Those among :attr:`reads` that another unit than that of the operation reads, from DRAM."""
        return []

    def made_by(self) -> np.ndarray | None:
        """The kind of column that makes each channel of the output; None if no filter makes them."""
        return None

    @property
    def phases(self) -> tuple[int, int]:
        """The planes that it reads its input from."""
        return self.stride

    @property
    def foldable(self) -> bool:
        """Whether its kernel positions may become channels of its input."""
        return False

    def mapped(self, change: Callable[[Value], Value]) -> "Operation":
        """The operation on ``change(value)`` for each of its values."""
        return replace(self, input=change(self.input), output=change(self.output),
                       residual=None if self.residual is None else change(self.residual))

    def assigned(self, config: EngineConfig) -> "Operation":
        """The operation with its filters given to columns."""
        return self

    def ties(self) -> Iterator[tuple[Value, Value]]:
        """Pairs of values whose channels must be in one order."""
        if self.residual is not None:
            yield self.residual, self.output

    def follows(self) -> Iterator[tuple[Value, Value]]:
        """Pairs of values whose channels must be in one order, but for holes."""
        yield from ()

    @property
    def ordered(self) -> list[Value]:
        """Values whose channels must lie in their order."""
        return []

    @property
    def divisible(self) -> bool:
        """Whether strips may be of some channel groups of the output."""
        return False

    def gathers(self, config: EngineConfig) -> float:
        """In which share of its time it reads as stores do, which wait then."""
        return 1.0

    def across(self, columns: int) -> int:
        """The pixels that are counted over each row of the input for so many columns of the output."""
        return columns

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of what it makes."""
        return self.windows.size((self.input.height, self.input.width))

    def region(self, y0: int, y1: int, x0: int, x1: int) -> tuple[int, int, int, int]:
        """Rows and columns (y0, y1, x0, x1) of the input that these of the output read."""
        def span(start, stop, stride, padding, reach, size):
            lo = min(max(0, start * stride - padding), size - 1)
            return lo, max(lo + 1, min(size, (stop - 1) * stride - padding + reach))
        reach = self.windows.reach
        return (*span(y0, y1, self.stride[0], self.padding[0], reach[0], self.input.height),
                *span(x0, x1, self.stride[1], self.padding[1], reach[1], self.input.width))

    def effort(self, config: EngineConfig) -> tuple[float, int]:
        """Cycles, about, for each pixel of the output, and the k-words that it takes."""
        return self.kernel[0] * self.kernel[1] * self.output.groups(config.ic) / config.out_pixels, 0

    def commands(self, config: EngineConfig) -> int:
        """Those for each strip, about."""
        return 1

    def beside(self, before: "Operation", config: EngineConfig) -> bool:
        """Whether it is quicker to begin while the operation ``before`` goes on."""
        return False

    def faults(self) -> Iterator[str]:
        """What is wrong with it, each a part of a sentence about the operation."""
        size = self.size
        if size != (self.output.height, self.output.width):
            yield (f"makes {size[0]}x{size[1]} pixels, but {self.output.name} has "
                   f"{self.output.height}x{self.output.width}")
        if self.input.phases is not None and self.input.phases != self.phases:
            yield f"reads planes {self.phases}, but {self.input.name} has {self.input.phases}"
        shapes = [(v.channels, v.height, v.width) for v in (self.output, self.residual or self.output)]
        if shapes[0] != shapes[1]:
            yield f"adds a residual of shape {shapes[1]} to an output of shape {shapes[0]}"
        for one, other in self.ties():
            if one.order != other.order:
                yield f"needs {one.name} and {other.name} in one order of channels"
        for one, other in self.follows():
            if one.sequence != other.sequence:
                yield f"needs {one.name} and {other.name} in one order of channels, but for holes"

    def work(self, config: EngineConfig, cuts: Collection[int] = ()) -> Work:
        """Its commands on an engine, in strips that begin with the channel groups ``cuts`` of the output."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, kw_only=True)
class Filters(Operation):
    """Filters on the array, and what the post unit does to all of their sums; ``table`` are 256 codes or None."""
    res_mult: int = 0
    shift: int = 1
    lo: int = 0
    hi: int = 255
    table: np.ndarray | None = None

    @cached_property
    def taps(self) -> np.ndarray:
        """Positions of the kernel, row by row, in the order in which they are read."""
        return np.arange(self.kernel[0] * self.kernel[1])

    @property
    def steps(self) -> list[tuple[int, ...]]:
        """Those of each k-step."""
        return [(tap,) for tap in self.taps.tolist()]

    def gathers(self, config: EngineConfig) -> float:
        return float(self.residual is not None)         # the feeder reads every bank


@dataclass(frozen=True, eq=False)
class Convolution(Filters):
    """A convolution on the array.

    ``weight`` is (filters, channels of a group, rows, columns); ``scheme``, ``mult``, ``bias`` and ``columns`` (kinds
    of columns, by :func:`compiler.slots.assign`) have one entry for each filter. ``regions``, if there are any, are the
    output in parts, (first row, end, first column, end), with the multiplier of all filters in each; ``mult`` is the
    largest of them.
    """
    weight: np.ndarray
    scheme: np.ndarray
    mult: np.ndarray
    bias: np.ndarray
    columns: np.ndarray | None = None
    regions: Regions = ()

    @property
    def kernel(self) -> tuple[int, int]:
        return self.weight.shape[2], self.weight.shape[3]

    @property
    def makes(self) -> slice:
        first = self.at or 0
        return slice(first, first + len(self.weight))

    def made_by(self) -> np.ndarray | None:
        return self.columns

    @property
    def by_channel(self) -> bool:
        """Whether every output channel reads the input channel of the same number only (depthwise, average)."""
        return self.weight.shape[1] == 1 and len(self.weight) == self.input.channels > 1

    @property
    def looks_up(self) -> bool:
        """Whether all that it does to a code of its input is to look it up in the table."""
        window, one = self.windows, 1 << self.shift
        zeros = (self.input.zero - self.output.zero) * one
        return (self.table is not None and self.residual is None and window.kernel == window.stride == (1, 1)
                and window.padding == window.end == (0, 0) and (self.lo, self.hi) == (0, 255)
                and self.weight.shape[:2] == (self.input.channels, 1) and bool(
                    ((self.weight[:, 0, 0, 0] == 1) & (self.mult == one) & (self.bias == zeros)).all()))

    @property
    def copies(self) -> bool:
        """Whether it makes a part of the output of one value's codes, alike in all channels and pixels."""
        shape = self.input.channels, 1, 1, 1
        return (self.at is not None and self.weight.shape == shape and bool((self.weight == 1).all())
                and not self.bias.any() and self.windows == Window((1, 1)) and len(set(self.mult.tolist())) == 1
                and self.residual is None and self.table is None and not self.regions)

    def requantized(self, codes: np.ndarray) -> np.ndarray:
        """What one that :attr:`copies` makes of codes."""
        return requantize(codes - self.input.zero, self.mult[0], 0, self.shift, lo=self.lo, hi=self.hi,
                          out_zero=self.output.zero)

    @property
    def foldable(self) -> bool:
        return self.weight.shape[1] == self.input.channels and self.residual is not self.input

    def mapped(self, change: Callable[[Value], Value]) -> Operation:
        made = super().mapped(change)
        made.__dict__["taps"] = self.taps       # of the same weights: looking at all of them takes its time
        return made

    def assigned(self, config: EngineConfig) -> "Convolution":
        return replace(self, columns=assign(self, config))

    def in_rows(self, config: EngineConfig) -> "Convolution":
        """The convolution with as many taps of a row in each k-step as its channels allow where they lie."""
        together = config.row_taps if row_tiles(self, config) else 1
        return self if together == self.row_taps else replace(self, row_taps=together)

    @cached_property
    def steps(self) -> list[tuple[int, ...]]:
        return row_steps(self, self.row_taps) if self.row_taps > 1 else super().steps

    def across(self, columns: int) -> int:
        return row_reach(self, columns) if self.row_taps > 1 else columns

    def follows(self) -> Iterator[tuple[Value, Value]]:
        if self.by_channel and self.at is None:
            yield self.input, self.output

    @cached_property
    def taps(self) -> np.ndarray:
        """Positions of the kernel, row by row, in the order in which they are read. One is read again for what two
        digits do not hold of its weights."""
        largest = np.abs(self.weight).max((0, 1)).ravel()
        return np.concatenate([np.flatnonzero(largest > part * WEIGHT_MAX) if part else np.arange(len(largest))
                               for part in range(max(1, -(-int(largest.max()) // WEIGHT_MAX)))])

    def effort(self, config: EngineConfig) -> tuple[float, int]:
        return max(self.spent(config)), self._tiles(config) * len(self.steps) * self._depth(config)

    def commands(self, config: EngineConfig) -> int:
        return self._tiles(config)

    def gathers(self, config: EngineConfig) -> float:
        array, post = self.spent(config)
        return post / max(array, post) if self.residual is not None else 0.0

    def spent(self, config: EngineConfig) -> tuple[float, float]:
        """Cycles, about, of the array and of the post unit for each pixel of the output."""
        wide = 1 + (self.input.bits > config.act_digit_bits)
        # Some tiles make channels of two groups, if they do not fill a group.
        visits = 1 + config.slots / config.ic / 2 * (config.ic % config.slots > 0)
        together = wide_pixels(config) if wide > 1 else config.out_pixels
        tiles = self._tiles(config)
        return tiles * wide * len(self.steps) * self._depth(config) / config.pixels, tiles * visits / together

    def _tiles(self, config):
        """Of the filters."""
        return -(-len(self.weight) // config.slots)

    def _depth(self, config):
        """Channel groups, about, that each tile reads: all, or those of its own filters."""
        if self.row_taps > 1:
            return 1
        share, reads = self.weight.shape[1], self.input.groups(config.ic)
        together = config.slots * share
        return reads if share == self.input.channels else min(
            reads, -(-together // config.ic) + (max(together, config.ic) % min(together, config.ic) > 0))

    def beside(self, before: Operation, config: EngineConfig) -> bool:
        # One keeps the post unit busy and the other one the array, and filters do not need all that is made.
        if not isinstance(before, Convolution) or self.input is not before.output or not self.by_channel:
            return False
        (array, post), (other, behind) = self.spent(config), before.spent(config)
        return (array - post) * (other - behind) < 0

    def filters(self, indices: np.ndarray) -> np.ndarray:
        """Weights of some filters for all channels of the input: int8 (filters, channels, taps)."""
        dense = np.zeros((len(indices), self.input.channels, len(self.taps)), np.int8)
        dense[np.arange(len(indices))[:, None], self._channels(indices)] = self.split(indices)
        return dense

    def split(self, indices: np.ndarray) -> np.ndarray:
        """Weights of some filters for the channels of their groups: int8 (filters, channels / g, taps)."""
        share, taps, part = self.weight.shape[1], self.taps, self._part
        whole = self.weight[indices].reshape(len(indices), share, -1)
        if part.any():
            whole = whole[:, :, taps]
            left = np.maximum(np.abs(whole) - part * WEIGHT_MAX, 0)
            whole = np.sign(whole) * np.minimum(left, WEIGHT_MAX)
        else:
            whole = np.clip(whole, -WEIGHT_MAX, WEIGHT_MAX)
        return whole.astype(np.int8)

    @cached_property
    def _part(self) -> np.ndarray:
        """How often each tap's position has been read before it."""
        return np.array([np.count_nonzero(self.taps[:at] == tap) for at, tap in enumerate(self.taps)])

    def reading(self, indices: np.ndarray) -> np.ndarray:
        """Whether any of these filters has a weight for each channel of the input, (channels,)."""
        if self.weight.shape[1] == self.input.channels:
            return self._live[indices].any(0)
        used = np.zeros(self.input.channels, bool)
        used[self._channels(indices)[self._live[indices]]] = True
        return used

    @cached_property
    def _live(self) -> np.ndarray:
        """Whether each filter has a weight for each channel of its group, (filters, channels / g)."""
        return (self.weight != 0).any(axis=(2, 3))

    def _channels(self, indices):
        """Channels of the input that filters read, (filters, channels / g)."""
        share = self.weight.shape[1]
        first = indices // (len(self.weight) * share // self.input.channels) * share
        return first[:, None] + np.arange(share)

    def faults(self) -> Iterator[str]:
        filters, share = self.weight.shape[:2]
        if self.at is None and filters != self.output.channels:
            yield f"has {filters} filters, but {self.output.name} has {self.output.channels} channels"
        if self.at is not None and (self.at < 0 or self.makes.stop > self.output.channels):
            yield f"makes channels {self.at}..{self.makes.stop} of the {self.output.channels} of {self.output.name}"
        if self.at is not None and self.residual is not None:
            yield f"adds {self.residual.name} to a part of {self.output.name}"
        if self.input.channels % share or filters % (self.input.channels // share):
            yield f"has filters of {share} channels, but {self.input.name} has {self.input.channels}"
        for name in ("scheme", "mult", "bias", "columns"):
            given = getattr(self, name)
            if given is not None and given.shape != (filters,):
                yield f"has {filters} filters and {name} of shape {given.shape}"
        area = sum((y1 - y0) * (x1 - x0) for (y0, y1, x0, x1), _ in self.regions)
        if self.regions and area != self.output.height * self.output.width:
            yield f"has regions of {area} pixels, but {self.output.name} has {self.output.height * self.output.width}"
        yield from super().faults()

    @property
    def divisible(self) -> bool:
        return self.row_taps == 1 and self.at is None

    def work(self, config: EngineConfig, cuts: Collection[int] = ()) -> ArrayWork:
        return ConvolutionWork(self, config, cuts)


@dataclass(frozen=True, eq=False)
class Maximum(Operation):
    """The maximum over each window, by the pool unit; a copy if the window is one pixel."""
    window: tuple[int, int] = (1, 1)

    @property
    def kernel(self) -> tuple[int, int]:
        return self.window

    @property
    def phases(self) -> tuple[int, int]:
        return self.stride if max(self.stride) <= 2 else (1, 1)     # the pool unit walks in larger steps

    def ties(self) -> Iterator[tuple[Value, Value]]:
        yield self.input, self.output

    def faults(self) -> Iterator[str]:
        both = [(v.channels, v.bits, v.zero) for v in (self.input, self.output)]
        if both[0] != both[1]:
            yield f"makes {both[1]} of {both[0]}: channels, bits and zero point stay as they are"
        yield from super().faults()

    def work(self, config: EngineConfig, cuts: Collection[int] = ()) -> PoolWork:
        return PoolWork(self, config)


@dataclass(frozen=True, eq=False)
class Sample(Maximum):
    """A copy of the pixels that are ``stride`` apart, of a value in one plane."""

    @property
    def phases(self) -> tuple[int, int]:
        return 1, 1


@dataclass(frozen=True, eq=False)
class Spread(Operation):
    """``up`` (rows, columns) pixels for each pixel, by the pool unit; they are copies of it, or lie ``apart`` in the
    channels of the input."""
    up: tuple[int, int] = (2, 2)
    apart: bool = False

    @property
    def kernel(self) -> tuple[int, int]:
        return 1, 1

    @property
    def parts(self) -> int:
        """Channels of the input for each of the output."""
        return self.up[0] * self.up[1] if self.apart else 1

    @property
    def ordered(self) -> list[Value]:
        return [self.input, self.output] if self.apart else []

    def across(self, columns: int) -> int:
        return 0

    @property
    def size(self) -> tuple[int, int]:
        return self.input.height * self.up[0], self.input.width * self.up[1]

    def region(self, y0: int, y1: int, x0: int, x1: int) -> tuple[int, int, int, int]:
        (uy, ux) = self.up
        return y0 // uy, -(-y1 // uy), x0 // ux, -(-x1 // ux)

    def ties(self) -> Iterator[tuple[Value, Value]]:
        if not self.apart:
            yield self.input, self.output

    def faults(self) -> Iterator[str]:
        if self.input.channels < self.parts * self.output.channels or self.input.channels % self.parts:
            yield f"makes {self.output.channels} channels of {self.input.channels} for {self.parts} pixels"
        both = [(v.bits, v.zero) for v in (self.input, self.output)]
        if both[0] != both[1]:
            yield f"makes {both[1]} of {both[0]}: bits and zero point stay as they are"
        yield from super().faults()

    def work(self, config: EngineConfig, cuts: Collection[int] = ()) -> SpreadWork:
        return SpreadWork(self, config)
