"""What the values of a quantized ONNX graph are, while it is read."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from spec.errors import AlloyError
from spec.operators.windows import Window

from .rounding import MODES

__all__ = ["Grid", "Weights", "Real", "Codes", "Rounded", "Curve", "Sum", "Joined", "Moved", "Product", "Value"]


@dataclass(frozen=True)
class Grid:
    """Numbers ``scale * (q - zero)`` for whole q from ``low`` to ``high``; ``mode`` is how others become these: as
    QuantizeLinear rounds, or one of QONNX (:data:`quant.grids.rounding.MODES`), which adds the zero point before.

    The engine's codes are ``q - low``.
    """
    scale: float
    zero: int
    low: int
    high: int
    mode: str = "LINEAR"

    @property
    def bits(self) -> int:
        """Of the engine's codes."""
        return max(1, (self.high - self.low).bit_length())

    @property
    def origin(self) -> int:
        """The engine's code of 0."""
        return self.zero - self.low

    def check(self, where: str) -> None:
        """Raise :class:`AlloyError` if the engine has no such codes."""
        if not self.low < self.high or self.bits > 8:
            raise AlloyError(f"{where} makes codes from {self.low} to {self.high}: at most 8 bits are supported, "
                             "quantize activations to 8 bits or fewer")
        if not self.low <= self.zero <= self.high:
            raise AlloyError(f"{where} has the zero point {self.zero} outside its codes {self.low} to {self.high}: "
                             "quantize so that 0 is one of them")
        if not 0 < self.scale < np.inf:
            raise AlloyError(f"{where} has the scale {self.scale:g}: it must be finite and above 0")

    def numbers(self, real: np.ndarray) -> np.ndarray:
        """q of real numbers, not clipped; they are rounded to 32 bits and divided in them, as the source does it."""
        ratio = np.asarray(real, np.float32) / np.float32(self.scale)
        if self.mode == "LINEAR":
            return np.round(ratio).astype(np.float64) + self.zero
        return MODES[self.mode](ratio + np.float32(self.zero)).astype(np.float64)

    def codes(self, real: np.ndarray) -> np.ndarray:
        """The engine's codes of real numbers."""
        return np.clip(self.numbers(real), self.low, self.high).astype(np.int64) - self.low

    def real(self, codes: np.ndarray) -> np.ndarray:
        """Real numbers of the engine's codes."""
        return self.scale * (np.asarray(codes) - self.origin)


@dataclass(frozen=True, eq=False)
class Weights:
    """Constants ``whole * scale``, arrays of one shape: 64-bit integers without zero point, and 32-bit numbers."""
    whole: np.ndarray
    scale: np.ndarray

    @property
    def real(self) -> np.ndarray:
        return (self.whole * self.scale.astype(np.float64)).astype(np.float32)


@dataclass(frozen=True)
class Real:
    """The input of the network, as nothing has quantized it yet; ``flat``: as vectors."""
    flat: bool = False


@dataclass(frozen=True, eq=False)
class Codes:
    """A tensor of the integer network; ``flat``: as vectors (N, C * H * W)."""
    name: str
    grid: Grid
    shape: tuple[int, int, int]
    flat: bool = False


@dataclass(frozen=True, eq=False)
class Curve:
    """A function of every code of a tensor: ``values[code]``, real."""
    source: Codes
    values: np.ndarray
    where: str
    name: str


@dataclass(frozen=True, eq=False)
class Sum:
    """Real numbers that a convolution makes, which nothing has rounded yet:
    ``acc * factor + bias + res_factor * (residual's code - zero)``, then bounded by ``least`` and ``most``.

    Attributes
    ----------
    where, name : of the node that made it. source : what it reads. weight : int64 (F, C / g, kh, kw). window : of it.
    factor, bias : float64 (F,), real values; factor is above 0.
    whole : (bias as int64 (F,) in units of acc, scale of the source, scales of the weights, (F,)) if the bias is whole:
        then onnxruntime computes ``(acc + bias) * (sx * sw / sy)`` with 32-bit numbers; None otherwise.
    pools : windows of maxima that follow.
    exact : how the source computes q of accumulators (F, n) beside residual codes (n,), less their zero point, for the
        filters that a slice picks, if it does so with whole numbers alone; it grows with the accumulator.
    divisors : int (rows, cols), what the sum of each pixel is divided by as well, where windows of an average that
        reach over the border count fewer values; None: by nothing.
    """
    where: str
    name: str
    source: Codes
    weight: np.ndarray
    window: Window
    factor: np.ndarray
    bias: np.ndarray
    whole: tuple[np.ndarray, float, np.ndarray] | None = None
    residual: Codes | None = None
    least: float = -np.inf
    most: float = np.inf
    pools: tuple[Window, ...] = field(default=())
    flat: bool = False
    exact: Callable[[np.ndarray, np.ndarray, slice], np.ndarray] | None = None
    divisors: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) before the pools."""
        return len(self.weight), *self.window.size(self.source.shape[1:])

    def affine(self, gain: np.ndarray, offset: np.ndarray) -> "Sum":
        """``gain * self + offset``, both (F,) or numbers."""
        if np.isfinite([self.least, self.most]).any() or self.pools or self.residual or self.exact:
            raise AlloyError(f"{self.where} is followed by a product or sum behind its bounds, a pool or an addition: "
                             "quantize in between")
        gain, offset = (np.broadcast_to(np.asarray(one, np.float64), self.factor.shape) for one in (gain, offset))
        sign = np.where(gain < 0, -1, np.where(gain == 0, 0, 1))
        factor = np.where(gain == 0, self.factor, self.factor * np.abs(gain))
        return replace(self, weight=self.weight * sign[:, None, None, None], factor=factor,
                       bias=self.bias * gain + offset, whole=self.whole if (gain == 1).all() and not offset.any()
                       else None)

    def bounded(self, least: float | None, most: float | None) -> "Sum":
        """Clipped."""
        low, high = (-np.inf if least is None else least), (np.inf if most is None else most)
        return replace(self, least=min(max(self.least, low), high), most=max(min(self.most, high), low))


@dataclass(frozen=True, eq=False)
class Joined:
    """The channels of several values, one behind the other."""
    parts: tuple["Value", ...]
    name: str
    where: str


@dataclass(frozen=True, eq=False)
class Moved:
    """The values that stand at ``index`` (C, H, W) in another one, 0 at -1."""
    value: "Value"
    index: np.ndarray
    where: str


@dataclass(frozen=True, eq=False)
class Product:
    """Each channel of a map times its number in ``factor``, (C, 1, 1)."""
    map: Codes
    factor: Codes
    name: str
    where: str


@dataclass(frozen=True, eq=False)
class Rounded:
    """Whole numbers q behind a QuantizeLinear, which a DequantizeLinear makes real again."""
    value: "Value"
    grid: Grid
    name: str
    where: str


Value: TypeAlias = Any          # one of the classes above, or an array of constants
