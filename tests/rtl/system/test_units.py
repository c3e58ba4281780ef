"""UART, bridge and memory by themselves."""

from random import Random

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.sim import Simulator
import pytest

from rtl.bus import AXI4LiteSignature, AXI4ReadSignature, AXI4WriteSignature
from rtl.system import Bridge, Memory, Receiver, Transmitter, pll
from spec.errors import AlloyError
from spec.uart import ACKNOWLEDGE, FAILED, REGISTERS, Request

PATIENCE, SIZE = 60, 4096


class Loop(wiring.Component):
    """A transmitter whose wire goes into a receiver of another rate."""

    def __init__(self, sent, received):
        self.transmitter, self.receiver = Transmitter(divisor=sent), Receiver(divisor=received)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules += [self.transmitter, self.receiver]
        m.d.comb += self.receiver.rx.eq(self.transmitter.tx)
        return m


def simulate(component, *benches):
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("sent, received", [(4, 4), (5, 5), (50, 49), (50, 51), (100, 102)])
def test_bytes_over_a_wire(sent, received):
    """All bytes come as they were sent, back to back, at rates that differ by two hundredths."""
    loop, values, got = Loop(sent, received), [0, 255, 0x55, 0xAA, 1, 128, 7], []

    async def send(ctx):
        for value in values:
            ctx.set(loop.transmitter.i.payload, value)
            ctx.set(loop.transmitter.i.valid, 1)
            await ctx.tick().until(loop.transmitter.i.ready)
        ctx.set(loop.transmitter.i.valid, 0)

    async def receive(ctx):
        for _ in range((len(values) + 1) * 11 * sent):
            await ctx.tick()
            if ctx.get(loop.receiver.o.valid):
                got.append(ctx.get(loop.receiver.o.payload))
    simulate(loop, send, receive)
    assert got == values


def test_a_byte_without_a_stop_bit():
    receiver, got = Receiver(divisor=8), []

    async def bench(ctx):
        for level in (0, 1, 0):     # low for so long that no stop bit comes; then a byte
            ctx.set(receiver.rx, level)
            for _ in range(8 * 12 if not got else 1):
                await ctx.tick()
                got.extend([ctx.get(receiver.o.payload)] if ctx.get(receiver.o.valid) else [])
            if level == 1:
                assert not got
        assert not got
    simulate(receiver, bench)


