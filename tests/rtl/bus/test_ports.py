"""Read and write port against a DRAM model with stalls on every channel."""

from random import Random

import pytest

from rtl.bus import ReadPort, WritePort

from ..axi_models import AxiMemory, put, refusal, simulate, sink, small_config, until
from ..parameters import check_parameters

CASES = [dict(), dict(port_bits=32, burst=16), dict(port_bits=256, burst=256, outstanding=3),
         dict(burst=1, outstanding=1)]


def requests(config, seed, count=12):
    rng, size = Random(seed), config.port_bytes
    out = [(4096 - 3 * size, 9), (2 * 4096 - size, 1), (0, 1)]
    out += [(rng.randrange(0, 0xF000, size), rng.randint(1, 40)) for _ in range(count)]
    rng.shuffle(out)
    return out


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_read(case, stall):
    config = small_config(**case)
    port, dram, rng = ReadPort.of(config), AxiMemory(seed=3, stall=stall, latency=20), Random(5)
    dram.fill()
    todo, size = requests(config, 1), config.port_bytes
    expected = [int.from_bytes(dram.bytes[a + n * size:a + n * size + size], "little")
                for a, k in todo for n in range(k)]
    beats = []

    async def ask(ctx):
        for addr, count in todo:
            await put(ctx, port.req, {"addr": addr, "beats": count}, rng, stall)
        await until(ctx, port.idle)
        assert beats == expected and not ctx.get(port.error)

    simulate({"port": port}, ask, background=[dram.read_slave(port.bus), sink(port.data, beats, rng, stall)])
    assert dram.most_outstanding == config.outstanding if config.outstanding < 4 else dram.most_outstanding > 1
    assert sum(n for _, n in dram.reads) == len(expected)


def test_latency():
    """The numbers in the docstrings: request to address, response to data, last beat to address."""
    config, seen = small_config(), []
    read, write = ReadPort.of(config), WritePort.of(config)

    async def cycles(ctx, signal):
        count = 1
        while not ctx.get(signal):
            await ctx.tick()
            count += 1
        seen.append(count)

    async def ask(ctx):
        await put(ctx, read.req, {"addr": 0, "beats": 1})
        await cycles(ctx, read.bus.arvalid)
        ctx.set(read.bus.arready, 1)
        await ctx.tick()
        ctx.set(read.bus.rvalid, 1), ctx.set(read.bus.rlast, 1)
        await ctx.tick()
        ctx.set(read.bus.rvalid, 0)
        await cycles(ctx, read.data.valid)
        await put(ctx, write.req, {"addr": 0, "beats": 1})
        await ctx.tick().repeat(5)
        await put(ctx, write.data, {"data": 0, "strb": 0})
        await cycles(ctx, write.bus.awvalid)

    simulate({"read": read, "write": write}, ask)
    assert seen == [3, 2, 2]


def test_read_bandwidth():
    config = small_config(burst=8, outstanding=8)
    port, dram, beats, cycles = ReadPort.of(config), AxiMemory(stall=0, latency=20), [], 0

    async def ask(ctx):
        for n in range(20):
            await put(ctx, port.req, {"addr": 4096 + 64 * n, "beats": 8})

    async def count(ctx):
        nonlocal cycles
        while len(beats) < 160:
            await ctx.tick()
            cycles += bool(beats)

    simulate({"port": port}, ask, count, background=[dram.read_slave(port.bus), sink(port.data, beats)])
    assert cycles <= 162, cycles


def test_a_request_each_cycle():
    """Of one beat each: a burst, and a beat, in each cycle."""
    config = small_config(burst=4, outstanding=64)
    port, dram, beats, cycles = ReadPort.of(config), AxiMemory(stall=0, latency=20), [], 0

    async def ask(ctx):
        for n in range(60):
            await put(ctx, port.req, {"addr": 4096 + 8 * n, "beats": 1})

    async def count(ctx):
        nonlocal cycles
        while len(beats) < 60:
            await ctx.tick()
            cycles += bool(beats)

    simulate({"port": port}, ask, count, background=[dram.read_slave(port.bus), sink(port.data, beats)])
    assert cycles <= 62, cycles


def test_read_reserves_space():
    config = small_config(burst=4, outstanding=64)
    port, dram = ReadPort.of(config), AxiMemory(stall=0)

    async def ask(ctx):
        await put(ctx, port.req, {"addr": 0, "beats": 1000})
        for _ in range(1500):
            assert ctx.get(port.bus.rready)
            await ctx.tick()
        assert sum(n for _, n in dram.reads) == config.read_beats

    simulate({"port": port}, ask, background=[dram.read_slave(port.bus)])


def test_read_error_and_stop():
    config = small_config()
    port, dram, beats = ReadPort.of(config), AxiMemory(seed=4, latency=10), []
    dram.bad = {0x108}

    async def ask(ctx):
        await put(ctx, port.req, {"addr": 0x100, "beats": 30})
        await until(ctx, port.error)
        ctx.set(port.stop, 1)
        await ctx.tick()
        seen = len(dram.reads) + ctx.get(port.bus.arvalid)
        await until(ctx, port.idle)
        await ctx.tick()
        assert len(dram.reads) <= seen and dram.outstanding == 0
        ctx.set(port.stop, 0)
        await ctx.tick()
        assert ctx.get(port.idle) and not ctx.get(port.error)
        beats.clear()
        await put(ctx, port.req, {"addr": 0x200, "beats": 5})
        await until(ctx, port.idle)
        assert len(beats) == 5

    simulate({"port": port}, ask, background=[dram.read_slave(port.bus), sink(port.data, beats, Random(1))])


