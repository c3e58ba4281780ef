"""Arithmetic on numbers of a few bits, in gates: a carry chain takes more levels of logic than it saves there, and
nothing behind it can be merged with it."""

from amaranth.hdl import Cat, Const, Value, ValueLike

__all__ = ["small_difference", "small_less", "small_sum"]


def _extended(number, width):
    number = Value.cast(number)
    return Cat(number, Const(0, width - len(number)))


def small_sum(one: ValueLike, other: ValueLike, carry: ValueLike = 0) -> Value:
    """The sum of two unsigned numbers and a carry, one bit longer than the longer of them."""
    width = max(len(Value.cast(one)), len(Value.cast(other)), 1)
    out, more = [], Value.cast(carry)[:1]
    for a, b in zip(_extended(one, width), _extended(other, width), strict=True):
        out.append(a ^ b ^ more)
        more = a & b | more & (a ^ b)
    return Cat(*out, more)


def small_difference(one: ValueLike, other: ValueLike) -> tuple[Value, Value]:
    """``one - other`` of two unsigned numbers, as many bits as the longer of them has, and whether it is below 0."""
    width = max(len(Value.cast(one)), len(Value.cast(other)), 1)
    total = small_sum(_extended(one, width), ~_extended(other, width), 1)
    return total[:width], ~total[width]


def small_less(one: ValueLike, other: ValueLike) -> Value:
    """Whether an unsigned number is less than another."""
    return small_difference(one, other)[1]
