"""The arbiter of a shared read port: each user gets its own beats, in order, and the first one goes first."""

from random import Random

from rtl.bus import ReadArbiter, ReadPort

from ..axi_models import AxiMemory, put, simulate, sink, small_config, steady, until
from ..parameters import check_parameters
from .test_ports import requests


def test_arbiter():
    config = small_config()
    port, arbiter, dram = ReadPort.of(config), ReadArbiter.of(config), AxiMemory(seed=8)
    dram.fill()
    size = config.port_bytes
    jobs = [requests(config, 11 + n, 8) for n in range(2)]
    got = [[], []]

    def user(n):
        async def process(ctx):
            rng = Random(n)
            for addr, count in jobs[n]:
                await put(ctx, arbiter.user_req[n], {"addr": addr, "beats": count}, rng, 0.7)
        return process

    async def end(ctx):
        total = [sum(k for _, k in job) for job in jobs]
        while [len(g) for g in got] != total:
            await ctx.tick()
        for n in range(2):
            assert got[n] == [int.from_bytes(dram.bytes[a + i * size:a + i * size + size], "little")
                              for a, k in jobs[n] for i in range(k)]

    simulate({"port": port, "arbiter": arbiter}, user(0), user(1), end,
             join=[(arbiter.req, port.req), (port.data, arbiter.data)],
             background=[dram.read_slave(port.bus), steady(arbiter.req),
                         *(sink(arbiter.user_data[n], got[n], Random(20 + n)) for n in range(2))])


def test_arbiter_clear():
    config = small_config()
    port, arbiter, dram = ReadPort.of(config), ReadArbiter.of(config), AxiMemory(seed=8)
    got = [[], []]

    async def ask(ctx):
        await put(ctx, arbiter.user_req[1], {"addr": 0, "beats": 30})
        await put(ctx, arbiter.user_req[0], {"addr": 0, "beats": 3})
        ctx.set(port.stop, 1)
        ctx.set(arbiter.clear, 1)
        await ctx.tick().repeat(10)
        await until(ctx, port.idle)
        ctx.set(port.stop, 0)
        ctx.set(arbiter.clear, 0)
        got[0].clear(), got[1].clear()
        await put(ctx, arbiter.user_req[0], {"addr": 0, "beats": 2})
        await ctx.tick().repeat(50)
        assert [len(g) for g in got] == [2, 0]

    simulate({"port": port, "arbiter": arbiter}, ask, join=[(arbiter.req, port.req), (port.data, arbiter.data)],
             background=[dram.read_slave(port.bus), *(sink(arbiter.user_data[n], got[n]) for n in range(2))])


def test_a_beat_of_a_request_that_is_forgotten_reaches_nobody():
    arbiter = ReadArbiter.of(small_config())

    async def ask(ctx):
        ctx.set(arbiter.req.ready, 1)
        await put(ctx, arbiter.user_req[1], {"addr": 0, "beats": 3})
        ctx.set(arbiter.data.valid, 1)
        await ctx.tick().repeat(2)
        assert [ctx.get(user.valid) for user in arbiter.user_data] == [0, 1]
        ctx.set(arbiter.clear, 1)
        assert [ctx.get(user.valid) for user in arbiter.user_data] == [0, 0]

    simulate({"arbiter": arbiter}, ask)


def test_user_0_goes_first():
    """And what is offered stays while the port does not take it, whoever asks in between."""
    arbiter, order = ReadArbiter.of(small_config()), []

    async def ask(ctx):
        for late in (0, 1):
            ctx.set(arbiter.user_req[late].payload, {"addr": 64 * late, "beats": 1})
            ctx.set(arbiter.user_req[late].valid, 1)
            await ctx.tick().repeat(2)
            ctx.set(arbiter.user_req[1 - late].payload, {"addr": 64 - 64 * late, "beats": 1})
            ctx.set(arbiter.user_req[1 - late].valid, 1)
            await ctx.tick().repeat(2)
            ctx.set(arbiter.req.ready, 1)
            for _ in range(2):
                order.append(ctx.get(arbiter.req.payload.addr))
                for n in range(2):
                    if ctx.get(arbiter.user_req[n].ready):
                        await ctx.tick()
                        ctx.set(arbiter.user_req[n].valid, 0)
                        break
            ctx.set(arbiter.req.ready, 0)
            await ctx.tick()
        for n in range(2):      # together
            ctx.set(arbiter.user_req[n].valid, 1)
        order.append(ctx.get(arbiter.req.payload.addr))

    simulate({"arbiter": arbiter}, ask, background=[steady(arbiter.req)])
    assert order == [0, 64, 64, 0, 0]


def test_parameters():
    check_parameters(ReadArbiter, dict(addr_bits=32, port_bits=64, beat_bits=20), [
        ("addr_bits", 31, "32 to 64"), ("addr_bits", 65, "32 to 64"), ("port_bits", 48, "one of 32, 64, 128, 256"),
        ("beat_bits", 0, "1 or more")])
