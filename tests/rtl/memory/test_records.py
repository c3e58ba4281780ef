"""Tables of records: contents, latency, readers that do not disturb each other."""

from random import Random

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
import pytest

from rtl.memory import read_records, record_table
from rtl.prim import RECORD_BITS
from spec.latency import RECORD

from ..axi_models import simulate


class Bench(wiring.Component):
    def __init__(self, depth, readers):
        self.depth, self.readers = depth, readers
        super().__init__({"en": In(1), "addr": In(range(depth)), "data": In(RECORD_BITS),
                          "r_en": In(1).array(readers), "r_addr": In(range(depth)).array(readers),
                          "r_data": Out(RECORD_BITS).array(readers)})

    def elaborate(self, platform):
        m = Module()
        table = record_table(m, "table", self.depth, (self.en, self.addr, self.data))
        for n in range(self.readers):
            port = table.read_port()
            read_records(m, port, self.r_en[n], self.r_addr[n], self.r_data[n])
        return m


@pytest.mark.parametrize("depth, readers", [(1, 1), (5, 2), (16, 3)])
def test_records(depth, readers):
    """A record can be read in the cycle after it was written; data stays while its enable is low."""
    bench, dice, words = Bench(depth, readers), Random(depth), [0] * depth
    expected, found = [], []

    async def drive(ctx):
        held = [0] * readers
        for _ in range(150):
            write, at, value = dice.random() < 0.5, dice.randrange(depth), dice.getrandbits(RECORD_BITS)
            ctx.set(bench.en, write)
            ctx.set(bench.addr, at)
            ctx.set(bench.data, value)
            for n in range(readers):
                address = dice.randrange(depth)
                reads = dice.random() < 0.7 and not (write and address == at)
                ctx.set(bench.r_en[n], reads)
                ctx.set(bench.r_addr[n], address)
                held[n] = words[address] if reads else held[n]
            if write:
                words[at] = value
            await ctx.tick()
            expected.append(list(held))
            found.append([ctx.get(port) for port in bench.r_data])

    assert RECORD == 1
    simulate({"bench": bench}, drive)
    assert found == expected
