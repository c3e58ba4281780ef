"""Counters that know from a register whether they are at their end: a comparison behind a sum takes two chains."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value, signed
from amaranth.utils import ceil_log2

from .small import small_difference, small_less, small_sum

__all__ = ["Countdown", "Left"]


class Countdown:
    """Counts to a number, again and again; ``last``, a register, is high at the last one.

    Its methods add statements where they are called: :meth:`load` with the number, which is at least 1, and
    :meth:`step` to the next one.
    """

    def __init__(self, m: Module, width: int, name: str):
        self.last = Signal(name=f"{name}_last")
        self._m = m
        self._left, self._whole = (Signal(width, name=f"{name}_{part}", reset_less=True) for part in ("left", "whole"))
        self._one = Signal(name=f"{name}_one")

    def load(self, number: Value, first: Value | None = None) -> None:
        """``first`` : to what it counts the first time, if that is another number."""
        first = number if first is None else first
        self._m.d.sync += [self._whole.eq(number), self._one.eq(number == 1), self._left.eq(first),
                           self.last.eq(first == 1)]

    def step(self) -> None:
        self._m.d.sync += [self._left.eq(Mux(self.last, self._whole, self._left - 1)), self.last.eq(self.after)]

    @property
    def after(self) -> Value:
        """``last`` behind the next step."""
        return Mux(self.last, self._one, self._left == 2)


class Left:
    """Pixels left of a row, of which up to ``most`` are taken at once: one less than there are, its low bits apart, and
    registers that tell whether the others are 0 or below.

    ``over`` : none is left. :meth:`load` and :meth:`step` add statements where they are called.
    """

    def __init__(self, m: Module, most: int, name: str):
        self._bits = max(1, ceil_log2(most))
        self._low = Signal(self._bits, name=f"{name}_low", reset_less=True)
        self._high = Signal(signed(18 - self._bits), name=f"{name}_high", reset_less=True)
        self._none, self.over = Signal(name=f"{name}_none"), Signal(name=f"{name}_over")
        self._m, self._whole = m, Signal(signed(18), name=f"{name}_whole", reset_less=True)

    def load(self, whole: Value, start: Value) -> None:
        """Begins with the pixel ``start`` of a row of ``whole``; 16 bits each."""
        self._m.d.sync += self._whole.eq(whole - 1)
        self._set((whole + ~Cat(start, C(0, 2)))[:18].as_signed())      # whole - start - 1

    def step(self, count: Value, row_end: Value) -> None:
        """Moves ``count`` pixels on, or to the next row."""
        less, borrow = small_difference(self._low, count)
        with self._m.If(row_end):
            self._set(self._whole)
        with self._m.Else():
            self._m.d.sync += [
                self._low.eq(less[:self._bits]), self._high.eq(self._high - borrow),
                self._none.eq(Mux(borrow, self._high == 1, self._none)), self.over.eq(self.over | borrow & self._none)]

    def _set(self, less):
        high = less[self._bits:]
        self._m.d.sync += [self._low.eq(less[:self._bits]), self._high.eq(high), self._none.eq(high == 0),
                           self.over.eq(high[-1])]

    def least(self, other: Value) -> Value:
        """The lesser of what is left and ``other``, which is at most ``most``."""
        return Mux(self.below(other), small_sum(self._low, 1), other)

    def below(self, other: Value) -> Value:
        """Whether less is left than ``other``, which is at most ``most``."""
        return self._none & small_less(small_sum(self._low, 1), other)

    def within(self, other: Value) -> Value:
        """Whether no more is left than ``other``, which is at most ``most``."""
        return self._none & small_less(self._low, other)

    def holds(self, number: int) -> Value:
        """Whether just ``number`` are left, which is at most ``most``."""
        return self._none & (self._low == number - 1)

    def beyond(self, ahead: Value) -> Value:
        """Whether there is a pixel so far ahead, less than ``most``."""
        return ~self.over & (~self._none | ~small_less(self._low, ahead))
