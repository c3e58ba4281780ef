"""No beat is lost, added or moved: ports of any size under back-pressure on both sides.

Kind: a FIFO written without looking at its ready, or trusted to hold what it does not.
"""

from random import Random

import pytest

from rtl.bus import ReadPort, WritePort

from ..axi_models import AxiMemory, put, simulate, sink, small_config, steady, until

SIZES = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (256, 64)]  # (burst, outstanding) at the edges
PORTS = [(seed, *size) for seed, size in enumerate(SIZES)]
PORTS += [(seed, 1 << Random(seed).randrange(6), Random(seed).choice((1, 2, 3, 5, 8))) for seed in range(10, 26)]


def port_config(seed, burst, outstanding):
    return small_config(burst=burst, outstanding=outstanding, port_bits=Random(seed).choice((32, 64, 128, 256)))


def todo(config, rng):
    """Requests, some over a 4 KB boundary, some of one beat."""
    size = config.port_bytes
    out = [(4096 - 2 * size, 5), (8192 - size, 1), (0, 12)]
    return out + [
        (rng.randrange(0, 0x8000, size), rng.randint(1, 3 * config.burst if config.burst < 16 else 40))
        for _ in range(8)
    ]


@pytest.mark.parametrize("seed, burst, outstanding", PORTS)
@pytest.mark.parametrize("ready", [0.0, 0.5])
def test_read_port(seed, burst, outstanding, ready):
    """``ready`` is the share of cycles in which whoever takes the data does not; the bus never pauses, or at random."""
    config, rng = port_config(seed, burst, outstanding), Random(seed)
    port, dram, beats = (
        ReadPort.of(config),
        AxiMemory(seed=seed, stall=rng.choice((0, 0.4)), latency=rng.choice((1, 9))),
        [],
    )
    dram.fill()
    requests, size = todo(config, rng), config.port_bytes
    expected = [
        int.from_bytes(dram.bytes[a + n * size : a + n * size + size], "little") for a, k in requests for n in range(k)
    ]

    async def ask(ctx):
        for addr, count in requests:
            await put(ctx, port.req, {"addr": addr, "beats": count}, rng, ready / 2)
        await until(ctx, port.idle, 20_000)
        assert len(beats) == len(expected) and beats == expected

    simulate(
        {"port": port},
        ask,
        background=[dram.read_slave(port.bus), sink(port.data, beats, rng, ready), steady(port.data)],
        limit=60_000,
    )


@pytest.mark.parametrize("seed, burst, outstanding", PORTS)
@pytest.mark.parametrize("valid", [0.0, 0.5])
def test_write_port(seed, burst, outstanding, valid):
    """``valid`` is the share of cycles in which no data is offered."""
    config, rng = port_config(seed, burst, outstanding), Random(seed)
    port, dram, done = (
        WritePort.of(config),
        AxiMemory(seed=seed, stall=rng.choice((0, 0.4)), latency=rng.choice((1, 9))),
        [],
    )
    requests, size, image = todo(config, rng), config.port_bytes, bytearray(dram.bytes)
    words = []
    for addr, count in requests:
        for n in range(count):
            words.append(rng.randbytes(size))
            image[addr + n * size : addr + n * size + size] = words[-1]

    async def ask(ctx):
        for addr, count in requests:
            await put(ctx, port.req, {"addr": addr, "beats": count}, rng, valid / 2)
        await until(ctx, port.idle, 20_000)
        await ctx.tick().repeat(3)
        assert dram.bytes == image and sum(done) == len(requests)

    async def send(ctx):
        for word in words:
            await put(ctx, port.data, {"data": int.from_bytes(word, "little"), "strb": -1 % (1 << size)}, rng, valid)

    async def count(ctx):
        while True:
            done.append((await ctx.tick().sample(port.done))[-1])

    simulate({"port": port}, ask, send, background=[dram.write_slave(port.bus), count], limit=60_000)
