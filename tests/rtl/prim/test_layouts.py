"""Commands of which some fields are kept."""

from random import Random

from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from rtl.prim import COMMAND, SomeFields
from spec.commands import COMMAND_BYTES, FIELDS, POSTED, used_width


def test_some_fields():
    """Fields of any set, over each other or apart, are there again; bits of no other field are."""
    rng = Random(0)
    for chosen in (POSTED, *(rng.sample([*FIELDS.values()], count) for count in (1, 7, 30, len(FIELDS)))):
        some, m, command = SomeFields(chosen), Module(), Signal(COMMAND)
        packed, found = Signal(used_width(chosen)), Signal(8 * COMMAND_BYTES)
        m.d.comb += [packed.eq(some.pack(command)), found.eq(some.unpack(packed).as_value())]
        value, mask = rng.getrandbits(8 * COMMAND_BYTES), 0
        for field in chosen:
            mask |= field.mask << field.lo
        assert used_width(chosen) == mask.bit_count()

        async def bench(ctx, command=command, found=found, value=value, mask=mask):
            ctx.set(command.as_value(), value)
            assert ctx.get(found) == value & mask
        simulator = Simulator(m)
        simulator.add_testbench(bench)
        simulator.run()
