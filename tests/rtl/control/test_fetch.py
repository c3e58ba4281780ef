"""Command fetch: whole commands in order, asked for only when there is room for them."""

from random import Random

import pytest

from rtl.control.fetch import Fetch
from spec.commands import COMMAND_BYTES, FETCH_AHEAD

from ..axi_models import simulate, sink, steady
from ..parameters import check_parameters


class Port:
    """A read port that answers requests in order from ``data``, with pauses; counts what is asked for."""

    def __init__(self, fetch, data, rng, stall):
        self.fetch, self.data, self.rng, self.stall = fetch, data, rng, stall
        self.asked = self.given = 0

    async def process(self, ctx):
        req, beat, size = self.fetch.req, self.fetch.data, self.fetch.port_bits // 8
        beats = []
        while True:
            ctx.set(req.ready, self.rng.random() >= self.stall)
            valid = bool(beats) and self.rng.random() >= self.stall
            ctx.set(beat.valid, valid)
            ctx.set(beat.payload, int.from_bytes(self.data[beats[0]:beats[0] + size], "little") if valid else 0)
            _, _, asks, goes, want, taken = await ctx.tick().sample(req.valid, req.ready, req.payload, beat.ready)
            if valid and taken:
                beats.pop(0)
                self.given += size
            if asks and goes:
                assert want.beats * size % COMMAND_BYTES == 0
                beats += range(want.addr, want.addr + want.beats * size, size)
                self.asked += want.beats * size


@pytest.mark.parametrize("port_bits", [32, 64, 128, 256])
@pytest.mark.parametrize("count, stall", [(0, 0.0), (1, 0.0), (3, 0.5), (4, 0.0), (41, 0.4)])
def test_fetch(port_bits, count, stall):
    fetch, rng = Fetch(addr_bits=40, port_bits=port_bits, beat_bits=20), Random(count)
    at = 3 * COMMAND_BYTES
    data, got = rng.randbytes(at + count * COMMAND_BYTES), []
    port = Port(fetch, data, rng, stall)

    async def body(ctx):
        ctx.set(fetch.at, at)
        ctx.set(fetch.count, count)
        ctx.set(fetch.start, 1)
        await ctx.tick()
        ctx.set(fetch.start, 0)
        while len(got) < count:
            assert port.asked - len(got) * COMMAND_BYTES <= (FETCH_AHEAD + 2) * COMMAND_BYTES
            await ctx.tick()
        await ctx.tick().repeat(30)

    simulate({"fetch": fetch}, body, background=[
        port.process, sink(fetch.cmd, got, rng, stall), steady(fetch.cmd), steady(fetch.req)])
    assert b"".join(item.as_bits().to_bytes(COMMAND_BYTES, "little") for item in got) == data[at:]
    assert port.asked == port.given == count * COMMAND_BYTES


def test_pace_and_room():
    """A command in as many cycles as it has beats, and one more; without a taker no more than there is room for."""
    fetch, rng, got = Fetch(addr_bits=32, port_bits=128, beat_bits=20), Random(1), []
    port = Port(fetch, bytes(100 * COMMAND_BYTES), rng, 0.0)

    async def body(ctx):
        ctx.set(fetch.count, 100)
        ctx.set(fetch.start, 1)
        await ctx.tick()
        ctx.set(fetch.start, 0)
        await ctx.tick().repeat(400)
        assert port.asked <= (FETCH_AHEAD + 2) * COMMAND_BYTES
        ctx.set(fetch.cmd.ready, 1)
        for _ in range(9 * 20):
            _, _, valid = await ctx.tick().sample(fetch.cmd.valid)
            got.append(valid)

    simulate({"fetch": fetch}, body, background=[port.process])
    assert sum(got) >= 20


def test_clear():
    """Stopped in the middle, nothing of the old program is left."""
    fetch, rng, got = Fetch(addr_bits=32, port_bits=64, beat_bits=20), Random(2), []
    data = rng.randbytes(30 * COMMAND_BYTES)
    port = Port(fetch, data, rng, 0.2)

    async def body(ctx):
        ctx.set(fetch.count, 30)
        ctx.set(fetch.start, 1)
        await ctx.tick()
        ctx.set(fetch.start, 0)
        while port.given < 5 * COMMAND_BYTES:
            await ctx.tick()
        ctx.set(fetch.clear, 1)
        await ctx.tick()
        while port.given < port.asked:      # the port throws away what is under way
            assert not ctx.get(fetch.req.valid) and not ctx.get(fetch.cmd.valid)
            await ctx.tick()
        await ctx.tick().repeat(3)
        ctx.set(fetch.clear, 0)
        got.clear()
        ctx.set(fetch.at, 20 * COMMAND_BYTES)
        ctx.set(fetch.count, 2)
        ctx.set(fetch.start, 1)
        await ctx.tick()
        ctx.set(fetch.start, 0)
        while len(got) < 2:
            await ctx.tick()
        await ctx.tick().repeat(50)

    simulate({"fetch": fetch}, body, background=[port.process, sink(fetch.cmd, got, rng, 0.3)])
    assert b"".join(item.as_bits().to_bytes(COMMAND_BYTES, "little") for item in got) == data[-10 * 128:][:256]


def test_parameters():
    check_parameters(Fetch, dict(addr_bits=32, port_bits=64, beat_bits=20), [
        ("addr_bits", 16, "32 to 64"), ("port_bits", 512, "one of 32, 64, 128, 256"), ("beat_bits", 0, "1 or more")])