@pytest.mark.parametrize("delay", range(1, 9))
def test_nothing_is_issued_while_it_stops(delay):
    """In the very first cycle, too, of however many bursts are ready."""
    config = small_config(burst=4, outstanding=64)
    port, dram = ReadPort.of(config), AxiMemory(stall=0)

    async def ask(ctx):
        await put(ctx, port.req, {"addr": 0, "beats": 100})
        await ctx.tick().repeat(delay)
        waits = ctx.get(port.bus.arvalid) and not ctx.get(port.bus.arready)
        ctx.set(port.stop, 1)
        await ctx.tick()
        assert ctx.get(port.bus.arvalid) == waits

    simulate({"port": port}, ask, background=[dram.read_slave(port.bus)])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_write(case, stall):
    config = small_config(**case)
    port, dram, size = WritePort.of(config), AxiMemory(seed=3, stall=stall), config.port_bytes
    todo, rng, done = requests(config, 2), Random(6), []
    image = bytearray(dram.bytes)
    words = []
    for addr, count in todo:
        for n in range(count):
            word, strb = rng.getrandbits(8 * size), rng.choice([(1 << size) - 1, rng.getrandbits(size)])
            words.append({"data": word, "strb": strb})
            for b in range(size):
                if strb >> b & 1:
                    image[addr + n * size + b] = word >> 8 * b & 0xFF

    async def ask(ctx):
        for addr, count in todo:
            await put(ctx, port.req, {"addr": addr, "beats": count}, Random(1), stall)

    async def send(ctx):
        for word in words:
            await put(ctx, port.data, word, rng, stall)
        await until(ctx, port.idle)
        assert dram.bytes == image and len(done) == len(todo) and not ctx.get(port.error)

    async def count(ctx):
        while True:
            _, _, hit = await ctx.tick().sample(port.done)
            if hit:
                done.append(1)

    simulate({"port": port}, ask, send, background=[dram.write_slave(port.bus), count])


def test_write_waits_for_data():
    config = small_config()
    port, dram = WritePort.of(config), AxiMemory(stall=0)

    async def ask(ctx):
        await put(ctx, port.req, {"addr": 0, "beats": 4})
        for n in range(3):
            await put(ctx, port.data, {"data": n, "strb": 255})
        for _ in range(20):
            await ctx.tick()
        assert not dram.writes and not ctx.get(port.idle)
        await put(ctx, port.data, {"data": 3, "strb": 255})
        await until(ctx, port.idle)
        assert dram.writes == [(0, 4)]

    simulate({"port": port}, ask, background=[dram.write_slave(port.bus)])


def test_write_error_and_stop():
    config = small_config(burst=8)
    port, dram = WritePort.of(config), AxiMemory(seed=2, stall=0.5)
    dram.bad = {0x20}

    async def ask(ctx):
        await put(ctx, port.req, {"addr": 0, "beats": 64})
        for n in range(12):
            await put(ctx, port.data, {"data": n, "strb": 255})
        await until(ctx, port.error)
        ctx.set(port.stop, 1)
        await ctx.tick()
        await until(ctx, port.idle)
        await ctx.tick()
        ctx.set(port.stop, 0)
        await ctx.tick()
        assert ctx.get(port.idle) and not ctx.get(port.error)
        await put(ctx, port.req, {"addr": 0x400, "beats": 1})
        await put(ctx, port.data, {"data": 0xAB, "strb": 1})
        await until(ctx, port.idle)
        await ctx.tick()
        assert dram.bytes[0x400] == 0xAB

    simulate({"port": port}, ask, background=[dram.write_slave(port.bus)])


GOOD = dict(addr_bits=32, port_bits=64, beat_bits=20, burst_beats=16, outstanding=4)


@pytest.mark.parametrize("port, more, refusals", [
    (ReadPort, dict(read_beats=512), [("read_beats", 0, "1 or more")]), (WritePort, dict(), [])])
def test_parameters(port, more, refusals):
    check_parameters(port, GOOD | more, [
        ("addr_bits", 20, "32 to 64"), ("port_bits", 8, "one of 32, 64, 128, 256"), ("beat_bits", 0, "1 or more"),
        ("burst_beats", 0, "1 to 256"), ("burst_beats", 257, "1 to 256"), ("outstanding", 0, "1 or more"), *refusals])
    for change, text in (
            (dict(burst_beats=12), "of 64 bits has burst_beats 12: give a power of two of at most 256"),
            (dict(port_bits=256, burst_beats=256),
             "of 256 bits has burst_beats 256: give a power of two of at most 128")):
        assert refusal(port, **GOOD | more | change) == f"no {port.__name__} {text}"


def test_read_port_holds_a_burst():
    assert refusal(ReadPort, **GOOD, read_beats=8) == (
        "a ReadPort that holds 8 beats has no place for a burst of 16: give read_beats 16 or more")
