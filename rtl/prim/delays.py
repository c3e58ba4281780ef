"""A fixed delay."""

from amaranth.hdl import Module, Signal, Value, ValueLike

__all__ = ["delay"]


def delay(m: Module, value: ValueLike, cycles: int, *, clear: ValueLike = 0, plain: bool = False,
          flops: bool = False) -> Value:
    """``value`` as it was ``cycles`` (>= 0) cycles ago; while ``clear`` is high zeros enter and the line empties.

    Data has no reset: what is ``plain``, so that synthesis may use shift-register LUTs; with ``flops`` it may not, for
    LUTs are what is short.
    """
    attrs = {"keep": 1, "shreg_extract": "no"} if flops else {}
    value = Value.cast(value)
    for _ in range(cycles):
        later = Signal(value.shape(), reset_less=plain or flops, attrs=attrs)
        m.d.sync += later.eq(value)
        if not isinstance(clear, int):
            with m.If(clear):
                m.d.sync += later.eq(0)
        value = later
    return value
