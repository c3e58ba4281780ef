"""Three-input adders and registered trees of them."""

from collections.abc import Iterable

from amaranth.hdl import Cat, Const, Instance, Module, Signal, Value, ValueLike
from amaranth.lib.wiring import In, Member, Out

from spec.config import EngineConfig
from spec.devices import MULTIPLIERS

from .block import Block, Parameter
from .dsp import explicit
from .share import Library, add_shared

__all__ = ["Adder3", "add_tree"]

MAJORITY, PARITY = 0xE8E8E8E8, 0x69966996      # of inputs 0..2, of inputs 0..3
CARRY_BITS = 4


class Adder3(Block):
    """``total`` is ``a + b + c``; all unsigned. Latency 1, one sum each cycle.

    On AMD devices one LUT6_2 for each bit makes the sum and the carry of the three, and the carry chain adds these two
    (Simkins and Young, US 7,274,211; the structure of the devices' ternary adders); elsewhere it is the plain operator.

    Parameters
    ----------
    width : bits of each value.
    explicit : the body for AMD devices.

    Members
    -------
    a, b, c, total : the values, and their sum.
    """
    width = Parameter()
    explicit = Parameter(choices=(False, True))

    def members(self) -> dict[str, Member]:
        return {**dict.fromkeys("abc", In(self.width)), "total": Out(self.width + 2)}

    def elaborate(self, platform):
        m = Module()
        if not self.explicit:
            m.d.sync += self.total.eq(self.a + self.b + self.c)
            return m
        count = self.width + 1
        half, saved, sums = Signal(count), Signal(count + 1), Signal(count)
        for i in range(count):
            bits = [v[i] if i < self.width else Const(0, 1) for v in (self.a, self.b, self.c)]
            m.submodules[f"bit{i}"] = Instance(
                "LUT6_2", p_INIT=Const(PARITY << 32 | MAJORITY, 64), **{f"i_I{n}": b for n, b in enumerate(bits)},
                i_I3=saved[i], i_I4=Const(0, 1), i_I5=Const(1, 1), o_O6=half[i], o_O5=saved[i + 1])
        carry = Const(0, 1)
        for low in range(0, count, CARRY_BITS):
            size = min(CARRY_BITS, count - low)
            out, co = Signal(CARRY_BITS, name=f"out{low}"), Signal(CARRY_BITS, name=f"co{low}")
            pad = Const(0, CARRY_BITS - size)
            m.submodules[f"carry{low}"] = Instance(
                "CARRY4", i_CI=carry, i_CYINIT=Const(0, 1), i_S=Cat(half[low:low + size], pad),
                i_DI=Cat(saved[low:low + size], pad), o_O=out, o_CO=co)
            m.d.comb += sums[low:low + size].eq(out[:size])
            carry = co[size - 1]
        # The lowest saved carry does not exist.
        m.d.comb += saved[0].eq(0)
        m.d.sync += self.total.eq(Cat(sums, carry))
        return m


def add_tree(m: Module, config: EngineConfig | Block, values: Iterable[ValueLike], name: str,
             platform: Library | None) -> Value:
    """Sum of unsigned ``values``, :func:`spec.latency.tree_levels` cycles later; ``config`` as in :func:`explicit`."""
    values = [Value.cast(v) for v in values]
    ternary = explicit(config, platform) and MULTIPLIERS[config.dsp_device].ternary
    level = 0
    while len(values) > 1:
        sums = []
        for index in range(0, len(values), 3):
            group = values[index:index + 3]
            width = max(len(v) for v in group)
            if len(group) == 3:
                adder = Adder3(width=width, explicit=ternary)
                add_shared(m, f"{name}_{level}_{index}", adder, platform)
                m.d.comb += [adder.a.eq(group[0]), adder.b.eq(group[1]), adder.c.eq(group[2])]
                sums.append(adder.total)
            else:
                total = Signal(width + len(group) - 1, name=f"{name}_{level}_{index}_total", reset_less=True)
                m.d.sync += total.eq(sum(group[1:], group[0]))
                sums.append(total)
        values, level = sums, level + 1
    return values[0]
