"""Arithmetic on numbers of a few bits, in gates: a carry chain takes more levels of logic than it saves there, and
nothing behind it can be merged with it. Sums of more than two numbers in one carry chain."""

from amaranth.hdl import C, Cat, Const, Value, ValueLike

__all__ = ["change", "small_difference", "small_less", "small_sum", "sum_and_carry", "sum_of_three"]


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


def change(up: ValueLike, down: ValueLike) -> Value:
    """1, -1 or 0 for a counter whose two events may come together."""
    up, down = Value.cast(up)[:1], Value.cast(down)[:1]
    return Cat(up ^ down, down & ~up).as_signed()


def sum_and_carry(one: Value, other: ValueLike, carry: ValueLike) -> Value:
    """``one + other + carry``, as many bits as ``one`` has; ``other`` is signed."""
    return (Cat(C(1, 1), one).as_signed() + Cat(carry, other).as_signed())[1:len(one) + 1]


def sum_of_three(one: Value, two: ValueLike, three: ValueLike) -> Value:
    """The sum of three unsigned numbers, as many bits as ``one`` has: one gate, then one carry chain."""
    a, b, c = (_extended(Value.cast(number)[:len(one)], len(one)) for number in (one, two, three))
    return ((a ^ b ^ c) + Cat(C(0, 1), a & b | c & (a ^ b)))[:len(one)]
