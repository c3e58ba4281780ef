"""Adder trees."""

from amaranth.hdl import Const, Signal, Value

__all__ = ["add_tree"]


def add_tree(m, values, *, registers=()):
    """Sum of ``values`` in a balanced tree of two-input adders, each as wide as its own operands need.

    ``registers`` names the levels (1 is the first) after which the sums are registered.
    """
    values = [Value.cast(v) for v in values] or [Const(0)]
    level = 0
    while len(values) > 1 or level < max(registers, default=0):
        level += 1
        pairs = [values[i:i + 2] for i in range(0, len(values), 2)]
        values = [pair[0] + pair[1] if len(pair) == 2 else pair[0] for pair in pairs]
        if level in registers:
            held = [Signal(v.shape(), reset_less=True) for v in values]
            m.d.sync += [h.eq(v) for h, v in zip(held, values)]
            values = held
        else:
            wires = [Signal(v.shape()) for v in values]
            m.d.comb += [w.eq(v) for w, v in zip(wires, values)]
            values = wires
    return values[0]
