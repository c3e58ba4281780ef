"""One column of the weight buffer: contents, latency, the address on its way to the next column."""

from random import Random

import pytest

from rtl.memory import WeightColumn
from ..axi_models import simulate
from ..parameters import check_parameters


@pytest.mark.parametrize("depth, width", [(4, 4), (5, 12), (16, 33)])
def test_reads(depth, width):
    """Data comes ``latency`` cycles after each address while other words are written, the address one cycle after."""
    column, dice = WeightColumn(depth=depth, width=width), Random(depth)
    words = [dice.getrandbits(width) for _ in range(depth)]
    asked, data, hops = [], [], []

    async def drive(ctx):
        for address, value in enumerate(words):
            ctx.set(column.write.en, 1)
            ctx.set(column.write.addr, address)
            ctx.set(column.write.data, value)
            await ctx.tick()
        for _ in range(80):
            write, written, value = dice.random() < 0.5, dice.randrange(depth), dice.getrandbits(width)
            address = dice.choice([a for a in range(depth) if a != written])
            asked.append((address, words[address]))
            ctx.set(column.r_addr, address)
            ctx.set(column.write.en, write)
            ctx.set(column.write.addr, written)
            ctx.set(column.write.data, value)
            if write:
                words[written] = value
            sampled = (await ctx.tick().sample(column.r_data, column.r_addr_out))[2:]
            data.append(sampled[0])
            hops.append(sampled[1])

    simulate({"column": column}, drive)
    assert hops[1:] == [address for address, _ in asked[:-1]]
    assert data[column.latency:] == [value for _, value in asked[:-column.latency]]


def test_parameters():
    check_parameters(WeightColumn, dict(depth=1, width=1), [("depth", 0, "1 or more"), ("width", 0, "1 or more")])
