"""Tables of records: contents, latency, readers that do not disturb each other."""

from random import Random

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, Signature
import pytest

from rtl.memory import read_records, record_table
from rtl.prim import write_port
from spec.memories import RECORD_BITS, Shape

from ..axi_models import simulate


class Bench(wiring.Component):
    def __init__(self, depth, readers, cycles):
        self.depth, self.readers, self.cycles = depth, readers, cycles
        read = Signature({"en": Out(1), "addr": Out(range(depth)), "data": In(RECORD_BITS)})
        super().__init__({"write": In(write_port(Shape(depth, RECORD_BITS))), "reads": In(read).array(readers)})

    def elaborate(self, platform):
        m = Module()
        table = record_table(m, "table", Shape(self.depth, RECORD_BITS), self.write)
        for reader in self.reads:
            read_records(m, table, reader, self.cycles)
        return m


@pytest.mark.parametrize("cycles", [1, 2])
@pytest.mark.parametrize("depth, readers", [(1, 1), (5, 2), (16, 3)])
def test_records(depth, readers, cycles):
    """A record can be read in the cycle after it was written; data stays while its enable is low, and comes in as many
    cycles as are asked for."""
    bench, dice, words = Bench(depth, readers, cycles), Random(depth), [0] * depth
    expected, found = [], []

    async def drive(ctx):
        held = [0] * readers
        for _ in range(150):
            write, at, value = dice.random() < 0.5, dice.randrange(depth), dice.getrandbits(RECORD_BITS)
            ctx.set(bench.write.en, write)
            ctx.set(bench.write.addr, at)
            ctx.set(bench.write.data, value)
            for n in range(readers):
                address = dice.randrange(depth)
                reads = dice.random() < 0.7 and not (write and address == at)
                ctx.set(bench.reads[n].en, reads)
                ctx.set(bench.reads[n].addr, address)
                held[n] = words[address] if reads else held[n]
            if write:
                words[at] = value
            await ctx.tick()
            expected.append(list(held))
            found.append([ctx.get(port.data) for port in bench.reads])

    simulate({"bench": bench}, drive)
    assert found[cycles - 1:] == expected[:len(expected) - cycles + 1]