class Host(wiring.Component):
    """Bridge and memory; registers and the engine's port outside."""

    def __init__(self, bits):
        self.bridge = Bridge(patience=PATIENCE, addr_bits=12)
        self.memory = Memory(size=SIZE, port_bits=bits, addr_bits=32)
        super().__init__({"s_axi": Out(AXI4LiteSignature(12)), "r_axi": In(AXI4ReadSignature(32, bits)),
                          "w_axi": In(AXI4WriteSignature(32, bits))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.bridge, m.submodules.memory = self.bridge, self.memory
        connect(m, self.bridge.memory, self.memory.host)
        connect(m, self.bridge.s_axi, flipped(self.s_axi))
        connect(m, flipped(self.r_axi), self.memory.r_axi)
        connect(m, flipped(self.w_axi), self.memory.w_axi)
        return m


def registers(host, values):
    """A slave of four registers; others answer with an error."""
    async def bench(ctx):
        bus = host.s_axi
        while True:
            await ctx.tick()
            for name in ("aw", "w", "ar"):
                ctx.set(getattr(bus, f"{name}ready"), 0)
            ctx.set(bus.bvalid, 0)
            ctx.set(bus.rvalid, 0)
            if ctx.get(bus.awvalid) and ctx.get(bus.wvalid):
                at, value = ctx.get(bus.awaddr) // 4, ctx.get(bus.wdata)
                ctx.set(bus.awready, 1)
                ctx.set(bus.wready, 1)
                await ctx.tick()
                ctx.set(bus.awready, 0)
                ctx.set(bus.wready, 0)
                ctx.set(bus.bvalid, 1)
                ctx.set(bus.bresp, 0 if at < 4 else 2)
                values[at] = value
            elif ctx.get(bus.arvalid):
                at = ctx.get(bus.araddr) // 4
                ctx.set(bus.arready, 1)
                await ctx.tick()
                ctx.set(bus.arready, 0)
                ctx.set(bus.rvalid, 1)
                ctx.set(bus.rdata, values.get(at, 0))
                ctx.set(bus.rresp, 0 if at < 4 else 2)
    return bench


async def say(ctx, host, data, pause=12):
    for byte in data:
        ctx.set(host.bridge.i.payload, byte)
        ctx.set(host.bridge.i.valid, 1)
        await ctx.tick()
        ctx.set(host.bridge.i.valid, 0)
        await ctx.tick().repeat(pause)


async def hear(ctx, host, count):
    out = []
    ctx.set(host.bridge.o.ready, 1)
    while len(out) < count:
        _, _, valid, byte = await ctx.tick().sample(host.bridge.o.valid, host.bridge.o.payload)
        out += [byte] if valid else []
    ctx.set(host.bridge.o.ready, 0)
    return bytes(out)


def request(kind, address, *words, count=None):
    numbers = (address, len(words) if count is None else count, *words)
    return bytes([kind]) + b"".join(number.to_bytes(4, "little") for number in numbers)


@pytest.mark.parametrize("bits", [32, 64, 128])
def test_requests(bits):
    """Memory and registers, errors, a byte that is no request, a request that stops in the middle."""
    host, values = Host(bits), {0: 0x12345678}

    async def bench(ctx):
        words = [Random(1).randrange(1 << 32) for _ in range(9)]
        await say(ctx, host, request(Request.WRITE, 100 * 4, *words))
        assert await hear(ctx, host, 1) == bytes([ACKNOWLEDGE])
        await say(ctx, host, b"x" + request(Request.READ, 100 * 4 + SIZE, count=9))
        assert await hear(ctx, host, 37) == b"".join(w.to_bytes(4, "little") for w in words) + bytes([ACKNOWLEDGE])
        await say(ctx, host, request(Request.WRITE, REGISTERS + 8, 5, 6))
        assert await hear(ctx, host, 1) == bytes([ACKNOWLEDGE]) and values[2] == 5 and values[3] == 6
        await say(ctx, host, request(Request.WRITE, 0, 1)[:-2])
        await ctx.tick().repeat(2 * PATIENCE)
        await say(ctx, host, request(Request.READ, REGISTERS, count=1))
        assert await hear(ctx, host, 5) == bytes.fromhex("78563412") + bytes([ACKNOWLEDGE])
        for kind, more in ((Request.READ, {"count": 1}), (Request.WRITE, {})):
            await say(ctx, host, request(kind, REGISTERS + 16, *([] if more else [3]), **more))
            assert (await hear(ctx, host, 5 if more else 1))[-1] == FAILED
    simulator = Simulator(host)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.add_testbench(registers(host, values), background=True)
    simulator.run()


@pytest.mark.parametrize("bits", [32, 64])
def test_bursts_beside_the_host(bits):
    """The engine's bursts read and write what the host wrote, while that goes on talking."""
    host, size, rng = Host(bits), bits // 8, Random(2)
    image = bytearray(rng.randbytes(SIZE))

    async def engine(ctx):
        for length in (1, 16, 7, 2):
            address = rng.randrange(SIZE // 2 // size - 16) * size
            for name, value in (("awaddr", address), ("awlen", length - 1), ("awvalid", 1)):
                ctx.set(getattr(host.w_axi, name), value)
            await ctx.tick().until(host.w_axi.awready)
            ctx.set(host.w_axi.awvalid, 0)
            for beat in range(length):
                strobe = rng.randrange(1 << size)
                data = rng.randbytes(size)
                for name, value in (("wdata", int.from_bytes(data, "little")), ("wstrb", strobe),
                                    ("wlast", beat == length - 1), ("wvalid", 1)):
                    ctx.set(getattr(host.w_axi, name), value)
                await ctx.tick().until(host.w_axi.wready)
                for n in range(size):
                    if strobe >> n & 1:
                        image[address + beat * size + n] = data[n]
            ctx.set(host.w_axi.wvalid, 0)
            ctx.set(host.w_axi.bready, 1)
            await ctx.tick().until(host.w_axi.bvalid)
            for name, value in (("araddr", address), ("arlen", 15), ("arvalid", 1), ("rready", 1)):
                ctx.set(getattr(host.r_axi, name), value)
            await ctx.tick().until(host.r_axi.arready)
            ctx.set(host.r_axi.arvalid, 0)
            got, lasts = [], []
            while len(got) < 16:
                _, _, valid, data, last = await ctx.tick().sample(host.r_axi.rvalid, host.r_axi.rdata, host.r_axi.rlast)
                if valid:
                    got.append(data)
                    lasts.append(last)
            assert lasts == [0] * 15 + [1]
            assert b"".join(d.to_bytes(size, "little") for d in got) == image[address:address + 16 * size]

    async def talk(ctx):
        await say(ctx, host, request(Request.WRITE, SIZE // 2, 1, 2, 3, 4))
        assert await hear(ctx, host, 1) == bytes([ACKNOWLEDGE])
        await say(ctx, host, request(Request.READ, SIZE // 2, count=4))
        answer = await hear(ctx, host, 17)
        assert answer == b"".join(n.to_bytes(4, "little") for n in (1, 2, 3, 4)) + bytes([ACKNOWLEDGE])
    image[:] = bytes(SIZE)
    simulate(host, engine, talk)


def test_pll():
    assert pll(25e6, 50e6) == {"CLKI_DIV": 1, "CLKFB_DIV": 2, "CLKOP_DIV": 12}
    assert pll(100e6, 60e6) == {"CLKI_DIV": 5, "CLKFB_DIV": 3, "CLKOP_DIV": 10}
    with pytest.raises(AlloyError, match="a PLL does not make 61.7 MHz of 25 MHz: choose another clock"):
        pll(25e6, 61.7e6)
